"use strict";
// Rows to groups: a per-seed estimate first, then mean and 95 % interval over seeds (report/seeds.py, over_seeds).

const Groups = (() => {
  /**
   * Groups of finished model rows that agree in every axis (and in their seed where `bySeed`).
   * Each: codes (level of each axis), rows, and for `x` and `y` {mean, lo, hi, n}; none where either has no value.
   */
  function over(x, y, bySeed, only) {
    return measured(gathered(only, (row) => Data.value("kind", row) === "model", bySeed ? Data.replicate : null), measure(x), measure(y), bySeed);
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
        rows: known, codes: codesOf(first), kind: Data.value("kind", first), seed: bySeed ? Data.value(Data.replicate, first) : null,
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
    return { name, at, logarithmic: Data.logarithmic.includes(name), exact: Boolean(axis), top: Data.shares[name] };
  }

  function spread(rows, { name, at, logarithmic, exact, top }) {
    if (exact) return { mean: at[rows[0]], lo: NaN, hi: NaN, n: 1 };
    const seeds = perSeed(rows, at);
    if (top && seeds.length > 1) return share(rows, name, seeds, top);
    const values = logarithmic ? seeds.map(Math.log) : seeds;
    const back = logarithmic ? Math.exp : (value) => value;
    const n = values.length;
    const mean = values.reduce((sum, value) => sum + value, 0) / n;
    if (n === 1) return { mean: seeds[0], lo: NaN, hi: NaN, n };
    const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
    if (Math.sqrt(squares / (n - 1)) <= Data.score.alike * Math.abs(mean)) return { mean: back(mean), lo: NaN, hi: NaN, n };
    const half = (Data.t[n] ?? NaN) * Math.sqrt(squares / (n - 1) / n);
    return { mean: back(mean), lo: back(mean - half), hi: back(mean + half), n };
  }

  function perSeed(rows, at) {
    if (rows.length === 1) return [at[rows[0]]];
    const sums = new Map();
    for (const row of rows) {
      const seed = Data.value(Data.replicate, row);
      const [sum, count] = sums.get(seed) ?? [0, 0];
      sums.set(seed, [sum + at[row], count + 1]);
    }
    return [...sums.values()].map(([sum, count]) => sum / count);
  }

  /** A share's score interval over seeds (seeds.py, score_interval). */
  function share(rows, name, seeds, top) {
    const n = seeds.length;
    const values = seeds.map((value) => value / top);
    const p = values.reduce((sum, value) => sum + value, 0) / n;
    const variance = values.reduce((sum, value) => sum + (value - p) ** 2, 0) / (n - 1);
    const [lo, hi] = ["lo", "hi"].map((end) => perSeed(rows, Data.numbers(`${name}_${end}`)));
    const inverse = values.map((value, i) => 1 / counted(value, lo[i] / top, hi[i] / top)).filter((one) => !Number.isNaN(one));
    const total = n / (inverse.reduce((sum, one) => sum + one, 0) / inverse.length);
    const u = widened(p, variance, n, total);
    const centre = (p + u / 2) / (1 + u);
    const half = Math.sqrt(u * p * (1 - p) + u * u / 4) / (1 + u);
    const ends = Number.isNaN(u) ? [NaN, NaN] : [p <= 0 ? 0 : centre - half, p >= 1 ? 1 : centre + half];
    return { mean: p * top, lo: ends[0] * top, hi: ends[1] * top, n };
  }

  /** How many samples make Wilson's interval as wide as [lo, hi]; NaN for none. */
  function counted(p, lo, hi) {
    const w2 = Math.min(Math.max(hi - lo, 0), 1 - 1e-9) ** 2;
    const half = 2 * p * (1 - p) - w2;
    return w2 > 0 ? Data.score.z2 * (1 - w2) / (Math.sqrt(half ** 2 + (1 - w2) * w2) - half) : NaN;
  }

  /** z²/N, or t² times the dispersion in place of z² where the seeds differ by more than their samples explain. */
  function widened(p, variance, n, total) {
    const { z2, medians, few, slack, alike } = Data.score;
    const t2 = (Data.t[n] ?? NaN) ** 2;
    if (Number.isNaN(total)) return Math.sqrt(variance) <= alike * p ? NaN : t2 * variance / (n * p * (1 - p));
    const dispersion = p > 0 && p < 1 ? variance * total / n / (p * (1 - p)) : 0;
    const rare = Math.max(total * Math.min(p, 1 - p), 1e-9);
    const told = dispersion > slack * (medians[n] + (1 - medians[n]) * Math.min(1, few / rare));
    return (told ? Math.max(z2, t2 * dispersion) : z2) / total;
  }

  /** Where no group has a second seed, the rows' own intervals stand in (given the model, T and H). */
  function alone(groups, which, { name, exact }) {
    if (exact || groups.some((group) => group[which].n > 1)) return;
    const [lo, hi] = [Data.numbers(`${name}_lo`), Data.numbers(`${name}_hi`)];
    for (const group of groups) [group[which].lo, group[which].hi] = [lo[group.rows[0]], hi[group.rows[0]]];
  }

  /** The mean over groups of what a column is over their seeds: [] where it is nowhere known, else one number. */
  function centre(groups, name) {
    const column = measure(name);
    const known = groups.map((group) => group.rows.filter((row) => !Number.isNaN(column.at[row]))).filter((rows) => rows.length);
    const means = known.map((rows) => spread(rows, column).mean);
    return means.length ? [means.reduce((sum, mean) => sum + mean, 0) / means.length] : [];
  }

  const codesOf = (row) => Data.axisList.map((axis) => axis.codes[row]);

  return { over, references, centre };
})();
