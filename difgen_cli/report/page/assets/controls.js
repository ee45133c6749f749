"use strict";
// What a reader may choose of the curves: axes, colours, facets, scales, seeds, parts of the grid, and the step.

const Controls = (() => {
  const named = (name) => [name, Data.label(name)];

  function start() {
    State.hear((_, changed) => {
      if (["x", "y", "colour", "across", "down", "only"].some((name) => changed.has(name))) draw();
    });
    draw();
  }

  function draw() {
    const chosen = State.get();
    const focused = document.activeElement?.id;
    const choice = (label, name, options) =>
      Dom.select(label, options, chosen[name], (value) => choose(name, value), { id: `choose-${name}` });
    const settings = Data.axisList.map((axis) => named(axis.path));
    const measured = [
      { label: "Metrics", options: Data.metrics.map(named) },
      { label: "Clocks", options: Data.clocks.map(named) },
    ].filter((group) => group.options.length);
    const split = [["", "none"], ...settings, ["seed", "seed"]];
    Dom.byId("controls").replaceChildren(
      choice("Across (x)", "x", [...measured, { label: "Settings", options: settings }]),
      choice("Up (y)", "y", measured),
      choice("Colour", "colour", split),
      choice("Panels across", "across", split),
      choice("Panels down", "down", split),
      Dom.select("Seeds", [["band", "interval"], ["points", "points"], ["means", "means alone"]], chosen.seeds,
        (seeds) => State.set({ seeds }), { id: "choose-seeds" }),
      Dom.make("div", { class: "field", role: "group", "aria-label": "Logarithmic" },
        Dom.make("span", {}, "Logarithmic"), Dom.make("div", { class: "both" }, log("x"), log("y"))),
      Dom.toggle("references", chosen.references === "yes", (on) => State.set({ references: on ? "yes" : "no" })),
      Dom.make("button", { type: "button", class: "quiet", onclick: State.reset }, "Reset"),
      only(chosen),
    );
    if (focused?.startsWith("choose-")) Dom.byId(focused)?.focus();
  }

  /** Another column has another scale: as its values ask. What lies along x is no colour and no panel as well. */
  function choose(name, value) {
    const changes = { [name]: value, hidden: [] };
    if (name === "x" || name === "y") changes[`${name}log`] = "";
    const now = State.get();
    if (value in now.only) changes.only = Object.fromEntries(Object.entries(now.only).filter(([path]) => path !== value));
    if (name === "x" && Data.axes.has(value)) {
      const taken = [value, now.across, now.down, Data.steps, ...Object.keys(now.only)];
      for (const other of ["across", "down"]) if (now[other] === value) changes[other] = "";
      if (now.colour === value) changes.colour = Data.axisList.find((axis) => !taken.includes(axis.path))?.path ?? "";
    }
    State.set(changes);
  }

  function log(which) {
    const box = Dom.toggle(which, isLog(which), (on) => State.set({ [`${which}log`]: on ? "yes" : "no" }));
    box.querySelector("input").id = `choose-${which}log`;
    return box;
  }

  /** As chosen; else for distances, and where positive values span a factor of eight or more. */
  function isLog(which) {
    const chosen = State.get();
    if (chosen[`${which}log`]) return chosen[`${which}log`] === "yes";
    const name = chosen[which];
    if (Data.axes.has(name)) return Data.axes.get(name).log;
    if (Data.logarithmic.includes(name)) return true;
    if (Data.column(name)?.unit === "share") return name in Data.resolutions;
    let [low, high] = [Infinity, -Infinity];
    const values = Data.numbers(name);
    for (let row = 0; row < Data.rows; row += 1) {
      if (values[row] < low && Data.value("kind", row) === "model") low = values[row];
      if (values[row] > high && Data.value("kind", row) === "model") high = values[row];
    }
    return low > 0 && high / low >= 8;
  }

  /** Which part of the grid the curves show. */
  function only(chosen) {
    const boxes = Data.axisList.map((axis) => Dom.select(
      axis.label, [["", "all"], ...axis.levels.map((word) => [word, word])], chosen.only[axis.path] ?? "",
      (word) => {
        const rest = Object.fromEntries(Object.entries(State.get().only).filter(([path]) => path !== axis.path));
        State.set({ only: word ? { ...rest, [axis.path]: word } : rest, hidden: [] });
      }, { id: `choose-only-${axis.path}` }));
    if (!boxes.length) return null;
    const count = Object.keys(chosen.only).length;
    const words = count ? `Part of the grid (${count} fixed)` : "Part of the grid: all";
    return Dom.make("details", { class: "only", open: count > 0 }, Dom.make("summary", {}, words), Dom.make("div", { class: "controls" }, boxes));
  }

  /** The slider over the steps; hidden where the steps are not free. */
  function slider(drawn) {
    const place = Dom.byId("slider");
    place.hidden = !drawn.slider;
    if (!drawn.slider) return;
    const axis = Data.axes.get(Data.steps);
    const said = (word) => `step ${word}`;
    const code = Math.max(0, axis.levels.indexOf(State.get().step));
    const told = Dom.make("output", { id: "step-told", for: "step" }, said(axis.levels[code]));
    const range = Dom.make("input", {
      type: "range", id: "step", min: 0, max: axis.levels.length - 1, step: 1, value: code, "aria-valuetext": said(axis.levels[code]),
      oninput: (event) => {
        const word = axis.levels[Number(event.target.value)];
        told.textContent = said(word);
        event.target.setAttribute("aria-valuetext", said(word));
        const { cell } = State.get();
        const along = cell ? Data.atStep(Data.rowOf(cell), word) : undefined;  // the pinned cell goes along
        State.set({ step: word, cell: along === undefined ? cell : Data.value("cell", along) });
      },
    });
    place.replaceChildren(Dom.make("label", { for: "step" }, axis.label), range, told);
  }

  /** The levels of the coloured axis; a press hides or shows one. */
  function legend(drawn) {
    const { path, levels } = drawn.colour;
    const place = Dom.byId("legend");
    place.hidden = !path && !drawn.references.length && !drawn.floored;
    place.replaceChildren(path ? Dom.make("span", { class: "legend-name" }, Data.label(path)) : "", ...(path ? levels : []).map((level, i) =>
      Dom.make("button", {
        type: "button", class: "level", "aria-pressed": String(!State.get().hidden.includes(i)),
        onclick: (event) => {
          const { hidden } = State.get();
          const hide = !hidden.includes(i);
          event.currentTarget.setAttribute("aria-pressed", String(!hide));
          State.set({ hidden: hide ? [...hidden, i] : hidden.filter((other) => other !== i) });
        },
      }, Shapes.key(level.shape, level.hue), level.word)), ...references(drawn));
  }

  function references(drawn) {
    const kinds = [...new Set(drawn.references.map((group) => group.kind))].map(Shapes.reference);
    const line = drawn.floored ? [Dom.make("span", { class: "level" }, Shapes.dotted(drawn.colour.plain), Data.floor.words)] : [];
    return [...kinds.map(({ shape, words }) => Dom.make("span", { class: "level" }, Shapes.key(shape, drawn.colour.plain, true), words)), ...line];
  }

  return { start, isLog, slider, legend };
})();
