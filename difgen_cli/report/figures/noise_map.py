"""The gap as a map: training steps across, noise level up, colour the gap; dots where it may be nothing.

A line shows where training would stop by the held-out loss of each noise level (after Kaiser & Kollmann 2026).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from difgen_cli.report.plotting import captions, facets, labels, layout, scales, style
from difgen_cli.report.plotting.facets import Text
from difgen_cli.report.plotting.layout import DrawnFigure
from difgen_cli.report.plotting.paper import PAGE, Paper
from difgen_cli.report.study.curves import STEPS, CurveAxis, Curves, over_seeds
from difgen_cli.report.study.least_loss import WEIGHTED

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ORDER = 60
GAP, TABLE = "gap", "noise"
COVERS: tuple[str, ...] = ()
MOST = 6
BOUNDS = (-1.0, -0.1, -0.02, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, np.inf)
UNTOLD, ABSENT = "#3d434f", "#b9bec8"  # of dots, and of no value: the map's own colours are the same on a dark page
LINE = "Line: the step of the least held-out loss, the middle over seeds, at levels where each has it inside the run."
MIDDLE = "#f7f7f5"  # of a gap of about 0, and around the dots, which would not be seen on dark red


def draw(curves: Curves, paper: Paper = PAGE) -> list[DrawnFigure]:
    """Relative gap over training step and noise level, one panel per data set size and other axes."""
    table = curves.tables.get(TABLE, pd.DataFrame())
    if STEPS not in curves.paths or not {GAP, "sigma_rel"} <= set(table.columns) or table[GAP].isna().all():
        return []
    paths = [path for path in curves.paths if path in table]
    cells = table.dropna(subset=[GAP]).drop_duplicates(["cell", *paths, "seed", "sigma_rel"])
    numbers = over_seeds(cells.assign(sigma_rel=cells["sigma_rel"].round(9)), [*paths, "sigma_rel"], [GAP], {})
    rest = [axis for axis in curves.others() if axis.path in paths and axis.path != STEPS]
    shown, held = _shown(rest)
    tiles = facets.tiles(shown, facets.at(numbers, held), None, paper, most=MOST, across_most=3)
    steps, sigmas = curves.axis(STEPS), np.sort(numbers["sigma_rel"].unique())
    shades = _shades()
    stops, drawn_stops = curves.least_loss.over_seeds, 0
    for ax, panel in tiles.panels:
        _cells(ax, facets.at(numbers, panel | held), steps, sigmas, shades, tiles.sheet.letters)
        drawn_stops += _stops(ax, facets.at(stops, panel | held)) if len(stops) else 0
    tiles.sheet.name_axes(labels.setting(STEPS), "noise level σ / σ_d")
    whole = len(numbers) == len(sigmas) * np.prod([len(axis.levels) for axis in [steps, *rest]])
    _key(tiles.sheet, shades, dotted=bool(numbers["lo"].notna().any()), whole=bool(whole), stops=drawn_stops > 0)
    lines = f", one panel per {captions.names(shown)}" if shown else ""
    lines += f", at {' and '.join(labels.level(path, level) for path, level in held.items())}" if held else ""
    more = math.prod(len(axis.levels) for axis in rest) - len(tiles.panels)
    pairs = captions.each(cells, "n_pairs", "pairs of image and noise in a split")
    text = Text(
        "gap-by-step-and-noise",
        "When and where does the gap open?",
        f"Relative gap L_H/L_T − 1 by training step and noise level{lines}.",
        [f"Squared error of pixels{pairs}.", _dots(numbers), LINE if drawn_stops else "", captions.omitted(more)],
        _largest,
    )
    drawn = facets.finished(curves, numbers, text, tiles.sheet, None)
    return [replace(drawn, palette={shade: shade for shade in [*shades, UNTOLD, ABSENT]})]


def _shown(axes: list[CurveAxis]) -> tuple[list[CurveAxis], dict[str, str]]:
    """The axes that have a panel for each level, the first ones as far as there is room, and the others' last level."""
    shown = list(axes)
    while len(shown) > 1 and math.prod(len(axis.levels) for axis in shown) > MOST:
        shown.pop()
    return shown, {axis.path: axis.levels[-1] for axis in axes[len(shown) :]}


