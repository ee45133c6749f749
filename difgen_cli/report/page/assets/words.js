"use strict";
// How numbers and settings are written: the same words as on the figures (labels.py).

const Words = (() => {
  const NONE = "–";
  const MINUS = "−";

  /** A measured value in at most `digits` significant digits, without exponents where that is readable. */
  function number(value, digits = 3) {
    if (value === null || value === undefined || !Number.isFinite(value)) return NONE;
    const size = Math.abs(value);
    if (value !== 0 && !(size >= 1e-4 && size < 1e5)) {
      return value.toExponential(digits - 1).replace(/e([+-])(\d)$/, "e$10$2").replaceAll("-", MINUS);
    }
    const places = value === 0 ? 0 : Math.max(0, digits - 1 - Math.floor(Math.log10(size)));
    return value.toFixed(Math.min(places, 4)).replace("-", MINUS);
  }

  /** A whole number in full, any other one as `number`. */
  function count(value) {
    return Number.isInteger(value) && Math.abs(value) < 1e15 ? String(value).replace("-", MINUS) : number(value);
  }

  /** Any value of the table. */
  function any(value) {
    if (value === null) return NONE;
    return typeof value === "number" ? count(value) : String(value);
  }

  /** `0.31 [0.28, 0.34]`, or the value alone where it has no interval. */
  function withInterval(mean, lo, hi) {
    const known = Number.isFinite(lo) && Number.isFinite(hi);
    return known ? `${number(mean)} [${number(lo)}, ${number(hi)}]` : number(mean);
  }

  /** A tick: five-digit numbers as thousands, long words cut in the middle. */
  function tick(word) {
    if (/^\d{5,}$/.test(word) && Number(word) % 100 === 0) return `${Number(word) / 1000}k`;
    return word.length <= 18 ? word : `${word.slice(0, 9)}…${word.slice(-8)}`;
  }

  return { NONE, number, count, any, withInterval, tick };
})();
