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
    const lines = rows.map((row) => names.map((name) => field(Data.value(name, row))).join(","));
    return `${[names.map(field).join(","), ...lines].join("\n")}\n`;
  }

  function download(rows) {
    const address = URL.createObjectURL(new Blob([write(rows)], { type: "text/csv;charset=utf-8" }));
    const link = Dom.make("a", { href: address, download: "cells.csv" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(address), 1000);
  }

  return { write, download };
})();
