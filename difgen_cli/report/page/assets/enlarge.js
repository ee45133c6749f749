"use strict";
// A part of the page shown large: it is moved into a dialog, and back to its place when that closes (Escape too).

const Enlarge = (() => {
  const ICON = "M9 2h5v5M14 2 9.5 6.5M7 14H2V9M2 14l4.5-4.5";

  /** opened, closed: called when it has moved; without `closed` what had the focus has it again. */
  function open(element, title, { opened, closed } = {}) {
    const place = document.createComment("");
    const back = document.activeElement;
    element.before(place);
    const close = Dom.make("button", { type: "button", class: "quiet", onclick: () => dialog.close() }, "Close");
    const head = Dom.make("div", { class: "large-head" }, Dom.make("strong", {}, title), close);
    const dialog = Dom.make("dialog", { class: "large", "aria-label": title }, head, element);
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());  // beside it
    dialog.addEventListener("close", () => {
      place.replaceWith(element);
      dialog.remove();
      if (closed) closed();
      else back?.focus();
    });
    document.body.append(dialog);
    dialog.showModal();
    opened?.();
  }

  /** The button for it. */
  function button(title, onclick) {
    const icon = Dom.makeSvg("svg", { width: 16, height: 16, viewBox: "0 0 16 16", "aria-hidden": "true" },
      Dom.makeSvg("path", { d: ICON, fill: "none", stroke: "currentColor", "stroke-width": 1.6 }));
    return Dom.make("button", { type: "button", class: "enlarge", onclick, "aria-label": `Enlarge ${title}`, title: "Enlarge" }, icon);
  }

  return { open, button };
})();
