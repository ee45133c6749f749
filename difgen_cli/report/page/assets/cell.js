"use strict";
// The pinned cell: its settings, its metrics, its samples beside their nearest training images.

const Cell = (() => {
  function draw() {
    const { cell } = State.get();
    const row = Data.rowOf(cell);
    const place = Dom.byId("cell");
    Dom.byId("pinned").hidden = row === undefined;
    Dom.byId("pinned").textContent = row === undefined ? "" : `Pinned: ${Data.title(row)} ↓`;
    if (row === undefined) {
      place.replaceChildren(Dom.make("h3", { id: "cell-title" }, "No cell pinned"),
        Dom.make("p", { class: "note" }, "Click a point, or a cell of the table, for its settings, metrics and samples."));
      return;
    }
    place.replaceChildren(
      Dom.make("h3", { id: "cell-title" }, Data.title(row)),
      Dom.make("p", { class: "cell-key" }, Dom.make("code", {}, cell), stateOf(row),
        Dom.make("button", { type: "button", class: "quiet", onclick: () => State.set({ cell: "" }) }, "Unpin")),
      relatives(row),
      pictures(cell),
      measured(row),
      ...settings(row),
      provenance(row),
    );
  }

  function stateOf(row) {
    const state = Data.value("state", row);
    const cause = Data.value("cause", row);
    return state === "done" ? "" : Dom.make("span", { class: "state" }, cause ? `${state}: ${cause}` : state);
  }

  /** Other seeds of the same settings, and other steps of the same training run. */
  function relatives(row) {
    const steps = place(Data.steps);
    const [seeds, snapshots] = [[], []];
    for (let other = 0; other < Data.rows; other += 1) {
      if (Data.value("kind", other) !== Data.value("kind", row)) continue;
      const differing = Data.axisList.reduce((n, axis, i) => n + (i !== steps && axis.codes[other] !== axis.codes[row]), 0);
      if (differing) continue;
      const sameStep = steps < 0 || Data.axisList[steps].codes[other] === Data.axisList[steps].codes[row];
      const sameSeed = Data.value(Data.replicate, other) === Data.value(Data.replicate, row);
      if (sameStep) seeds.push([other, `seed ${Data.value(Data.replicate, other)}`]);
      if (sameSeed && steps >= 0) snapshots.push([other, String(Data.value("step", other))]);
    }
    return Dom.make("div", { class: "relatives" }, buttons("Seeds", seeds, row), buttons("Steps", snapshots, row));
  }

  const place = (path) => Data.axisList.findIndex((axis) => axis.path === path);

  function buttons(name, some, row) {
    if (some.length < 2) return null;
    return Dom.make("div", { role: "group", "aria-label": name }, Dom.make("span", {}, name), some.map(([other, words]) =>
      Dom.make("button", { type: "button", "aria-pressed": String(other === row), onclick: () => State.set({ cell: Data.value("cell", other) }) }, words)));
  }

  function pictures(cell) {
    const pairs = Data.pictures[cell];
    if (!pairs) {
      const many = Object.keys(Data.pictures).length;
      return Dom.make("p", { class: "note" }, many ? `This page contains the pictures of ${many} cells, not of this one.` : "No samples are stored as pictures.");
    }
    return Dom.make("div", { class: "pairs small", role: "group", "aria-label": "The samples of this cell that are nearest to training images" }, pairs.map((pair) => Gallery.figure(pair)));
  }

  function measured(row) {
    const lines = Data.metrics.filter((name) => Data.value(name, row) !== null).map((name) => {
      const { unit, meaning } = Data.column(name);
      const [lo, hi] = [Data.value(`${name}_lo`, row), Data.value(`${name}_hi`, row)];
      return Dom.make("tr", {}, Dom.make("th", { scope: "row", title: [meaning, unit].filter(Boolean).join(", ") }, name),
        Dom.make("td", { "data-metric": name }, Words.withInterval(Data.value(name, row), lo ?? NaN, hi ?? NaN)));
    });
    if (!lines.length) return Dom.make("p", { class: "note" }, "Not measured.");
    return Dom.make("table", {}, Dom.make("caption", {}, "Metrics, with the 95 % interval of this cell alone"), Dom.make("tbody", {}, lines));
  }

  function settings(row) {
    const names = [...Data.columns.keys()].filter((name) => Data.isSetting(name) && Data.value(name, row) !== null);
    const varied = names.filter((name) => Data.axes.has(name));
    const rest = names.filter((name) => !Data.axes.has(name));
    return [
      Dom.make("table", {}, Dom.make("caption", {}, "Settings that vary"), body(varied, row)),
      Dom.make("details", {}, Dom.make("summary", {}, `${rest.length} other settings`), Dom.make("table", {}, body(rest, row))),
    ];
  }

  function provenance(row) {
    const shown = new Set([...Data.metrics.flatMap((name) => [name, `${name}_lo`, `${name}_hi`]), "cell", "state", "cause"]);
    const names = [...Data.columns.keys()].filter((name) => !Data.isSetting(name) && !shown.has(name) && Data.value(name, row) !== null);
    return Dom.make("details", {}, Dom.make("summary", {}, "How it came about"), Dom.make("table", {}, body(names, row)));
  }

  const body = (names, row) => Dom.make("tbody", {}, names.map((name) =>
    Dom.make("tr", {}, Dom.make("th", { scope: "row" }, name), Dom.make("td", {}, Words.any(Data.value(name, row))))));

  function start() {
    Dom.byId("pinned").addEventListener("click", () => Gallery.show(State.get().cell));
    State.hear((_, changed) => changed.has("cell") && draw());
    draw();
  }

  return { start };
})();
