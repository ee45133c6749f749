"use strict";
// Markers, drawn alike on canvas and in the legend, so that a line is told from its neighbour without its colour. They
// are those of the figures that stand still: outlines in radii of a circle, none of the circle itself.

const Shapes = (() => {
  const outline = (shape) => Data.markers[shape % Data.markers.length];
  /** The marker of a reference, drawn hollow, and what it is called. */
  const reference = (kind) => Data.references[kind] ?? { shape: 0, words: kind };

  /** Add a marker to the canvas's path. */
  function trace(canvas, shape, x, y, radius) {
    const corners = outline(shape);
    if (!corners) {
      canvas.moveTo(x + radius, y);
      canvas.arc(x, y, radius, 0, 2 * Math.PI);
      return;
    }
    corners.forEach(([dx, dy], i) => canvas[i ? "lineTo" : "moveTo"](x + dx * radius, y + dy * radius));
    canvas.closePath();
  }

  /** A marker on its line, for the legend; a hollow one without a line for a reference. */
  function key(shape, hue, hollow = false) {
    const corners = outline(shape);
    const look = hollow ? { fill: "none", stroke: hue, "stroke-width": 1.6 } : { fill: hue };
    const mark = corners
      ? Dom.makeSvg("polygon", { points: corners.map(([x, y]) => `${12 + 4.5 * x},${8 + 4.5 * y}`).join(" "), ...look })
      : Dom.makeSvg("circle", { cx: 12, cy: 8, r: 4.5, ...look });
    return drawn(hollow ? null : stroke(hue), mark);
  }

  /** A dotted line, for the legend. */
  const dotted = (hue) => drawn(stroke(hue, "3 3"));
  const drawn = (...parts) => Dom.makeSvg("svg", { width: 24, height: 16, "aria-hidden": "true" }, ...parts);
  const stroke = (hue, dashes = null) => Dom.makeSvg("line", { x1: 0, y1: 8, x2: 24, y2: 8, stroke: hue, "stroke-width": 1.6, "stroke-dasharray": dashes });

  return { trace, key, dotted, reference };
})();
