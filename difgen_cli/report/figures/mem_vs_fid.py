"""The main figure: memorization against Fréchet distance, training walked along each curve."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from difgen_cli.report.plotting import captions, facets, labels, layout, references, scales, style
from difgen_cli.report.plotting.facets import DOTTED, Text
from difgen_cli.report.plotting.layout import DrawnFigure, Series
from difgen_cli.report.plotting.paper import PAGE, Paper
from difgen_cli.report.study.curves import STEPS, CurveAxis, Curves, last_snapshot, over_seeds

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ORDER = 10
DISTANCE, SHARE, FLOOR = "fd_test", "mem_frac", "fd_floor"
METRICS = [DISTANCE, SHARE, FLOOR]
COVERS = (DISTANCE, SHARE)
SMALL, LARGE = 12.0, 62.0  # marker areas at the start and the end of a walk, in points²


def draw(curves: Curves, paper: Paper = PAGE) -> list[DrawnFigure]:
    """One curve per data set size (or the first other axis), steps along it, facets for the rest."""
    if not {DISTANCE, SHARE} <= set(curves.metrics):
        return []
    walk, colour, rest = _roles(curves)
    numbers = over_seeds(curves.done, curves.paths, METRICS, curves.columns)
    tiles = facets.tiles(rest, numbers, colour, paper, most=paper.panels_most)
    sheet, hues = tiles.sheet, style.colours(colour)
    lines = facets.groups(numbers, rest, colour, walk)
    beside = references.points(curves, DISTANCE, SHARE)
    places = _limits(numbers, beside)
    scale_note = ""
    points = len(tiles.panels) * len(hues) <= layout.CROWD
    for ax, _ in tiles.panels:
        scales.log_scale(ax, "x", places[0], places[1], sheet.letters)
        scale_note = scales.share_scale(ax, "y", places[2], curves.samples(SHARE))
    for ax, panel in tiles.panels:
        for hue, shape, (x, y) in facets.levels(lines, panel, colour, DISTANCE, SHARE):
            if x is not None and y is not None:
                _curve(ax, x, y, hue, shape, points, sheet.panel_inches)
        references.draw(ax, beside, DISTANCE, SHARE, panel, colour)
        floors = [own.mean for _, _, (own,) in facets.levels(lines, panel, colour, FLOOR) if own is not None]
        _floor(ax, layout.finite(*floors))
    sheet.name_axes(curves.label(DISTANCE), curves.label(SHARE))
    sheet.legend(colour, hues, [*_extra(walk, numbers), *references.legend(beside)])
    notes = [_marks(numbers, beside), scale_note, captions.omitted(tiles.left_out)]
    if STEPS not in curves.paths:
        notes.append(captions.snapshot(curves, last_snapshot(curves.cells, curves.paths)))
    text = Text(
        "memorization-against-frechet",
        "Memorization against Fréchet distance",
        _what(curves, walk, colour),
        notes,
        _ends,
    )
    return [facets.finished(curves, numbers, text, sheet, colour, points=points)]


def _roles(curves: Curves) -> tuple[CurveAxis | None, CurveAxis | None, list[CurveAxis]]:
    """Walk along the steps, else the first numeric axis; colour the first of the others; facet the rest."""
    ordered = curves.others()
    walk = next((a for a in ordered if a.path == STEPS), None) or next((a for a in ordered if a.numeric), None)
    rest = curves.others(walk)
    return walk, rest[0] if rest else None, rest[1:]


def _limits(numbers: pd.DataFrame, beside: pd.DataFrame) -> tuple[float, float, pd.Series]:
    """Least and greatest distance drawn, and the shares."""
    seeds = [name for name in numbers if str(name).startswith("seed_")]
    distance = numbers[numbers["metric"].isin([DISTANCE, FLOOR])]
    values = layout.finite(distance["mean"], distance[seeds].to_numpy(), beside[DISTANCE])
    values = values[values > 0]
    shares = numbers.loc[numbers["metric"] == SHARE, "mean"]
    return (float(values.min()), float(values.max()), shares) if len(values) else (0.1, 1.0, shares)


def _curve(ax: Axes, x: Series, y: Series, hue: str, marker: str, points: bool, inches: float) -> None:
    sizes = np.linspace(SMALL, LARGE, len(x.mean)) if len(x.mean) > 1 else np.array([40.0])
    ax.plot(x.mean, y.mean, color=hue, linewidth=1.3, zorder=3)
    ax.scatter(x.mean, y.mean, s=sizes, color=hue, marker=marker, linewidth=0, zorder=4)
    thin: dict[str, Any] = {"color": hue, "linewidth": 0.8, "alpha": 0.3, "zorder": 1}
    ax.plot(*layout.bars(x.mean, y.lo, y.hi), **thin)
    ax.plot(*layout.bars(y.mean, np.maximum(x.lo, 1e-9), x.hi)[::-1], **thin)
    if points and 2 <= x.seeds.shape[1] <= 5:
        ax.plot(x.seeds.ravel(), y.seeds.ravel(), ".", color=hue, markersize=2.5, alpha=0.5, zorder=2)
    _arrow(ax, x.mean, y.mean, hue, inches)


def _arrow(ax: Axes, x: np.ndarray, y: np.ndarray, hue: str, inches: float) -> None:
    """An arrowhead into the last point, where the last stretch is long enough to carry one."""
    measured = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    if len(measured) < 2:
        return
    start, end = ((float(x[i]), float(y[i])) for i in measured[-2:])
    place = ax.transScale + ax.transLimits  # to fractions of the panel, which is not laid out yet
    stretch = (place.transform(end) - place.transform(start)) * inches
    if np.hypot(*stretch) > 0.15:  # inches
        ax.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": hue, "shrinkB": 4, "lw": 1.3}, zorder=4)


def _floor(ax: Axes, means: np.ndarray) -> None:
    """The distance of real images to real ones of the same numbers: nothing honest is left of it for long."""
    if len(means):
        ax.axvline(float(means.mean()), color=style.MUTED, linestyle=DOTTED, linewidth=1.2, zorder=1)


def _extra(walk: CurveAxis | None, numbers: pd.DataFrame) -> list[Any]:
    from matplotlib.lines import Line2D

    def mark(marker: str, size: float, text: str) -> Any:
        return Line2D([], [], color=style.MUTED, marker=marker, markersize=size, linestyle="none", label=text)

    handles = []
    if walk is not None:
        name = "steps" if walk.path == STEPS else labels.setting(walk.path)
        handles += [
            mark("o", SMALL**0.5, f"{walk.levels[0]} {name}"),
            mark("o", LARGE**0.5, f"{walk.levels[-1]} {name}"),
        ]
    present = set(numbers["metric"])
    if FLOOR in present:
        handles.append(layout.context(style.FLOOR.replace(" (", "\n(", 1), DOTTED))
    return handles


def _what(curves: Curves, walk: CurveAxis | None, colour: CurveAxis | None) -> str:
    parts = [f"{curves.label(SHARE).capitalize()} (d1/d2 < 1/3) against {curves.label(DISTANCE)}"]
    if colour is not None:
        parts.append(f"one curve per value of {labels.setting(colour.path)}")
    if walk is not None:
        parts.append(f"along a curve {captions.walk_words(walk)}, and the markers with it")
    return f"{'; '.join(parts)}."


def _marks(numbers: pd.DataFrame, beside: pd.DataFrame) -> str:
    kinds = [words for kind, (_, words) in style.REFERENCES.items() if kind in set(beside["kind"])]
    parts = [f"hollow marks: {', '.join(kinds)}"] if kinds else []
    if FLOOR in set(numbers["metric"]):
        parts.append("dotted: the floor, real images against real ones of the same numbers")
    return f"{'; '.join(parts).capitalize()}." if parts else ""


def _ends(numbers: pd.DataFrame) -> str:
    means = numbers.set_index("metric")["mean"]
    share, distance = means.loc[[SHARE]], means.loc[[DISTANCE]]
    return (
        f"Memorized share from {labels.number(share.min())} to {labels.number(share.max())}, "
        f"Fréchet distance from {labels.number(distance.min())} to {labels.number(distance.max())}."
    )
