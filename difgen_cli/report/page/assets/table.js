"use strict";
// Every cell in a table: sorted by any column, filtered by any column, downloaded as it is filtered.

const Table = (() => {
  const ROWS = 25;
  const FEW = 4;  // metrics that are shown at first
  const choice = { columns: first(), page: 0 };
  let kept = [];

  function first() {
    const places = Data.axisList.map((axis) => axis.path).filter((path) => Data.columns.has(path));
    const metrics = Data.metrics.slice(0, FEW);
    const named = [...Object.keys(State.get().filters), sorted().by].filter((name) => name && name !== "cell");
    const shown = ["kind", ...places, "seed", ...(Data.steps ? [] : ["step"]), "state", ...metrics].filter((name) => Data.columns.has(name));
    return [...new Set([...shown, ...named])];
  }

  /** The column that the rows are sorted by, and whether downwards. */
  function sorted() {
    const { sort } = State.get();
    return { by: sort.replace(/^-/, ""), down: sort.startsWith("-") };
  }

  function find() {
    const { filters, search } = State.get();
    kept = Filters.rows(filters, search, ["cell", ...choice.columns]);
    sort();
    choice.page = 0;
    rows();
  }

  /** Numbers by size and texts by their letters; what has no value comes last either way. */
  function sort() {
    const { by, down } = sorted();
    if (!by) return void kept.sort((a, b) => a - b);
    const sign = down ? -1 : 1;
    const axis = Data.axes.get(by);
    const key = (row) => (axis && axis.codes[row] >= 0 ? axis.codes[row] : Data.value(by, row));
    const keys = new Map(kept.map((row) => [row, key(row)]));
    const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true }));
    kept.sort((a, b) => {
      const [one, other] = [keys.get(a), keys.get(b)];
      if (one === null || other === null) return (one === null) - (other === null) || a - b;
      return sign * compare(one, other) || a - b;
    });
  }

  function frame() {
    const numeric = (name) => Data.column(name).type === "number";
    const heads = choice.columns.map((name) => {
      const { unit, meaning } = Data.column(name);
      const { by, down } = sorted();
      const now = by === name ? (down ? "descending" : "ascending") : "none";
      const said = Data.axes.get(name)?.label;
      return Dom.make("th", { scope: "col", "aria-sort": now, class: numeric(name) ? null : "word", title: [meaning || said, unit].filter(Boolean).join(", ") },
        Dom.make("button", { type: "button", onclick: () => turn(name) }, name, Dom.make("span", { "aria-hidden": "true" }, { none: "", ascending: " ↑", descending: " ↓" }[now])));
    });
    const boxes = choice.columns.map((name) => Dom.make("td", {}, Dom.make("input", {
      type: "text", "aria-label": `Filter ${name}`, placeholder: numeric(name) ? "> 0.5" : "contains", size: 6, value: State.get().filters[name] ?? "",
      oninput: typing((value) => ({ filters: { ...State.get().filters, [name]: value } })),
    })));
    Dom.byId("table").replaceChildren(Dom.make("table", { class: "cells" },
      Dom.make("thead", {}, Dom.make("tr", {}, Dom.make("th", { scope: "col", class: "word" }, "cell"), heads), Dom.make("tr", { class: "filters" }, Dom.make("td", {}), boxes)),
      Dom.make("tbody", { id: "table-rows" })));
  }

  const findSoon = Dom.settled(() => find(), 120);
  const typing = (changes) => (event) => {
    State.set(changes(event.target.value));
    findSoon();
  };

  function turn(name) {
    const { by, down } = sorted();
    State.set({ sort: by === name && !down ? `-${name}` : name });
    sort();
    choice.page = 0;
    const at = choice.columns.indexOf(name);
    frame();
    rows();
    Dom.byId("table").querySelectorAll("thead button")[at].focus();
  }

  function rows() {
    const { cell } = State.get();
    const shown = kept.slice(choice.page * ROWS, (choice.page + 1) * ROWS);
    Dom.byId("table-rows").replaceChildren(...shown.map((row) => {
      const key = Data.value("cell", row);
      const pin = Dom.make("button", { type: "button", class: "place", "aria-label": `Pin cell ${key}`, onclick: () => Gallery.show(key) }, key.slice(0, 8));
      const values = choice.columns.map((name) => {
        const value = Data.value(name, row);
        return Dom.make("td", { class: Data.column(name).type === "number" ? null : "word", "data-column": name, title: value === null ? null : String(value) }, Words.any(value));
      });
      return Dom.make("tr", { class: key === cell ? "pinned" : null }, Dom.make("td", { class: "word" }, pin), values);
    }));
    tell();
  }

  function tell() {
    const pages = Math.max(1, Math.ceil(kept.length / ROWS));
    const go = (to) => () => {
      choice.page = to;
      rows();
    };
    Dom.byId("table-told").textContent = `${kept.length} of ${Data.rows} rows${Data.digits ? `; numbers here have ${Data.digits} digits, rows.csv has all` : ""}.`;
    const step = (words, to, off) => Dom.make("button", { type: "button", class: "quiet", disabled: off, onclick: go(to) }, words);
    Dom.byId("table-pages").replaceChildren(step("Previous", choice.page - 1, choice.page === 0),
      Dom.make("span", {}, `page ${choice.page + 1} of ${pages}`), step("Next", choice.page + 1, choice.page + 1 >= pages));
  }

  /** Which columns are shown, in the order of the table. */
  function chooser() {
    const names = [...Data.columns.keys()].filter((name) => name !== "cell");
    const box = (name) => Dom.toggle(name, choice.columns.includes(name), (on) => {
      choice.columns = on ? names.filter((other) => choice.columns.includes(other) || other === name) : choice.columns.filter((other) => other !== name);
      if (!on) State.set({ filters: { ...State.get().filters, [name]: "" } });
      frame();
      find();
    });
    return Dom.make("details", { class: "only" }, Dom.make("summary", {}, `Columns (${names.length})`), Dom.make("div", { class: "controls" }, names.map(box)));
  }

  function start() {
    const search = Dom.make("input", { type: "search", id: "table-search", value: State.get().search, oninput: typing((search) => ({ search })) });
    Dom.byId("table-controls").replaceChildren(
      Dom.make("label", { class: "field" }, Dom.make("span", {}, "Search what is shown"), search),
      Dom.make("button", { type: "button", id: "download", class: "quiet", onclick: () => Files.save(Csv.write(kept), "cells.csv", "text/csv") }, "Download these rows as CSV"),
      chooser());
    State.hear((_, changed) => changed.has("cell") && rows());
    frame();
    find();
  }

  return { start };
})();
