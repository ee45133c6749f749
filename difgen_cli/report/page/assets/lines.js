"use strict";
// Groups to panels and lines. A line walks along one axis, the others are fixed on it.

const Lines = (() => {
  const MOST_PANELS = 12;
  const place = (path) => Data.axisList.findIndex((axis) => axis.path === path);

  /**
   * What is drawn for a choice: {walk, slider, panels: [{title, lines, groups}], colour, left, x, y}.
   * walk: the axis along a line; slider: whether the step is chosen by the slider.
   */
  function plan(chosen) {
    const split = [chosen.colour, chosen.across, chosen.down].filter((path) => path);
    const bySeed = split.includes("seed");
    const groups = Groups.over(chosen.x, chosen.y, bySeed, chosen.only);
    const references = chosen.references === "yes" ? Groups.references(chosen.x, chosen.y, chosen.only) : [];
    const walk = walkOf(chosen.x, split);
    const slider = Boolean(Data.steps) && !split.includes(Data.steps) && !(Data.steps in chosen.only);
    const fixed = slider && walk !== Data.steps;  // the slider chooses which steps are drawn at all
    const colour = colouring(chosen.colour, groups);
    const { facets, left } = panelsOf(chosen.across, chosen.down, groups);
    const panels = facets.map((facet) => {
      const mine = groups.filter((group) => facet.levels.every(([path, code]) => codeOf(group, path) === code));
      const beside = references.filter((group) => facet.levels.every(([path, code]) => among(codeOf(group, path), code)));
      return { title: facet.title, groups: mine, lines: linesOf(mine, walk), references: beside };
    });
    return { walk, slider, fixed, panels, colour, left, groups, references, columns: facets.columns };
  }

  /** The axis along a line: what x shows where it is an axis, else the steps, else the first numeric axis that is free. */
  function walkOf(x, split) {
    if (Data.axes.has(x)) return x;
    if (Data.steps && !split.includes(Data.steps)) return Data.steps;
    return Data.axisList.find((axis) => axis.numeric && !split.includes(axis.path))?.path ?? null;
  }

  function linesOf(groups, walk) {
    const at = place(walk);
    const found = new Map();
    for (const group of groups) {
      const key = walk ? group.codes.map((code, i) => (i === at ? "" : code)).concat(group.seed ?? "").join() : found.size;
      if (found.has(key)) found.get(key).push(group);
      else found.set(key, [group]);
    }
    for (const line of found.values()) line.sort((a, b) => a.codes[at] - b.codes[at]);
    return [...found.values()];
  }

  /** A reference belongs to every level of an axis that it does not have, such as a network's width. */
  const among = (own, code) => own === code || own === null || own < 0;

  /** The level of a group: of an axis, or of its seed. */
  function codeOf(group, path) {
    return path === "seed" ? group.seed : group.codes[place(path)];
  }

  function levelsOf(path, groups) {
    if (path === "seed") {
      return [...new Set(groups.map((group) => group.seed))].sort((a, b) => a - b).map((seed) => [seed, `seed ${seed}`]);
    }
    const axis = Data.axes.get(path);
    return axis.levels.map((_, code) => [code, axis.titles[code]]);
  }

  /** Level -> hue and shape, in the order of the levels; one hue where nothing is coloured. */
  function colouring(path, groups) {
    const hues = Theme.dark() ? Data.hues.dark : Data.hues.light;
    const plain = Theme.colour("--muted");
    if (!path) return { path, levels: [{ code: null, word: "all", hue: hues[0], shape: 0 }], of: (group) => (group.kind === "model" ? 0 : -1), plain };
    const axis = Data.axes.get(path);
    const own = axis && (Theme.dark() ? axis.dark : axis.light);
    const levels = levelsOf(path, groups)
      .map(([code, word], i) => ({ code, word: axis?.levels[code] ?? word, hue: own?.[code] ?? hues[i % hues.length], shape: i }));
    const at = new Map(levels.map((level, i) => [level.code, i]));
    return { path, levels, of: (group) => at.get(codeOf(group, path)) ?? -1, plain };
  }

  /** The facets that have groups; thinned evenly to at most MOST_PANELS, and how many were left out. */
  function panelsOf(across, down, groups) {
    const paths = [down, across].filter((path, i, all) => path && all.indexOf(path) === i);
    const levels = paths.map((path) => levelsOf(path, groups).filter(([code]) => groups.some((g) => codeOf(g, path) === code)));
    const whole = existing(paths, levels, groups);
    let facets = whole;
    while (facets.length > MOST_PANELS && levels.some((some) => some.length > 1)) {
      const longest = levels.reduce((best, some, i) => (some.length > levels[best].length ? i : best), 0);
      levels[longest] = thinned(levels[longest]);
      facets = existing(paths, levels, groups);
    }
    const full = levels.reduce((product, some) => product * some.length, 1) === facets.length;
    facets.columns = paths.length === 2 && full ? levels[1].length : Math.min(4, facets.length);
    return { facets, left: whole.length - facets.length };
  }

  /** The combinations of levels that groups have. */
  function existing(paths, levels, groups) {
    let facets = [{ title: "", levels: [] }];
    levels.forEach((some, i) => {
      facets = facets.flatMap((facet) => some.map(([code, word]) =>
        ({ title: [facet.title, word].filter(Boolean).join(", "), levels: [...facet.levels, [paths[i], code]] })));
    });
    return facets.filter((facet) => groups.some((g) => facet.levels.every(([path, code]) => codeOf(g, path) === code)));
  }

  function thinned(some) {
    const kept = some.length - 1;
    return Array.from({ length: kept }, (_, i) => some[Math.round((i * (some.length - 1)) / Math.max(1, kept - 1))]);
  }

  /** The groups that stand at a step: all of them where no slider chooses. */
  function atStep(panel, drawn, step) {
    if (!drawn.slider) return panel.groups;
    const code = Data.axes.get(Data.steps).levels.indexOf(step);
    const at = place(Data.steps);
    return panel.groups.filter((group) => group.codes[at] === code);
  }

  return { plan, atStep, linesOf };
})();
