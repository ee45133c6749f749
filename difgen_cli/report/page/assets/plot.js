"use strict";
// One panel in Bokeh: scales, ticks, grid, lines, bands and single seeds. What moves is drawn over it (marks.js).

const Plot = (() => {
  const model = (name, attributes = {}) => new (Bokeh.Models.get(name))(attributes);
  const FONT = { text_font: "system-ui, DejaVu Sans, sans-serif", text_font_size: "11px" };

  /** Ranges that all panels share, so that a zoom in one is a zoom in all. */
  function ranges(extents) {
    const range = ([start, end]) => model("Range1d", { start, end, reset_start: start, reset_end: end });
    return { x: range(extents.x), y: range(extents.y) };
  }

  /** The plot of a panel: {root, show(lines, seeds)}. size: {width, height} in pixels. */
  function panel(scales, shared, size, options) {
    const root = model("Plot", {
      x_range: shared.x, y_range: shared.y, x_scale: scale(scales.x), y_scale: scale(scales.y),
      width: size.width, height: size.height, toolbar_location: null, min_border: 6, min_border_right: 12,
      background_fill_color: null, border_fill_color: null, outline_line_color: null, output_backend: "canvas",
    });
    const [across, up] = [axis(scales.x, shared.x, size.width - 60, true), axis(scales.y, shared.y, size.height - 30, false)];
    root.add_layout(across, "below");
    root.add_layout(up, "left");
    const line = { grid_line_color: Theme.colour("--line"), grid_line_width: 0.7 };
    root.add_layout(model("Grid", { axis: across, dimension: 0, ...line }));
    root.add_layout(model("Grid", { axis: up, dimension: 1, ...line }));
    if (matchMedia("(pointer: fine)").matches) {  // on a touch screen a drag scrolls the page
      const zoom = model("BoxZoomTool");
      root.toolbar.tools = [zoom];
      root.toolbar.active_drag = zoom;
    }
    return { root, show: layers(root, options) };
  }

  function layers(root, { joined, banded }) {
    const of = (field) => ({ field });
    const source = () => model("ColumnDataSource");
    const add = (data_source, glyph) => root.add_renderers(model("GlyphRenderer", { data_source, glyph }));
    const [bands, lines, means, seeds] = [source(), source(), source(), source()];
    add(bands, model("Patches", { xs: of("xs"), ys: of("ys"), fill_color: of("hue"), fill_alpha: 0.14, line_color: null }));
    if (joined) add(lines, model("MultiLine", { xs: of("xs"), ys: of("ys"), line_color: of("hue"), line_width: 1.6, line_alpha: of("alpha") }));
    const dot = (alpha) => ({ x: of("x"), y: of("y"), fill_color: of("hue"), line_color: null, fill_alpha: alpha });
    add(means, model("Scatter", { ...dot(0.7), size: 3.5 }));
    add(seeds, model("Scatter", { ...dot(0.55), size: 3.5 }));
    return (drawn) => {
      bands.data = banded ? drawn.bands : { xs: [], ys: [], hue: [] };
      lines.data = drawn.lines;
      means.data = drawn.means;
      seeds.data = drawn.seeds;
    };
  }

  const scale = ({ log }) => model(log ? "LogScale" : "LinearScale");
  // as plain text: a string would be searched for formulas
  const plain = (places, words) => new Map(places.map((place, i) => [place, model("PlainText", { text: words[i] })]));

  function axis(scale, range, pixels, flat) {
    const muted = Theme.colour("--muted");
    const text = Object.fromEntries(Object.entries(FONT).map(([name, value]) => [`major_label_${name}`, value]));
    return model(scale.log ? "LogAxis" : "LinearAxis", {
      ...text, ...ticks(scale, range, pixels, flat), major_label_text_color: Theme.colour("--ink"), axis_line_color: muted, axis_line_width: 0.8,
      major_tick_line_color: muted, minor_tick_line_color: null, major_tick_in: 0, major_tick_out: 4,
    });
  }

  /** A setting's ticks stand at its own levels, as many as have room; a metric's at round numbers. */
  function ticks(scale, range, pixels, flat) {
    const { log, axis: levels, from, to } = scale;
    if (from) {
      const found = Scales.ticks(range.start, range.end, scale);
      return { ticker: model("FixedTicker", { ticks: found.map(to) }), major_label_overrides: plain(found.map(to), found.map(String)) };
    }
    if (levels) {
      const kept = apart(levels, log, pixels, flat);
      const places = kept.map((i) => levels.values[i]);
      return { ticker: model("FixedTicker", { ticks: places }), major_label_overrides: plain(places, kept.map((i) => Words.tick(levels.levels[i]))) };
    }
    const formatter = model("BasicTickFormatter", { use_scientific: true, power_limit_high: 5, power_limit_low: -4 });
    const few = Math.max(3, Math.round(pixels / (flat ? 70 : 45)));
    if (!log) return { formatter, ticker: model("BasicTicker", { desired_num_ticks: few, num_minor_ticks: 0 }) };
    return { formatter, ticker: logTicker(range, few) };
  }

  /** 1, 2, 5 × powers of ten, or fewer of them, as many as have room; others when the range is zoomed. */
  function logTicker(range, few) {
    const ticker = model("FixedTicker", { ticks: logTicks(range.start, range.end, few) });
    range.change.connect(() => (ticker.ticks = logTicks(range.start, range.end, few)));
    return ticker;
  }

  function logTicks(low, high, few) {
    const [first, last] = [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high))];
    let found = [];
    for (const steps of [[1, 2, 5], [1, 3], [1]]) {
      found = [];
      for (let power = first; power <= last; power += 1) found.push(...steps.map((step) => Number(`${step}e${power}`)));
      found = found.filter((tick) => tick >= low && tick <= high);
      if (found.length <= few) break;
    }
    const every = Math.ceil(found.length / few);
    if (found.length > 2) return found.filter((_, i) => i % every === 0);
    const step = 10 ** Math.floor(Math.log10((high - low) / 2));
    const round = [1, 2, 5, 10].map((times) => times * step).find((size) => (high - low) / size <= few);
    return Array.from({ length: few }, (_, i) => (Math.ceil(low / round) + i) * round).filter((tick) => tick <= high);
  }

  /** Levels whose labels do not touch, the first and the last among them. */
  function apart(levels, log, pixels, flat) {
    const place = levels.values.map((value) => (log ? Math.log(value) : value));
    const reach = place.at(-1) - place[0] || 1;
    const wide = flat ? Math.max(...levels.levels.map((word) => 7 * Words.tick(word).length)) + 10 : 16;
    const room = (wide / pixels) * reach;
    const kept = [0];
    for (let i = 1; i < place.length; i += 1) if (place[i] - place[kept.at(-1)] >= room) kept.push(i);
    const last = place.length - 1;
    if (kept.at(-1) !== last) {
      if (kept.length > 1 && place[last] - place[kept.at(-1)] < room) kept.pop();
      kept.push(last);
    }
    return kept;
  }

  /** Put the plots into their places, all in one document; returns their views in the same order. */
  async function put(plots, places) {
    const made = new (Bokeh.require("document").Document)();
    for (const { root } of plots) made.add_root(root);
    const views = await Bokeh.embed.add_document_standalone(made, document.body, places);
    return { views: plots.map(({ root }) => views.get_by_id(root.id)), remove: () => made.clear() };
  }

  return { ranges, panel, put };
})();
