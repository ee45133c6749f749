"""One style for every figure: colour-blind-safe colours, and how each looks on a dark page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from difgen_cli.report.study.curves import CurveAxis

INK, MUTED, GRID, PAPER = "#1f2430", "#68707d", "#dfe2e7", "#ffffff"
DARK = {INK: "#e7e9ee", MUTED: "#9da5b3", GRID: "#343a45", PAPER: "#171a21"}
# Okabe & Ito 2008 for words, without the yellow that vanishes on white
WORDS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#7a5195", "#555555")
WORDS_DARK = ("#5ab4ec", "#ff8a3d", "#2fcf9f", "#e59ac6", "#8fd0f5", "#f2b840", "#b692d6", "#b5b5b5")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "*")
# kind of reference rows -> its marker, drawn hollow, and its name in a legend
REFERENCES = {
    "heldout": ("o", "held-out images"),
    "copycat": ("X", "copycat (training images resampled)"),
    "ideal": ("D", "ideal denoiser"),
}
FLOOR = "floor (real against real)"

RC: dict[str, Any] = {
    "font.family": ["DejaVu Sans"],
    "font.size": 9.5,
    "text.parse_math": False,  # a $ in a setting is a dollar, not the start of a formula
    "axes.unicode_minus": True,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.labelsize": 9.5,
    "axes.linewidth": 0.8,
    "axes.facecolor": PAPER,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "legend.title_fontsize": 8.5,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.5,
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "svg.fonttype": "none",  # text stays text: small, searchable, read aloud
    "pdf.fonttype": 42,  # TrueType, which publishers take; the default, Type 3, several refuse
    "svg.hashsalt": "difgen",  # the same study gives the same bytes
}


def colours(axis: CurveAxis | None) -> dict[str, str]:
    """Level -> colour: steps of viridis where levels are ordered, distinct hues where they are words."""
    return _spread(axis, 0.0, 0.82, WORDS)


def dark_colours(axis: CurveAxis | None) -> dict[str, str]:
    """The same levels as they look on a dark page: the brighter part of the same map."""
    return _spread(axis, 0.42, 0.98, WORDS_DARK)


def palette(axis: CurveAxis | None) -> dict[str, str]:
    """Each colour of the levels -> how it looks on a dark page."""
    return dict(zip(colours(axis).values(), dark_colours(axis).values(), strict=True))


def markers(axis: CurveAxis | None) -> dict[str, str]:
    """Level -> marker, so that a line is told from its neighbour without its colour."""
    levels = axis.levels if axis else ("",)
    return {level: MARKERS[i % len(MARKERS)] for i, level in enumerate(levels)}


def outline(marker: str) -> list[tuple[float, float]] | None:
    """The corners of a marker in radii of the circle, y downwards as on a screen; None for the circle."""
    from matplotlib.markers import MarkerStyle

    if marker == "o":
        return None
    style = MarkerStyle(marker)
    corners = np.asarray(style.get_path().transformed(style.get_transform()).vertices)[:-1]  # the last closes the path
    return [(round(2 * float(x), 4), round(-2 * float(y), 4)) for x, y in corners]


def _spread(axis: CurveAxis | None, low: float, high: float, words: tuple[str, ...]) -> dict[str, str]:
    if axis is None:
        return {"": words[0]}
    if not axis.numeric and len(axis.levels) <= len(words):
        return dict(zip(axis.levels, words, strict=False))
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    last = max(1, len(axis.levels) - 1)
    shades = (low + (high - low) * place / last for place in range(len(axis.levels)))
    return {level: to_hex(colormaps["viridis"](shade)) for level, shade in zip(axis.levels, shades, strict=True)}
