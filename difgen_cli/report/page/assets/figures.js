"use strict";
// What scripts add to the figures that stand still: each can be enlarged, and saved as SVG and PNG.

const Figures = (() => {
  function start() {
    for (const figure of document.querySelectorAll(".chart")) {
      const [drawing, title] = [figure.querySelector(".drawing"), figure.querySelector("h3")];
      const words = title.textContent;
      title.append(Enlarge.button(words, () => Enlarge.open(drawing, words)));
      const svg = drawing.querySelector("svg");
      const { name } = figure.dataset;
      const saved = svg ? Files.drawings(name, () => still(svg))
        : [Dom.make("a", { href: drawing.querySelector("img").src, download: `${name}.png` }, "PNG")];
      figure.querySelector(".files").append(...saved);
    }
    const grid = document.querySelector("#grid .files");
    if (grid) grid.append(...Files.copier(() => document.querySelector("#grid pre").textContent));
  }

  /** A drawing as a file of its own, in the colours of a light page. */
  function still(svg) {
    const { width, height } = svg.viewBox.baseVal;
    const copy = svg.cloneNode(true);
    copy.removeAttribute("style");
    copy.setAttribute("width", `${width}pt`);
    copy.setAttribute("height", `${height}pt`);
    const text = new XMLSerializer().serializeToString(copy);
    return { svg: text.replace(/var\(--c[0-9a-f]{6}, (#[0-9a-f]{6})\)/g, "$1"), width: width * 4 / 3, height: height * 4 / 3 };
  }

  return { start };
})();
