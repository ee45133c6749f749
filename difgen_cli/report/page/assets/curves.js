"use strict";
// The curves: from what is chosen to panels that answer. All is drawn anew when the choice changes, but not for a step.

const Curves = (() => {
  const HIGH = 250;  // pixels of a panel
  const WIDE = 260;  // least pixels of a panel
  const ALONE = 400;  // pixels of a panel that is the only one
  const AROUND = 330;  // pixels that a large panel leaves for what stands around it
  const PRINTED = 680;  // pixels of a sheet of paper, to which the panels shrink in print
  let large = null;  // the place of the panel that is shown large, alone
  let panels = [];
  let drawn = null;
  let plots = null;
  let turn = 0;

  async function draw() {
    const mine = (turn += 1);
    const chosen = State.get();
    const host = Dom.byId("panels");
    drawn = Lines.plan(chosen);
    if (large !== null) drawn.panels = [drawn.panels[large] ?? drawn.panels[0]];
    drawn.banded = Data.axes.has(chosen.x) || Data.clocks.includes(chosen.x);
    const columns = Math.max(1, Math.min(drawn.columns, drawn.panels.length, Math.floor(host.clientWidth / WIDE)));
    const high = large !== null ? Math.max(ALONE, window.innerHeight - AROUND) : drawn.panels.length === 1 ? ALONE : HIGH;
    const size = { width: Math.floor(host.clientWidth / columns) - (columns > 1 ? 12 : 0), height: high };
    const scales = Object.fromEntries(["x", "y"].map((which) => [which, Scales.of(chosen[which], Controls.isLog(which), Data.axes.get(chosen[which]))]));
    const ends = Object.fromEntries(["x", "y"].map((which) => [which, extent(which, scales[which])]));
    const shared = Plot.ranges(ends);
    drawn.scales = scales;
    drawn.isWide = (group) => chosen.seeds === "band" && drawn.banded && scales.y.to(group.y.lo) <= ends.y[0] && scales.y.to(group.y.hi) >= ends.y[1];
    drawn.floored = floors(chosen);
    const spots = drawn.panels.map((panel, i) => Panel.place(panel, size, large === null && (() => enlarge(i, panel.title))));
    const plotted = spots.map(() => Plot.panel(scales, shared, size, { joined: Boolean(drawn.walk), banded: drawn.banded }));
    const held = document.createElement("div");
    held.className = "panels";
    held.style.gridTemplateColumns = `repeat(${columns}, minmax(0, 1fr))`;
    held.style.setProperty("--print", String(Math.min(1, PRINTED / host.clientWidth)));
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
    rest();
    document.documentElement.dataset.drawn = String(mine);
  }

  /** One panel alone, as large as the window; its button has the focus again afterwards. */
  function enlarge(i, title) {
    Enlarge.open(Dom.byId("study"), title || Dom.byId("curves-title").textContent, {
      opened: () => {
        large = i;
        void draw();
      },
      closed: () => {
        large = null;
        void draw().then(() => Dom.byId("panels").querySelectorAll(".enlarge")[i]?.focus());
      },
    });
  }

  /** The distance of real images to real ones, in each panel: the mean over its groups. Whether there is any. */
  function floors({ x, y }) {
    const line = (panel, name) => (Data.floor && name === Data.floor.beside ? Groups.centre(panel.groups, Data.floor.name) : []);
    for (const panel of drawn.panels) panel.floors = { x: line(panel, x), y: line(panel, y) };
    return drawn.panels.some((panel) => panel.floors.x.length + panel.floors.y.length);
  }

  /** What an axis must reach: means, single seeds and floors; intervals that reach further are cut off at the frame. */
  function extent(which, scale) {
    const { axis, log, from } = scale;
    const values = axis ? axis.values : [...drawn.groups, ...drawn.references].flatMap((group) => [group[which].mean, ...seedsOf(group, which)]);
    const found = Scales.extent(values, scale) ?? (log ? [1, 10] : [0, 1]);
    const share = !log && !from && Data.column(State.get()[which])?.unit === "share" && found[1] >= 0.1;
    return share ? [-0.04, 1.04] : found;
  }

  function seedsOf(group, which) {
    const { seeds, [which]: name } = State.get();
    return seeds === "points" ? group.rows.map((row) => Data.numbers(name)[row]) : [];
  }

  /** What is seen, in words, for those who do not see it too. */
  function tell(chosen, scales) {
    Dom.byId("up").textContent = `↑ ${Data.label(chosen.y)}${scales.y.word}`;
    Dom.byId("across").textContent = `${Data.label(chosen.x)}${scales.x.word} →`;
    const title = `${Data.label(chosen.y)} against ${Data.label(chosen.x)}`;
    Dom.byId("curves-title").textContent = title[0].toUpperCase() + title.slice(1);
    const cells = drawn.groups.reduce((sum, group) => sum + group.rows.length, 0);
    const parts = [`${cells} cells in ${drawn.groups.length} groups of equal settings, ${drawn.panels.length} ${drawn.panels.length === 1 ? "panel" : "panels"}.`];
    if (drawn.walk) parts.push(`Along a line: ${Data.label(drawn.walk)}.`);
    const most = drawn.groups.reduce((n, group) => Math.max(n, group.y.n, group.x.n), 0);
    if (most > 1 && chosen.seeds === "band") parts.push(`Means over seeds with 95 % intervals over up to ${most} seeds: Student's t, Wilson's score for shares. ${Data.common}`.trim());
    if (most === 1) parts.push("One seed in each group: an interval is the cell's own, given its model and data.");
    const wide = drawn.groups.filter(drawn.isWide).length;
    if (wide) parts.push(`In ${wide} ${wide === 1 ? "group" : "groups"} the interval is wider than the panel: the seeds are drawn as points in its place.`);
    if (drawn.left) parts.push(`${drawn.left} more panels have no room: choose a part of the grid.`);
    const lost = ["x", "y"].filter((which) => scales[which].log && drawn.groups.some((group) => group[which].mean <= 0));
    if (lost.length) parts.push(`Values of ${lost.join(" and ")} that are not above 0 have no place on a log axis.`);
    Dom.byId("told").textContent = parts.join(" ");
  }

  /** The tooltip of a group; of the pinned one where none is hovered. */
  function hover(group, at, host) {
    if (!group) return rest();
    show(group, at, host, "click to pin");
    Dom.byId("spoken").textContent = Dom.byId("tooltip").textContent;
  }

  function rest() {
    const pinned = panels.map((panel) => panel.pin(State.get())).find((one) => one);
    if (pinned) show(pinned.group, pinned.at, pinned.host, "pinned");
    else Dom.byId("tooltip").hidden = true;
  }

  function show(group, at, host, below) {
    const tip = Dom.byId("tooltip");
    const { x, y } = State.get();
    const line = (name, { mean, lo, hi, n }) => [
      Dom.make("dt", {}, Data.label(name)),
      Dom.make("dd", {}, Data.axes.has(name) ? Data.axes.get(name).levels[group.codes[Data.axisList.indexOf(Data.axes.get(name))]]
        : `${Words.withInterval(mean, lo, hi)}${n > 1 ? ` over ${n} seeds` : ""}`),
    ];
    const row = group.rows[0];
    const where = group.rows.length > 1 ? Data.title(row).replace(/, seed [^,]*$/, "") : Data.title(row);
    tip.hidden = false;
    tip.replaceChildren(Dom.make("strong", {}, where || "all"), Dom.make("dl", {}, line(y, group.y), line(x, group.x)), Dom.make("small", {}, below));
    const stage = tip.parentElement.getBoundingClientRect();
    const box = host.getBoundingClientRect();
    const left = box.left - stage.left + at[0] + 14;
    tip.style.left = `${Math.max(0, Math.min(left, stage.width - tip.offsetWidth - 4))}px`;
    tip.style.top = `${box.top - stage.top + at[1] + 14}px`;
  }

  function heard(chosen, changed) {
    const anew = ["x", "y", "colour", "across", "down", "seeds", "xlog", "ylog", "only", "references"];
    if (anew.some((name) => changed.has(name))) return void draw();
    const steps = changed.has("step");
    if (!steps && !["hidden", "cell"].some((name) => changed.has(name))) return;
    for (const panel of panels) {
      if (changed.has("hidden") || (steps && drawn.fixed)) panel.lines(chosen);
      panel.redraw(chosen);
    }
    rest();
    if (steps) for (const panel of panels) panel.slid(chosen);
  }

  /** All panels as one SVG, with the names of their axes. */
  function drawing() {
    const host = Dom.byId("panels").getBoundingClientRect();
    const [top, bottom] = [24, 28];
    const text = (x, y, words, end = false) => Dom.makeSvg("text", { x, y, fill: Theme.colour("--ink"), "font-family": "system-ui, DejaVu Sans, sans-serif", "font-size": 12, "text-anchor": end ? "end" : "start" }, words);
    const [width, height] = [Math.ceil(host.width), Math.ceil(host.height) + top + bottom];
    const whole = Dom.makeSvg("svg", { width, height, viewBox: `0 0 ${width} ${height}` },
      Dom.makeSvg("rect", { width, height, fill: Theme.colour("--paper") }),
      text(4, 15, Dom.byId("up").textContent), text(width - 4, height - 9, Dom.byId("across").textContent, true));
    document.querySelectorAll("#panels .panel").forEach((place, i) => {
      const box = place.getBoundingClientRect();
      const inner = new DOMParser().parseFromString(panels[i].svg(), "image/svg+xml").documentElement;
      const at = { x: box.left - host.left, y: box.top - host.top + top };
      for (const [name, value] of Object.entries(at)) inner.setAttribute(name, value);
      whole.append(inner, text(at.x + 8, at.y - 6, panels[i].title));
    });
    return { svg: new XMLSerializer().serializeToString(whole), width, height };
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

  return { start, drawing, groups: () => [...drawn.groups, ...drawn.references], marks: () => panels.map((panel) => panel.marks()), seeds: () => panels.map((panel) => panel.seeds()) };
})();
