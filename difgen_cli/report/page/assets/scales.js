"use strict";
// How a column runs along an axis: linear, logarithmic, or, where 0 and decades must both be seen, linear up to `from`
// and logarithmic above it (scales.py draws the same).

const Scales = (() => {
  const signed = (value, size) => (value < 0 ? -size : size);

  /** {log, from, axis, word} with `to` and `back`: from values to places on the plot, and from places to values. */
  function of(name, log, axis) {
    const from = (log && !axis && Data.resolutions[name]) || 0;
    if (!from) return { log, from, axis, word: log ? " (log)" : "", to: (value) => value, back: (place) => place };
    const to = (value) => signed(value, Math.abs(value) <= from ? Math.abs(value) / from : 1 + Math.log10(Math.abs(value) / from));
    const back = (place) => signed(place, Math.abs(place) <= 1 ? Math.abs(place) * from : from * 10 ** (Math.abs(place) - 1));
    return { log: false, from, axis, word: ` (log above ${Words.number(from, 2)})`, to, back };
  }

  /** The ends of a plot that hold these values, as places; null where there are none. */
  function extent(values, scale) {
    const place = (value) => (scale.log ? Math.log(value) : scale.to(value));
    let [low, high] = [Infinity, -Infinity];
    for (const value of values) {
      const at = place(value);
      if (!Number.isFinite(at)) continue;
      low = Math.min(low, at);
      high = Math.max(high, at);
    }
    if (low > high) return null;
    const margin = scale.axis && !scale.axis.numeric ? 0.5 : 0.06 * (high - low || Math.abs(high) || 1);
    return [low - margin, high + margin].map((end) => (scale.log ? Math.exp(end) : end));
  }

  /** Ticks of a plot from `low` to `high` that is linear and then logarithmic: 0, and powers of ten above `from`. */
  function ticks(low, high, { from, back }) {
    const powers = [];
    for (let power = Math.ceil(Math.log10(from) - 1e-9); power <= 3; power += 1) powers.push(Number(`1e${power}`));
    return [0, ...powers].filter((tick) => tick <= back(high) && tick >= back(low));
  }

  return { of, extent, ticks };
})();
