"use strict";
// The table as CSV that a spreadsheet opens without running what is in it (spreadsheet.py says the same).

const Csv = (() => {
  const FORMULA = /^[=+\-@\t\n]/;

  /** Text that a spreadsheet would read as a formula, behind an apostrophe. */
  function neutral(text) {
    const plain = text.replace(/\r\n?/g, "\n");
    return FORMULA.test(plain) ? `'${plain}` : plain;
  }

  function field(value) {
    if (value === null) return "";
    if (typeof value === "number") return String(value);
    if (typeof value === "boolean") return value ? "True" : "False";
    const text = neutral(value);
    return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  }

  /** All columns of these rows. */
  function write(rows) {
    const names = [...Data.columns.keys()];
    return lines([names, ...rows.map((row) => names.map((name) => Data.value(name, row)))]);
  }

  const lines = (table) => `${table.map((line) => line.map(field).join(",")).join("\n")}\n`;

  return { write, lines };
})();
