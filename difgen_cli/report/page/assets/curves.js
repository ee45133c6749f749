"use strict";
// The curves: from what is chosen to panels that answer. All is drawn anew when the choice changes, but not for a step.

const Curves = (() => {
  const HIGH = 250;  // pixels of a panel
  const WIDE = 260;  // least pixels of a panel
  let panels = [];
  let drawn = null;
  let plots = null;
  let turn = 0;

  async function draw() {
    const mine = (turn += 1);
    const chosen = State.get();
    const host = Dom.byId("panels");
    drawn = Lines.plan(chosen);
    drawn.banded = Data.axes.has(chosen.x) || Data.clocks.includes(chosen.x);
    const columns = Math.max(1, Math.min(drawn.columns, drawn.panels.length, Math.floor(host.clientWidth / WIDE)));
    const alone = drawn.panels.length === 1;
    const size = { width: Math.floor(host.clientWidth / columns) - (columns > 1 ? 12 : 0), height: alone ? 400 : HIGH };
    const scales = Object.fromEntries(["x", "y"].map((which) => [which, { log: Controls.isLog(which), axis: Data.axes.get(chosen[which]) }]));
    const shared = Plot.ranges({ x: extent("x", scales.x), y: extent("y", scales.y) });
    const spots = drawn.panels.map((panel) => Panel.place(panel, size));
    const plotted = spots.map(() => Plot.panel(scales, shared, size, { joined: Boolean(drawn.walk), banded: drawn.banded }));
    const held = document.createElement("div");
    held.className = "panels";
    held.style.gridTemplateColumns = `repeat(${columns}, minmax(0, 1fr))`;
    held.append(...spots.map((spot) => spot.figure));
    held.id = "panels";
    host.replaceWith(held);
    const events = { hover, pin: (row) => State.set({ cell: Data.value("cell", row) }) };
    const made = drawn.panels.map((panel, i) => Panel.live(panel, drawn, spots[i], plotted[i], events));
    for (const panel of made) panel.lines(chosen);
    panels = [];
    hover(null);
    tell(chosen, scales);
    Controls.slider(drawn);
    Controls.legend(drawn);
    const old = plots;
    const put = await Plot.put(plotted, spots.map((spot) => spot.plot));
    old?.remove();
    if (mine !== turn) return put.remove();
    plots = put;
    made.forEach((panel, i) => panel.attach(put.views[i]));
    panels = made;
    document.documentElement.dataset.drawn = String(mine);
  }

  /** What an axis must reach: means and single seeds; intervals that reach further are cut off at the frame. */
  function extent(which, { log, axis }) {
    const place = (value) => (log ? Math.log(value) : value);
    const back = (value) => (log ? Math.exp(value) : value);
    let [low, high] = [Infinity, -Infinity];
    const values = axis ? axis.values : [...drawn.groups, ...drawn.references].flatMap((group) => [group[which].mean, ...seedsOf(group, which)]);
    for (const value of values) {
      if (!Number.isFinite(place(value))) continue;
      low = Math.min(low, place(value));
      high = Math.max(high, place(value));
    }
    if (low > high) return log ? [1, 10] : [0, 1];
    if (!log && Data.column(State.get()[which])?.unit === "share" && high >= 0.1) return [-0.04, 1.04];
    const margin = axis && !axis.numeric ? 0.5 : 0.06 * (high - low || Math.abs(high) || 1);
    return [back(low - margin), back(high + margin)];
  }

  function seedsOf(group, which) {
    const { seeds, [which]: name } = State.get();
    return seeds === "points" ? group.rows.map((row) => Data.numbers(name)[row]) : [];
  }

  /** What is seen, in words, for those who do not see it too. */
  function tell(chosen, scales) {
    Dom.byId("up").textContent = `↑ ${Data.label(chosen.y)}${scales.y.log ? " (log)" : ""}`;
    Dom.byId("across").textContent = `${Data.label(chosen.x)}${scales.x.log ? " (log)" : ""} →`;
    const cells = drawn.groups.reduce((sum, group) => sum + group.rows.length, 0);
    const parts = [`${cells} cells in ${drawn.groups.length} groups of equal settings, ${drawn.panels.length} ${drawn.panels.length === 1 ? "panel" : "panels"}.`];
    if (drawn.walk) parts.push(`Along a line: ${Data.label(drawn.walk)}.`);
    const most = drawn.groups.reduce((n, group) => Math.max(n, group.y.n, group.x.n), 0);
    if (most > 1 && chosen.seeds === "band") parts.push(`Means over seeds with 95 % intervals over up to ${most} seeds: Student's t, Wilson's score for shares. ${Data.common}`.trim());
    if (most === 1) parts.push("One seed in each group: an interval is the cell's own, given its model and data.");
    if (drawn.left) parts.push(`${drawn.left} more panels have no room: choose a part of the grid.`);
    const lost = ["x", "y"].filter((which) => scales[which].log && drawn.groups.some((group) => group[which].mean <= 0));
    if (lost.length) parts.push(`Values of ${lost.join(" and ")} that are not above 0 have no place on a log axis.`);
    Dom.byId("told").textContent = parts.join(" ");
  }

  function hover(group, at, host) {
    const tip = Dom.byId("tooltip");
    tip.hidden = !group;
    if (!group) return;
    const { x, y } = State.get();
    const line = (name, { mean, lo, hi, n }) => [
      Dom.make("dt", {}, Data.label(name)),
      Dom.make("dd", {}, Data.axes.has(name) ? Data.axes.get(name).levels[group.codes[Data.axisList.indexOf(Data.axes.get(name))]]
        : `${Words.withInterval(mean, lo, hi)}${n > 1 ? ` over ${n} seeds` : ""}`),
    ];
    const row = group.rows[0];
    const where = group.rows.length > 1 ? Data.title(row).replace(/, seed [^,]*$/, "") : Data.title(row);
    tip.replaceChildren(Dom.make("strong", {}, where || "all"), Dom.make("dl", {}, line(y, group.y), line(x, group.x)), Dom.make("small", {}, "click to pin"));
    Dom.byId("spoken").textContent = tip.textContent;
    const stage = tip.parentElement.getBoundingClientRect();
    const box = host.getBoundingClientRect();
    const left = box.left - stage.left + at[0] + 14;
    tip.style.left = `${Math.max(0, Math.min(left, stage.width - tip.offsetWidth - 4))}px`;
    tip.style.top = `${box.top - stage.top + at[1] + 14}px`;
  }

  function heard(chosen, changed) {
    const anew = ["x", "y", "colour", "across", "down", "seeds", "xlog", "ylog", "only", "references"];
    if (anew.some((name) => changed.has(name))) return void draw();
    for (const panel of panels) {
      if (changed.has("hidden") || (changed.has("step") && drawn.fixed)) panel.lines(chosen);
      panel.redraw(chosen);
    }
  }

  function start() {
    if (!Data.metrics.length) {
      Dom.byId("curves").querySelector(".study").replaceChildren(Dom.make("p", { class: "note" }, "Nothing is measured yet."));
      return;
    }
    Controls.start();
    State.hear(heard);
    Theme.hear(() => void draw());
    let wide = window.innerWidth;
    window.addEventListener("resize", Dom.settled(() => {
      if (window.innerWidth !== wide) void draw();
      wide = window.innerWidth;
    }, 150));
    return draw();
  }

  return { start, marks: () => panels.map((panel) => panel.marks()), seeds: () => panels.map((panel) => panel.seeds()) };
})();
