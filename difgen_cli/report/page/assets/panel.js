"use strict";
// One panel of the curves: its plot, the marks over it, and what mouse, touch and keyboard do there.

const Panel = (() => {
  const HAZE = 1500;  // groups beyond which small dots on the lines would only be a haze

  /** A panel's place on the page; `put` gives it life when its plot is there. enlarge: called by its button. */
  function place(panel, size, enlarge) {
    const plot = Dom.make("div", { class: "plot", style: `height:${size.height}px` });
    const host = Dom.make("div", {
      class: "panel", tabindex: 0, role: "group", "aria-roledescription": "chart",
      "aria-label": `${panel.title || "All"}: arrow keys go from point to point, Enter pins one`,
    }, plot);
    const head = Dom.make("div", { class: "facet-head" }, panel.title && Dom.make("h3", {}, panel.title), enlarge && Enlarge.button(panel.title || "the panel", enlarge));
    return { figure: Dom.make("div", { class: "facet" }, head, host), host, plot };
  }

  /**
   * A panel that answers. events: hover(group or null, place, host), pin(row).
   * Returns {lines(chosen), redraw(chosen), attach(view)}: lines may be given before there is a view, marks after.
   */
  function live(panel, drawn, spot, plotted, events) {
    let [layer, hovered, all, beneath] = [null, null, [], null];
    const visible = (group) => !State.get().hidden.includes(drawn.colour.of(group));

    /** Lines, bands and seeds of what is chosen now. */
    function lines(chosen) {
      const current = (drawn.fixed ? Lines.atStep(panel, drawn, chosen.step) : panel.groups).filter(visible);
      const kept = new Set(current);
      const some = panel.lines.map((line) => line.filter((group) => kept.has(group))).filter((line) => line.length);
      const dots = (chosen.seeds === "points" ? current : current.filter((group) => drawn.isWide(group))).flatMap(single);
      all = [...current, ...dots, ...panel.references];
      const made = columns(drawn, chosen, some, current, dots);
      if (drawn.fixed) beneath = made;  // the slider changes them: drawn over the plot, which need not be painted again
      else plotted.show(made);
    }

    /** What is drawn over the plot: marks, rings around the pinned and the hovered one, and floors. */
    function content(chosen) {
      const shown = Lines.atStep(panel, drawn, chosen.step).filter(visible);
      const hollow = (group) => ({ group, hue: look(drawn, group)?.hue ?? drawn.colour.plain, shape: Shapes.reference(group.kind).shape, hollow: true });
      const marks = [...panel.references.filter(visible).map(hollow), ...shown.map((group) => ({ group, ...look(drawn, group) }))];
      const now = pinned(chosen);
      const rings = [now && { group: now, wide: 2.5 }, hovered && { group: hovered, wide: 1.2 }].filter(Boolean);
      return { marks, rings, intervals: chosen.seeds === "band" && !drawn.banded, beneath, floors: panel.floors };
    }

    const redraw = (chosen) => Marks.draw(layer, content(chosen));
    const pinned = ({ cell }) => {
      const row = Data.rowOf(cell);
      return row === undefined ? undefined : all.find((group) => group.rows.includes(row));
    };

    /** What is hovered goes along when the slider moves. */
    function slid(chosen) {
      const along = hovered && Data.atStep(hovered.rows[0], chosen.step);
      const group = along === undefined || along === null ? null : all.find((other) => other.rows.includes(along));
      if (group) hover(group);
    }

    function hover(group, at) {
      if (group === hovered) return;
      hovered = group;
      redraw(State.get());
      events.hover(group, at ?? (group && layer.at(group)), spot.host);
    }

    function attach(view) {
      layer = Marks.over(spot.host, view, drawn.scales);
      const find = (x, y) => Marks.nearest(layer, all, x, y);
      listen(spot.host, { find, hover, pin: events.pin, hovered: () => hovered, all: () => all, lines: panel.lines });
      view.model.x_range.change.connect(() => requestAnimationFrame(() => redraw(State.get())));
      redraw(State.get());
    }

    /** Where the marks of this step stand, in pixels of the panel. */
    const marks = () => Lines.atStep(panel, drawn, State.get().step).filter(visible).map((group) => ({ group, at: layer.at(group) }));

    /** Where the pinned group stands, if it is in this panel. */
    const pin = (chosen) => {
      const group = pinned(chosen);
      return group && visible(group) ? { group, at: layer.at(group), host: spot.host } : null;
    };

    /** The panel as SVG: its plot, and what is drawn over it. */
    const svg = () => {
      const { ctx } = layer.view.export("svg");
      Marks.paint({ ...layer, pen: ctx }, content(State.get()));
      return ctx.get_serialized_svg(true);
    };

    return { lines, redraw, slid, attach, marks, pin, svg, title: panel.title, seeds: () => all.filter((group) => group.alone) };
  }

  const look = (drawn, group) => drawn.colour.levels[drawn.colour.of(group)];

  /** A group's rows as groups of one seed each: the points that are drawn beside the means. */
  function single(group) {
    const own = (name, row) => (Data.axes.has(name) ? undefined : Data.numbers(name)[row]);
    const { x, y } = State.get();
    return group.rows.map((row) => ({
      ...group, rows: [row], alone: true,
      x: { mean: own(x, row) ?? group.x.mean, lo: NaN, hi: NaN, n: 1 }, y: { mean: own(y, row), lo: NaN, hi: NaN, n: 1 },
    }));
  }

  function columns(drawn, chosen, lines, groups, dots) {
    const hue = (line) => look(drawn, line[0]).hue;
    const long = lines.filter((line) => line.length > 1);
    const banded = chosen.seeds === "band" ? long.flatMap((line) => narrow(line, drawn)) : [];
    const { x: { to: across }, y: { to: up } } = drawn.scales;
    const means = groups.length <= HAZE ? groups : [];
    const alpha = groups.length > HAZE ? 0.35 : 0.8;
    return {
      lines: { xs: long.map((line) => line.map((g) => across(g.x.mean))), ys: long.map((line) => line.map((g) => up(g.y.mean))), hue: long.map(hue), alpha: long.map(() => alpha) },
      bands: { xs: banded.map((line) => around(line, "x", "mean", "mean").map(across)), ys: banded.map((line) => around(line, "y", "lo", "hi").map(up)), hue: banded.map(hue) },
      means: points(means, drawn),
      seeds: points(dots, drawn),
    };
  }

  /** The stretches of a line with intervals that fit into the panel. */
  function narrow(line, drawn) {
    const stretches = [[]];
    for (const group of line) {
      if (drawn.isWide(group)) stretches.push([]);
      else stretches.at(-1).push(group);
    }
    return stretches.filter((some) => some.length > 1 && some.some((group) => Number.isFinite(group.y.lo)));
  }

  /** A band's outline: along one end of the intervals and back along the other; a mean stands in where there is none. */
  function around(line, which, first, second) {
    const end = (group, name) => (Number.isFinite(group[which][name]) ? group[which][name] : group[which].mean);
    return [...line.map((group) => end(group, first)), ...line.toReversed().map((group) => end(group, second))];
  }

  function points(groups, drawn) {
    const { x, y } = drawn.scales;
    return { x: groups.map((g) => x.to(g.x.mean)), y: groups.map((g) => y.to(g.y.mean)), hue: groups.map((g) => look(drawn, g).hue) };
  }

  function listen(host, panel) {
    let down = null;
    const within = (event) => {
      const box = host.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    const find = (event) => panel.find(...within(event));
    host.addEventListener("pointermove", (event) => event.pointerType !== "touch" && panel.hover(find(event), within(event)));
    host.addEventListener("pointerleave", () => panel.hover(null));
    host.addEventListener("pointerdown", (event) => (down = within(event)), true);
    host.addEventListener("pointerup", (event) => {
      const [x, y] = within(event);
      if (!down || Math.hypot(x - down[0], y - down[1]) > 5) return;  // a drag zooms
      const group = find(event);
      if (group) panel.pin(group.rows[0]);
    }, true);
    host.addEventListener("keydown", (event) => walk(event, panel), true);
    host.addEventListener("blur", () => panel.hover(null));
  }

  /** Left and right along a line, up and down from line to line. */
  function walk(event, panel) {
    const now = panel.hovered();
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      if (now) panel.pin(now.rows[0]);
      return;
    }
    const [along, aside] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key] ?? [0, 0];
    if (event.key === "Escape") panel.hover(null);
    if (!along && !aside) return;
    event.preventDefault();
    const kept = new Set(panel.all());
    const lines = panel.lines.map((line) => line.filter((group) => kept.has(group))).filter((line) => line.length);
    if (!lines.length) return;
    const at = Math.max(0, lines.findIndex((line) => line.includes(now)));
    const line = lines[(at + aside + lines.length) % lines.length];
    const from = now ? lines[at].indexOf(now) + along : 0;
    panel.hover(line[Math.min(Math.max(from, 0), line.length - 1)]);
  }

  return { place, live };
})();
