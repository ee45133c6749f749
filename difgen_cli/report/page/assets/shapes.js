"use strict";
// Markers, drawn alike on canvas and in the legend, so that a line is told from its neighbour without its colour.

const Shapes = (() => {
  const polygon = (corners, turn, size = 1) => Array.from({ length: corners }, (_, i) => {
    const angle = turn + (2 * Math.PI * i) / corners;
    return [size * Math.cos(angle), size * Math.sin(angle)];
  });
  const star = (points, turn, inner) => Array.from({ length: 2 * points }, (_, i) => {
    const angle = turn + (Math.PI * i) / points;
    const size = i % 2 ? inner : 1.25;
    return [size * Math.cos(angle), size * Math.sin(angle)];
  });
  const UP = -Math.PI / 2;
  const ALL = [
    null,  // a circle
    polygon(4, Math.PI / 4, 1.15),
    polygon(3, UP, 1.25),
    polygon(4, UP, 1.2),
    polygon(3, -UP, 1.25),
    star(4, Math.PI / 4, 0.45),
    polygon(6, UP, 1.05),
    polygon(3, Math.PI, 1.25),
    polygon(3, 0, 1.25),
    polygon(5, UP, 1.1),
    star(4, UP, 0.45),
    star(5, UP, 0.5),
  ];

  /** Add a marker to the canvas's path. */
  function trace(canvas, shape, x, y, radius) {
    const corners = ALL[shape % ALL.length];
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
    const corners = ALL[shape % ALL.length];
    const look = hollow ? { fill: "none", stroke: hue, "stroke-width": 1.6 } : { fill: hue };
    const mark = corners
      ? Dom.makeSvg("polygon", { points: corners.map(([x, y]) => `${12 + 4.5 * x},${8 + 4.5 * y}`).join(" "), ...look })
      : Dom.makeSvg("circle", { cx: 12, cy: 8, r: 4.5, ...look });
    const line = hollow ? null : Dom.makeSvg("line", { x1: 0, y1: 8, x2: 24, y2: 8, stroke: hue, "stroke-width": 1.6 });
    return Dom.makeSvg("svg", { width: 24, height: 16, "aria-hidden": "true" }, line, mark);
  }

  const REFERENCES = { heldout: 0, copycat: 5, ideal: 3 };  // drawn hollow

  return { trace, key, REFERENCES };
})();
