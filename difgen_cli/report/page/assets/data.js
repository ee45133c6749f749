"use strict";
// The block of rows that the page carries: columns by name, axes, metrics, pictures. It is read once and never changed.

const Data = (() => {
  const block = JSON.parse(document.getElementById("data").textContent);
  const columns = new Map(block.columns.map((column) => [column.name, column]));
  const axes = new Map(block.axes.map((axis) => [axis.path, axis]));
  const floats = new Map();
  const place = new Map();  // of each cell's row
  const cells = columns.get("cell");
  for (let row = 0; row < block.rows; row += 1) place.set(value("cell", row), row);

  const kinds = {};  // how many rows there are of each
  for (let row = 0; row < block.rows; row += 1) kinds[value("kind", row)] = (kinds[value("kind", row)] ?? 0) + 1;

  /** A value as it is in the table: number, text, truth, or null. */
  function value(name, row) {
    const column = columns.get(name);
    if (column === undefined) return null;
    if (column.values !== undefined) return column.values[row];
    const code = column.codes[row];
    return code < 0 ? null : column.levels[code];
  }

  /** A numeric column as doubles, NaN where there is none. */
  function numbers(name) {
    if (!floats.has(name)) {
      const made = new Float64Array(block.rows).fill(NaN);
      if (columns.get(name)?.type === "number") {
        for (let row = 0; row < block.rows; row += 1) made[row] = value(name, row) ?? NaN;
      }
      floats.set(name, made);
    }
    return floats.get(name);
  }

  /** What a row's cell is called by the settings that vary. */
  function title(row) {
    if (value("kind", row) !== "model") return `${value("kind", row)}, seed ${value("seed", row)}`;
    const said = block.axes.filter((axis) => axis.codes[row] >= 0).map((axis) => axis.titles[axis.codes[row]]);
    return [...said, `seed ${value(block.replicate, row)}`].join(", ");
  }

  /** The row of the same training at another step; undefined where there is none. */
  function atStep(row, word) {
    const steps = block.axes.findIndex((axis) => axis.path === block.steps);
    const code = block.axes[steps]?.levels.indexOf(word);
    for (let other = 0; other < block.rows; other += 1) {
      const same = block.axes.every((axis, i) => axis.codes[other] === (i === steps ? code : axis.codes[row]));
      if (same && ["kind", block.replicate].every((name) => value(name, other) === value(name, row))) return other;
    }
    return undefined;
  }

  const label = (name) => block.labels[name] ?? axes.get(name)?.label ?? name;
  const isSetting = (name) => name.includes(".");

  return {
    ...block, columns, axes, kinds, axisList: block.axes, cells, value, numbers, title, atStep, label, isSetting,
    rowOf: (cell) => place.get(cell),
    column: (name) => columns.get(name),
  };
})();
