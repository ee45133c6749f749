"use strict";
// What a reader types above a column: words that a text contains, or numbers such as `0.5`, `> 0.5`, `<= 3`, `1..4`, `none`.

const Filters = (() => {
  const NUMBER = "[-+−]?(?:\\d+\\.?\\d*|\\.\\d+)(?:e[-+−]?\\d+)?";
  const COMPARED = new RegExp(`^(<=|>=|!=|<|>|=)?\\s*(${NUMBER})$`, "i");
  const BETWEEN = new RegExp(`^(${NUMBER})\\s*(?:\\.\\.|…)\\s*(${NUMBER})$`, "i");
  const TESTS = {
    "<": (a, b) => a < b, "<=": (a, b) => a <= b, ">": (a, b) => a > b, ">=": (a, b) => a >= b,
    "=": (a, b) => a === b, "!=": (a, b) => a !== b,
  };
  const read = (text) => Number(text.replace("−", "-"));

  /** A test of one column's values, or null where nothing was typed. */
  function test(typed, type) {
    const said = typed.trim();
    if (!said) return null;
    if (said.toLowerCase() === "none") return (value) => value === null;
    if (type === "number") {
      const between = BETWEEN.exec(said);
      if (between) return (value) => value !== null && value >= read(between[1]) && value <= read(between[2]);
      const compared = COMPARED.exec(said);
      if (compared) return (value) => value !== null && TESTS[compared[1] ?? "="](value, read(compared[2]));
    }
    return contains(said);
  }

  function contains(said) {
    const words = said.toLowerCase();
    return (value) => value !== null && String(value).toLowerCase().includes(words);
  }

  /** The rows that pass the test of every column, and whose any shown value contains `anywhere`. */
  function rows(typed, anywhere, shown) {
    const tests = Object.entries(typed).map(([name, said]) => [name, test(said, Data.column(name).type)]).filter(([, one]) => one);
    const words = anywhere.trim() ? contains(anywhere.trim()) : null;
    const kept = [];
    for (let row = 0; row < Data.rows; row += 1) {
      if (!tests.every(([name, one]) => one(Data.value(name, row)))) continue;
      if (words && !shown.some((name) => words(Data.value(name, row)))) continue;
      kept.push(row);
    }
    return kept;
  }

  return { rows };
})();
