"use strict";
// What is chosen: one object that every part reads, and hears of when it changes. It stands in the address, so that a
// link, or a page that reloads itself, shows the same.

const State = (() => {
  const MOST_LINES = 24;  // of one panel, before other settings are fixed
  const listeners = [];
  const first = defaults();
  let now = { ...first, ...read() };

  /** The headline: memorization against Fréchet distance, coloured by what a reader looks for first. */
  function defaults() {
    const metrics = Data.metrics;
    const rank = ["data.size", "model.width", "condition.clusters"];
    const free = Data.axisList.map((axis) => axis.path).filter((path) => path !== Data.steps)
      .sort((a, b) => (rank.indexOf(a) + 9) % 9 - (rank.indexOf(b) + 9) % 9);
    const few = free.slice(1).filter((path) => Data.axes.get(path).levels.length <= 6);
    const y = metrics[0] ?? "";
    const x = metrics.includes("fd_test") && y !== "fd_test" ? "fd_test" : Data.steps ?? free[0] ?? metrics[1] ?? y;
    const steps = Data.steps ? Data.axes.get(Data.steps).levels : [];
    const shown = { colour: free[0] ?? "", across: few[0] ?? "", down: few[1] ?? "" };
    const rest = free.filter((path) => path !== x && !Object.values(shown).includes(path));
    return {
      x, y, ...shown, seeds: "band", references: "yes", xlog: "", ylog: "",
      step: steps.at(-1) ?? "", only: fixed(rest, shown.colour), hidden: [], cell: "",
    };
  }

  /** Settings that neither colour nor panel shows, held at their first level where all their lines would be a haze. */
  function fixed(paths, colour) {
    const many = (path) => Data.axes.get(path)?.levels.length ?? 1;
    const lines = paths.reduce((product, path) => product * many(path), many(colour));
    return lines > MOST_LINES ? Object.fromEntries(paths.map((path) => [path, Data.axes.get(path).levels[0]])) : {};
  }

  function read() {
    if (!location.hash.startsWith("#?")) return {};
    const said = new URLSearchParams(location.hash.slice(2));
    const known = {};
    for (const [name, value] of said) {
      if (name === "only") known.only ??= {};
      else if (name.startsWith("only.")) (known.only ??= {})[name.slice(5)] = value;
      else if (name in first && typeof first[name] === "string") known[name] = value;
    }
    return valid(known);
  }

  /** A link may be of another study: what this one does not have is left at its default. */
  function valid(known) {
    const column = (name) => Data.metrics.includes(name) || Data.clocks.includes(name);
    const axis = (name) => name === "" || name === "seed" || Data.axes.has(name);
    const tests = {
      x: (name) => column(name) || Data.axes.has(name), y: column, colour: axis, across: axis, down: axis,
      references: (name) => ["yes", "no"].includes(name), seeds: (name) => ["band", "points", "means"].includes(name),
      step: (name) => Data.axes.get(Data.steps)?.levels.includes(name), cell: (name) => Data.rowOf(name) !== undefined,
      only: (some) => Object.entries(some).every(([path, word]) => Data.axes.get(path)?.levels.includes(word)),
    };
    return Object.fromEntries(Object.entries(known).filter(([name, value]) => tests[name]?.(value) ?? true));
  }

  const write = Dom.settled(() => {
    const said = new URLSearchParams();
    for (const [name, value] of Object.entries(now)) {
      if (typeof value === "string" && value !== first[name]) said.set(name, value);
    }
    if (now.only !== first.only) said.set("only", "");
    if (now.only !== first.only) for (const [path, level] of Object.entries(now.only)) said.set(`only.${path}`, level);
    const text = said.toString();
    if (text || location.hash.startsWith("#?")) history.replaceState(null, "", `#${text && `?${text}`}`);
  }, 200);

  /** Change what is named, and tell everyone which names changed. */
  function set(changes) {
    const names = Object.keys(changes).filter((name) => now[name] !== changes[name]);
    if (names.length) tell(changes, names);
  }

  /** As the page was opened first, but for the pinned cell; drawn anew even where nothing differs: it may be zoomed. */
  function reset() {
    tell({ ...first, cell: now.cell }, Object.keys(first));
  }

  function tell(changes, names) {
    now = { ...now, ...changes };
    const changed = new Set(names);
    for (const listener of listeners) listener(now, changed);
    write();
  }

  return { get: () => now, set, hear: (listener) => listeners.push(listener), reset };
})();
