"use strict";
// What a reader takes away: files that are saved from the page, and text that is copied.

const Files = (() => {
  /** Save a text, or a blob, as a file. */
  function save(content, name, type = "") {
    const address = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type: `${type};charset=utf-8` }));
    Dom.make("a", { href: address, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(address), 1000);
  }

  /** A button that copies what `read` gives, and says so. */
  function copier(read, words = "Copy") {
    const told = Dom.make("span", { class: "note", role: "status" });
    const button = Dom.make("button", {
      type: "button", class: "quiet",
      onclick: async () => {
        told.textContent = (await copied(read())) ? "copied" : "select the text and copy it";
        setTimeout(() => (told.textContent = ""), 2000);
      },
    }, words);
    return [button, told];
  }

  async function copied(text) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      return typed(text);  // a browser may keep its clipboard from a file
    }
  }

  function typed(text) {
    const box = Dom.make("textarea", { class: "unseen", value: text });
    document.body.append(box);
    box.select();
    const done = document.execCommand("copy");
    box.remove();
    return done;
  }

  /** An SVG as a PNG of twice its size. */
  async function png(svg, width, height) {
    const picture = new Image();
    picture.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`;
    await picture.decode();
    const canvas = Dom.make("canvas", { width: 2 * width, height: 2 * height });
    canvas.getContext("2d").drawImage(picture, 0, 0, 2 * width, 2 * height);
    return new Promise((done) => canvas.toBlob(done, "image/png"));
  }

  /** Buttons that save a drawing: `draw` gives {svg, width, height} when one is pressed. */
  function drawings(name, draw) {
    const button = (words, act) => Dom.make("button", { type: "button", class: "link", onclick: act, "aria-label": `Save ${name} as ${words}` }, words);
    return [
      button("SVG", () => save(draw().svg, `${name}.svg`, "image/svg+xml")),
      button("PNG", async () => {
        const { svg, width, height } = draw();
        save(await png(svg, width, height), `${name}.png`);
      }),
    ];
  }

  return { save, copier, drawings };
})();
