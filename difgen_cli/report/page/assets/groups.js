"use strict";
// Rows to groups: a per-seed estimate first, then mean and 95 % t interval over seeds (curves.py, over_seeds).

const Groups = (() => {
  /**
   * Groups of finished model rows that agree in every axis (and in their seed where `bySeed`).
   * Each: codes (level of each axis), rows, and for `x` and `y` {mean, lo, hi, n}; none where either has no value.
   */
  function over(x, y, bySeed, only) {
    return measured(gathered(only, (row) => Data.value("kind", row) === "model", bySeed ? "seed" : null), measure(x), measure(y), bySeed);
  }

  /** Held-out images, the copycat and the ideal denoiser in the same way; an axis that they do not have is level −1. */
  function references(x, y, only) {
    return measured(gathered(only, (row) => Data.value("kind", row) !== "model", "kind"), measure(x), measure(y), false);
  }

  function measured(gathered, across, up, bySeed) {
    const groups = [];
    for (const rows of gathered.values()) {
      const known = rows.filter((row) => !Number.isNaN(across.at[row]) && !Number.isNaN(up.at[row]));
      if (!known.length) continue;
      const [first] = known;
      groups.push({
        rows: known, codes: codesOf(first), kind: Data.value("kind", first), seed: bySeed ? Data.value("seed", first) : null,
        x: spread(known, across), y: spread(known, up),
      });
    }
    alone(groups, "x", across);
    alone(groups, "y", up);
    return groups;
  }

  /** Finished rows that are `wanted` and in the chosen part of the grid, by their levels and by one column more. */
  function gathered(only, wanted, column) {
    const parts = Object.entries(only).map(([path, level]) => [Data.axes.get(path), level])
      .map(([axis, level]) => [axis.codes, axis.levels.indexOf(level)]);
    const found = new Map();
    for (let row = 0; row < Data.rows; row += 1) {
      if (Data.value("state", row) !== "done" || !wanted(row)) continue;
      if (parts.some(([codes, code]) => codes[row] !== code && codes[row] >= 0)) continue;
      let key = 0;
      for (const axis of Data.axisList) key = key * (axis.levels.length + 1) + axis.codes[row] + 1;
      const whole = column ? `${key} ${Data.value(column, row)}` : key;
      const rows = found.get(whole);
      if (rows) rows.push(row);
      else found.set(whole, [row]);
    }
    return found;
  }

  /** A column to draw: its numbers, and whether it is averaged on a log scale. An axis of words stands at 0, 1, … */
  function measure(name) {
    const axis = Data.axes.get(name);
    const at = axis ? Float64Array.from(axis.codes, (code) => (code < 0 ? NaN : axis.values[code])) : Data.numbers(name);
    return { name, at, logarithmic: Data.logarithmic.includes(name), exact: Boolean(axis) };
  }

  function spread(rows, { at, logarithmic, exact }) {
    if (exact) return { mean: at[rows[0]], lo: NaN, hi: NaN, n: 1 };
    const seeds = perSeed(rows, at);
    const values = logarithmic ? seeds.map(Math.log) : seeds;
    const back = logarithmic ? Math.exp : (value) => value;
    const n = values.length;
    const mean = values.reduce((sum, value) => sum + value, 0) / n;
    if (n === 1) return { mean: seeds[0], lo: NaN, hi: NaN, n };
    const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
    const half = (Data.t[n] ?? NaN) * Math.sqrt(squares / (n - 1) / n);
    return { mean: back(mean), lo: back(mean - half), hi: back(mean + half), n };
  }

  function perSeed(rows, at) {
    if (rows.length === 1) return [at[rows[0]]];
    const sums = new Map();
    for (const row of rows) {
      const [sum, count] = sums.get(Data.value("seed", row)) ?? [0, 0];
      sums.set(Data.value("seed", row), [sum + at[row], count + 1]);
    }
    return [...sums.values()].map(([sum, count]) => sum / count);
  }

  /** Where no group has a second seed, the rows' own intervals stand in (given the model, T and H). */
  function alone(groups, which, { name, exact }) {
    if (exact || groups.some((group) => group[which].n > 1)) return;
    const [lo, hi] = [Data.numbers(`${name}_lo`), Data.numbers(`${name}_hi`)];
    for (const group of groups) [group[which].lo, group[which].hi] = [lo[group.rows[0]], hi[group.rows[0]]];
  }

  const codesOf = (row) => Data.axisList.map((axis) => axis.codes[row]);

  return { over, references };
})();
