"use strict";
// What is chosen: one object that every part reads, and hears of when it changes. It stands in the address, so that a
// link, or a page that reloads itself, shows the same.

const State = (() => {
  const MOST_LINES = 24;  // of one panel, before other settings are fixed
  const TABLE = { sort: "", search: "", filters: {} };  // sort: a column, behind a minus where it descends
  const GROUPS = { only: "only.", filters: "filter." };  // settings that hold several, and how the address begins them
  const listeners = [];
  const first = defaults();
  let now = { ...first, ...read() };

  /** The headline: memorization against Fréchet distance, coloured by what a reader looks for first. */
  function defaults() {
    const metrics = Data.metrics;
    const free = Data.order.filter((path) => path !== Data.steps);
    const few = free.slice(1).filter((path) => Data.axes.get(path).levels.length <= 6);
    const y = metrics[0] ?? "";
    const x = metrics.includes("fd_test") && y !== "fd_test" ? "fd_test" : Data.steps ?? free[0] ?? metrics[1] ?? y;
    const steps = Data.steps ? Data.axes.get(Data.steps).levels : [];
    const shown = { colour: free[0] ?? "", across: few.length > 1 ? few[1] : few[0] ?? "", down: few.length > 1 ? few[0] : "" };
    const rest = free.filter((path) => path !== x && !Object.values(shown).includes(path));
    return {
      x, y, ...shown, seeds: "band", references: "yes", xlog: "", ylog: "",
      step: steps.at(-1) ?? "", only: fixed(rest, shown.colour), hidden: [], cell: "", ...TABLE,
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
      const [group, begun] = Object.entries(GROUPS).find(([own, words]) => name === own || name.startsWith(words)) ?? [];
      if (group) Object.assign((known[group] ??= {}), name === group ? {} : { [name.slice(begun.length)]: value });
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
      sort: (name) => Data.columns.has(name.replace(/^-/, "")), filters: (some) => Object.keys(some).every((name) => Data.columns.has(name)),
    };
    return Object.fromEntries(Object.entries(known).filter(([name, value]) => tests[name]?.(value) ?? true));
  }

  const write = Dom.settled(() => {
    const said = new URLSearchParams();
    for (const [name, value] of Object.entries(now)) {
      if (typeof value === "string" && value !== first[name]) said.set(name, value);
    }
    for (const [group, begun] of Object.entries(GROUPS)) {
      if (now[group] === first[group]) continue;
      if (group === "only") said.set(group, "");  // that nothing is fixed is a choice too
      for (const [name, value] of Object.entries(now[group])) if (value) said.set(begun + name, value);
    }
    const text = said.toString();
    if (text || location.hash.startsWith("#?")) history.replaceState(null, "", `#${text && `?${text}`}`);
  }, 200);

  /** Change what is named, and tell everyone which names changed. */
  function set(changes) {
    const names = Object.keys(changes).filter((name) => now[name] !== changes[name]);
    if (names.length) tell(changes, names);
  }

  /** The curves as the page was opened first; drawn anew even where nothing differs: they may be zoomed. */
  function reset() {
    const kept = Object.fromEntries(["cell", ...Object.keys(TABLE)].map((name) => [name, now[name]]));
    tell({ ...first, ...kept }, Object.keys(first).filter((name) => !(name in kept)));
  }

  function tell(changes, names) {
    now = { ...now, ...changes };
    const changed = new Set(names);
    for (const listener of listeners) listener(now, changed);
    write();
  }

  return { get: () => now, set, hear: (listener) => listeners.push(listener), reset };
})();
