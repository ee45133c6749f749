"use strict";
// Each generated image beside its nearest training image, the nearest first.

const Gallery = (() => {
  const MORE = 24;
  const PNG = "data:image/png;base64,";
  const all = Object.entries(Data.pictures).flatMap(([cell, pairs]) => pairs.map((pair) => ({ cell, pair, row: Data.rowOf(cell) })));
  /** What pairs are ordered by: identical ones first. */
  const nearness = ({ pair }) => (pair[6] ? 0 : pair[7] ?? pair[1] ?? Number.MAX_VALUE);
  const choice = { cells: "models", order: "turns", shown: MORE };

  /** A pair as it is in the block: [seed, ratio, is a copy, label, sample, nearest, is identical, nearness]. */
  function figure([seed, d1d2, copy, label, sample, nearest, identical], caption = null) {
    const told = identical ? "identical" : `${Words.number(d1d2, 2)}${copy ? " copy" : ""}`;
    const condition = label === null ? "" : `, condition ${label}`;
    return Dom.make("figure", { class: copy || identical ? "pair memorized" : "pair" },
      Dom.make("div", {}, picture(sample, `sample ${seed}${condition}`), picture(nearest, `nearest training image of sample ${seed}`)),
      Dom.make("figcaption", {}, Dom.make("span", { class: "ratio" }, told), caption));
  }

  /** A title that breaks between its settings, not within one. */
  const unbroken = (title) => title.split(", ").map((part) => (part.length < 20 ? part.replaceAll(" ", "\u00a0") : part)).join(", ");

  function picture(png, alt) {
    if (!png) return Dom.make("span", { class: "none" }, "no image");
    return Dom.make("img", { src: PNG + png, alt, decoding: "async" });
  }

  function chosen() {
    const kind = ({ row }) => Data.value("kind", row);
    const kept = all.filter((entry) => {
      if (choice.cells === "all") return true;
      if (choice.cells === "models") return kind(entry) === "model";
      if (choice.cells === "pinned") return entry.cell === State.get().cell;
      return entry.cell === choice.cells;
    });
    const sign = choice.order === "new" ? -1 : 1;
    kept.sort((a, b) => sign * (nearness(a) - nearness(b)) || a.pair[0] - b.pair[0]);
    return choice.order === "turns" ? inTurns(kept) : kept;
  }

  /** The first pair of each cell, then the second of each, and so on: else one setting would fill the gallery. */
  function inTurns(sorted) {
    const counts = new Map();
    const turns = sorted.map((entry) => {
      const turn = counts.get(entry.cell) ?? 0;
      counts.set(entry.cell, turn + 1);
      return [turn, entry];
    });
    return turns.sort(([a], [b]) => a - b).map(([, entry]) => entry);
  }

  function draw() {
    const found = chosen();
    const shown = found.slice(0, choice.shown);
    const pin = ({ cell, row }) => Dom.make("button", { type: "button", class: "place", onclick: () => show(cell) }, unbroken(Data.title(row)));
    Dom.byId("gallery-pairs").replaceChildren(...shown.map((entry) => figure(entry.pair, pin(entry))));
    const copies = found.filter(({ pair }) => pair[2] || pair[6]).length;
    const cells = Object.keys(Data.pictures).length;
    const order = choice.order === "new" ? "farthest from" : "nearest to";
    const turns = choice.order === "turns" ? " in each cell" : "";
    const models = Data.kinds.model ?? 0;
    const pictured = Object.keys(Data.pictures).filter((cell) => Data.value("kind", Data.rowOf(cell)) === "model").length;
    Dom.byId("gallery-told").textContent = all.length
      ? `${shown.length} of ${found.length} pairs, those ${order} a training image first${turns}; ${copies} of them ${copies === 1 ? "is a copy" : "are copies"} by the ratio rule, or identical. The page carries the ${Object.values(Data.pictures)[0].length} nearest samples of each of ${pictured} of ${models} cells of models, and of ${cells - pictured} references.`
      : "No samples are stored as pictures.";
    Dom.byId("gallery-more").hidden = shown.length >= found.length;
  }

  /** Pin a cell and go to where its numbers are. */
  function show(cell) {
    State.set({ cell });
    Dom.byId("cell").scrollIntoView({ block: "nearest", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
    Dom.byId("cell").focus({ preventScroll: true });
  }

  function start() {
    if (!all.length) Dom.byId("gallery-controls").hidden = true;
    const titled = Object.keys(Data.pictures).filter((cell) => Data.titles[cell]).map((cell) => [cell, Data.titles[cell]]);
    const others = Object.keys(Data.pictures).filter((cell) => !Data.titles[cell]).map((cell) => [cell, Data.title(Data.rowOf(cell))]);
    const options = [["models", "all models"], ["all", "models and references"], ["pinned", "the pinned cell"],
      { label: "Extremes and references", options: titled }, { label: "Other cells", options: others }]
      .filter((some) => Array.isArray(some) || some.options.length);
    const change = (name) => (value) => {
      choice[name] = value;
      choice.shown = MORE;
      draw();
    };
    Dom.byId("gallery-controls").replaceChildren(
      Dom.select("Of", options, choice.cells, change("cells"), { id: "gallery-of" }),
      Dom.select("First", [["turns", "the nearest of each cell"], ["copied", "nearest to a training image"], ["new", "farthest"]], choice.order, change("order"), { id: "gallery-order" }));
    Dom.byId("gallery-more").addEventListener("click", () => {
      choice.shown += MORE;
      draw();
    });
    State.hear((_, changed) => changed.has("cell") && choice.cells === "pinned" && draw());
    draw();
  }

  return { start, figure, show };
})();
