"use strict";
// Light or dark: as the system says, until the button says otherwise.

const Theme = (() => {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const listeners = [];
  const known = new Map();
  let chosen = recalled();

  function recalled() {
    try {
      return localStorage.getItem("difgen-theme");
    } catch {
      return null;  // a file may have no storage
    }
  }

  const dark = () => (chosen ? chosen === "dark" : system.matches);

  function apply() {
    known.clear();
    document.documentElement.style.colorScheme = chosen ?? "light dark";
    const button = Dom.byId("theme");
    if (button) button.textContent = dark() ? "Light" : "Dark";
    for (const listener of listeners) listener();
  }

  function turn() {
    chosen = dark() ? "light" : "dark";
    try {
      localStorage.setItem("difgen-theme", chosen);
    } catch {
      // it holds until the page is closed
    }
    apply();
  }

  /** What a colour of the style sheet is now, such as `--ink`. */
  function colour(name) {
    if (!known.has(name)) known.set(name, asked(name));
    return known.get(name);
  }

  function asked(name) {
    const probe = Dom.make("span", { style: `color: var(${name}); display: none` });
    document.body.append(probe);
    const found = getComputedStyle(probe).color;
    probe.remove();
    return found;
  }

  function start() {
    const button = Dom.make("button", { id: "theme", type: "button", class: "quiet", onclick: turn, "aria-label": "Change between light and dark" });
    document.querySelector(".sections ul").append(Dom.make("li", { class: "theme" }, button));
    system.addEventListener("change", apply);
    apply();
  }

  return { start, dark, colour, hear: (listener) => listeners.push(listener) };
})();
