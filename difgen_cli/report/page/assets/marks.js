"use strict";
// The marks of a panel on a canvas of their own over the plot: what the slider, the mouse and a pin move is redrawn in a
// few milliseconds, and the lines beneath are not.

const Marks = (() => {
  const RADIUS = 4.6;
  const NEAR = 24;  // pixels within which a mark is meant

  /** A canvas over a Bokeh view that knows where values stand on it. scales: of x and y (scales.js). */
  function over(host, view, scales) {
    const canvas = Dom.make("canvas", { class: "marks", "aria-hidden": "true" });
    host.append(canvas);
    const pen = canvas.getContext("2d");
    const ratio = window.devicePixelRatio || 1;
    [canvas.width, canvas.height] = [host.clientWidth * ratio, host.clientHeight * ratio];
    pen.scale(ratio, ratio);
    const across = (value) => view.frame.x_scale.compute(scales.x.to(value));
    const up = (value) => view.frame.y_scale.compute(scales.y.to(value));
    const at = (group) => [across(group.x.mean), up(group.y.mean)];
    return { canvas, pen, view, at, across, up };
  }

  /**
   * Draw marks {group, hue, shape}, and rings around the hovered and the pinned group.
   * beneath: columns of lines, bands and seeds (as plot.js takes them) that change with every step; null where none do.
   * floors: where dotted lines stand across, and up.
   */
  function draw(layer, content) {
    layer.pen.clearRect(0, 0, layer.canvas.width, layer.canvas.height);
    paint(layer, content);
  }

  /** The same on whatever the layer's pen draws on. */
  function paint(layer, { marks, rings, intervals, beneath, floors }) {
    const { pen, view } = layer;
    const { left, top, width, height } = view.frame.bbox;
    pen.save();
    pen.beginPath();
    pen.rect(left - 8, top - 8, width + 16, height + 16);
    pen.clip();
    dotted(layer, floors);
    if (beneath) under(layer, beneath);
    if (intervals) bars(layer, marks);
    const paper = Theme.colour("--paper");
    for (const { group, hue, shape, hollow } of marks) {
      pen.lineWidth = hollow ? 1.6 : 1.2;
      pen.strokeStyle = hollow ? hue : paper;
      pen.fillStyle = hollow ? paper : hue;
      pen.beginPath();
      Shapes.trace(pen, shape, ...layer.at(group), RADIUS);
      pen.fill();
      pen.stroke();
    }
    pen.strokeStyle = Theme.colour("--ink");
    for (const { group, wide } of rings) ring(layer, group, wide);
    pen.restore();
  }

  function dotted({ pen, view, across, up }, { x, y }) {
    const { left, right, top, bottom } = view.frame.bbox;
    pen.lineWidth = 1.4;
    pen.strokeStyle = Theme.colour("--muted");
    pen.setLineDash([2, 3]);
    pen.beginPath();
    for (const at of x.map(across)) pen.moveTo(at, top), pen.lineTo(at, bottom);
    for (const at of y.map(up)) pen.moveTo(left, at), pen.lineTo(right, at);
    pen.stroke();
    pen.setLineDash([]);
  }

  /** Bands, lines and single seeds as the plot draws them where they stand still. */
  function under({ pen, view }, { bands, lines, seeds }) {
    const { x_scale: across, y_scale: up } = view.frame;
    const path = (xs, ys) => {
      pen.beginPath();
      xs.forEach((x, i) => pen.lineTo(across.compute(x), within(up.compute(ys[i]), view.frame.bbox.top, view.frame.bbox.bottom)));
    };
    pen.lineWidth = 1.6;
    pen.lineJoin = "round";
    lines.hue.forEach((hue, i) => {
      path(lines.xs[i], lines.ys[i]);
      pen.strokeStyle = hue;
      pen.stroke();
    });
    pen.globalAlpha = 0.14;
    bands.hue.forEach((hue, i) => {
      path(bands.xs[i], bands.ys[i]);
      pen.fillStyle = hue;
      pen.fill();
    });
    pen.globalAlpha = 0.55;
    seeds.hue.forEach((hue, i) => {
      pen.beginPath();
      pen.arc(across.compute(seeds.x[i]), up.compute(seeds.y[i]), 1.75, 0, 2 * Math.PI);
      pen.fillStyle = hue;
      pen.fill();
    });
    pen.globalAlpha = 1;
  }

  function ring(layer, group, wide) {
    layer.pen.lineWidth = wide;
    layer.pen.beginPath();
    layer.pen.arc(...layer.at(group), RADIUS + 4, 0, 2 * Math.PI);
    layer.pen.stroke();
  }

  /** 95 % intervals, in both directions where both have one, as far as the frame reaches; references have none. */
  function bars({ pen, view, at, across, up }, marks) {
    const { left, right, top, bottom } = view.frame.bbox;
    pen.lineWidth = 1;
    pen.globalAlpha = 0.45;
    for (const { group, hue } of marks.filter(({ hollow }) => !hollow)) {
      const [x, y] = at(group);
      pen.strokeStyle = hue;
      pen.beginPath();
      if (Number.isFinite(group.y.lo + group.y.hi)) {
        pen.moveTo(x, within(up(group.y.lo), top, bottom));
        pen.lineTo(x, within(up(group.y.hi), top, bottom));
      }
      if (Number.isFinite(group.x.lo + group.x.hi)) {
        pen.moveTo(within(across(group.x.lo), right, left), y);
        pen.lineTo(within(across(group.x.hi), right, left), y);
      }
      pen.stroke();
    }
    pen.globalAlpha = 1;
  }

  /** A place in the frame; its far edge where a log axis has no place for a lower end. */
  function within(place, first, last) {
    if (!Number.isFinite(place)) return last;
    return Math.min(Math.max(place, Math.min(first, last)), Math.max(first, last));
  }

  /** The group nearest to a place in pixels, or null. */
  function nearest(layer, groups, x, y) {
    let best = null;
    let least = NEAR ** 2;
    for (const group of groups) {
      const [gx, gy] = layer.at(group);
      const far = (gx - x) ** 2 + (gy - y) ** 2;
      if (far < least) [best, least] = [group, far];
    }
    return best;
  }

  return { over, draw, paint, nearest };
})();