def _shades() -> list[str]:
    """A colour between each two bounds: paper-white around 0, blue below, yellow to red above."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    below, above = BOUNDS.index(-0.02), len(BOUNDS) - 2 - BOUNDS.index(-0.02)
    cold = [to_hex(colormaps["Blues"](share)) for share in np.linspace(0.75, 0.3, below)]
    warm = [to_hex(colormaps["YlOrRd"](share)) for share in np.linspace(0.15, 1.0, above)]
    return [*cold, MIDDLE, *warm]


def _cells(
    ax: Axes, mine: pd.DataFrame, steps: CurveAxis, sigmas: np.ndarray, shades: list[str], letters: float
) -> None:
    from matplotlib.colors import BoundaryNorm, ListedColormap

    table = np.full((3, len(sigmas), len(steps.levels)), np.nan)
    row = np.searchsorted(sigmas, mine["sigma_rel"].to_numpy(float))
    column = np.asarray(pd.Categorical(mine[STEPS], categories=list(steps.levels)).codes)
    for part, name in zip(table, ("mean", "lo", "hi"), strict=True):
        part[row, column] = mine[name].to_numpy(float)
    x, y = _edges(np.array(steps.values), steps.log), _edges(sigmas, True)
    norm = BoundaryNorm((*BOUNDS[:-1], 4 * BOUNDS[-2]), len(shades))
    top = 2 * BOUNDS[-2]  # all above the last bound is one colour
    inside = np.clip(table[0], BOUNDS[0], top)
    ax.pcolormesh(x, y, np.ma.masked_invalid(inside), cmap=ListedColormap(shades), norm=norm, edgecolors="face", lw=0.3)
    untold = np.argwhere((table[1] <= 0) & (table[2] >= 0))
    ax.plot(
        np.array(steps.values)[untold[:, 1]],
        sigmas[untold[:, 0]],
        "o",
        color=UNTOLD,
        markersize=3.2,
        mew=0.6,
        mec=MIDDLE,
    )
    ax.set_facecolor(ABSENT)
    ax.grid(visible=False)
    scales.setting_scale(ax, "x", steps, letters)
    scales.log_scale(ax, "y", float(sigmas[0]), float(sigmas[-1]))
    ax.set_xlim(x[0], x[-1])
    ax.set_ylim(y[0], y[-1])


def _stops(ax: Axes, levels: pd.DataFrame) -> int:
    """A line through the steps of the least held-out loss; how many there are. It is broken where one is not known."""
    levels = levels[levels["level"] != WEIGHTED].sort_values("sigma_rel")
    ends = levels[["step_least", "step_most"]].to_numpy(float)
    steps = np.where(levels["inside"] == levels["seeds"], np.sqrt(ends.prod(1)), np.nan)
    for colour, width in ((MIDDLE, 3.2), (UNTOLD, 1.6)):  # an edge: else it would not be seen on dark red
        ax.plot(steps, levels["sigma_rel"].to_numpy(float), "-s", color=colour, lw=width, markersize=1.6 * width)
    return int(np.isfinite(steps).sum())


def _edges(centres: np.ndarray, logarithmic: bool) -> np.ndarray:
    """Borders halfway between the centres."""
    place = np.log(centres) if logarithmic else centres
    if len(place) == 1:
        inner, step = place[:0], 0.5
        edges = np.array([place[0] - step, place[0] + step])
    else:
        inner = (place[1:] + place[:-1]) / 2
        edges = np.array([2 * place[0] - inner[0], *inner, 2 * place[-1] - inner[-1]])
    return np.asarray(np.exp(edges) if logarithmic else edges)


def _key(sheet: layout.FigureSheet, shades: list[str], *, dotted: bool, whole: bool, stops: bool) -> None:
    """Which colour is which gap, the largest on top."""
    from matplotlib.lines import Line2D

    words = [f"{low:g} … {high:g}".replace("-", "−") for low, high in itertools.pairwise(BOUNDS)]
    words[0], words[-1] = f"below {BOUNDS[1]:g}".replace("-", "−"), f"above {BOUNDS[-2]:g}"
    square: dict[str, Any] = {"marker": "s", "markersize": 9, "linestyle": "none"}
    handles = [
        Line2D([], [], color=shade, mec=style.GRID, mew=0.5, label=word, **square)
        for shade, word in zip(shades[::-1], words[::-1], strict=True)
    ]
    if not whole:
        handles.append(Line2D([], [], color=ABSENT, label="no value", **square))
    if dotted:
        handles.append(Line2D([], [], color=UNTOLD, marker="o", markersize=3.2, linestyle="none", label="may be 0"))
    if stops:
        handles.append(Line2D([], [], color=UNTOLD, marker="s", markersize=2.6, lw=1.6, label="least L_H"))
    sheet.key(handles, "gap L_H/L_T − 1")


def _dots(numbers: pd.DataFrame) -> str:
    if numbers["lo"].isna().all():
        return "White: within 0.02 of 0; no interval says where it may be 0."
    over = "over seeds" if (numbers["n"] > 1).any() else "over images"
    return f"White: within 0.02 of 0; dots: the 95 % interval {over} contains 0."


def _largest(numbers: pd.DataFrame) -> str:
    top = numbers.iloc[int(numbers["mean"].to_numpy().argmax())]
    where = f"at σ/σ_d = {labels.number(float(top['sigma_rel']))} after {top[STEPS]} steps"
    return f"The largest gap is {labels.number(top['mean'])} {where}."
