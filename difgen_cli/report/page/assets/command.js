"use strict";
// What a reader takes from the curves: the command that draws them for a paper, the drawing itself, and its numbers.

const Command = (() => {
  const plain = /^[\w./:=+-]+$/;
  const quoted = (word) => (plain.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`);

  /** `difgen report RUNS --x … --y … --by …` of what is chosen. */
  function words() {
    const { x, y, colour } = State.get();
    return [Data.command, "--x", quoted(x), "--y", quoted(y), ...(colour ? ["--by", quoted(colour)] : [])].join(" ");
  }

  function draw() {
    Dom.byId("command").replaceChildren(
      Dom.make("span", { class: "note" }, "This figure for a paper, all panels in one: "), Dom.make("code", { id: "command-words" }, words()),
      ...Files.copier(words), Dom.make("span", { class: "files" }, ...Files.drawings(Data.name, Curves.drawing),
        Dom.make("button", { type: "button", class: "link", onclick: () => Files.save(table(), `${Data.name}.csv`, "text/csv") }, "CSV")));
  }

  /** The means that the panels show, with their intervals. */
  function table() {
    const { x, y } = State.get();
    const ends = (name) => [name, `${name}_lo`, `${name}_hi`, `${name}_seeds`];
    const head = ["kind", ...Data.axisList.map((axis) => axis.path), ...ends(x), ...ends(y)];
    const four = ({ mean, lo, hi, n }) => [mean, lo, hi, n].map((value) => (Number.isFinite(value) ? value : null));
    const lines = Curves.groups().map((group) => [
      group.kind, ...Data.axisList.map((axis, i) => (group.codes[i] < 0 ? null : axis.levels[group.codes[i]])), ...four(group.x), ...four(group.y)]);
    return Csv.lines([head, ...lines]);
  }

  function start() {
    State.hear((_, changed) => ["x", "y", "colour"].some((name) => changed.has(name)) && draw());
    draw();
  }

  return { start };
})();
