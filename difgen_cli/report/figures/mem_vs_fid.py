"""The main figure: memorization against Fréchet distance, training walked along each curve."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from difgen_cli.report.plotting import captions, labels, layout, scales, style
from difgen_cli.report.plotting.layout import DrawnFigure
from difgen_cli.report.plotting.paper import PAGE, Paper
from difgen_cli.report.study.curves import STEPS, CurveAxis, Curves, last_snapshot, over_seeds

if TYPE_CHECKING:
    from matplotlib.axes import Axes

METRICS = ["fd_test", "mem_frac", "fd_floor", "fd_copycat"]
SMALL, LARGE = 12.0, 62.0  # marker areas at the start and the end of a walk, in points²


def memorization_against_frechet(curves: Curves, paper: Paper = PAGE) -> DrawnFigure | None:
    """One curve per data set size (or the first other axis), steps along it, facets for the rest."""
    if not {"fd_test", "mem_frac"} <= set(curves.metrics):
        return None
    walk, colour, rest = _roles(curves)
    numbers = over_seeds(curves.done, curves.paths, METRICS, curves.units)
    shown, left_out = layout.panels(rest, most=paper.panels_most)
    across = layout.columns(rest, shown, paper)
    sheet = layout.sheet(paper, -(-len(shown) // across), across, colour)
    groups = layout.lookup(numbers, [*[axis.path for axis in [*rest, *_one(colour)]], "metric"], walk)
    hues = style.colours(colour)
    places = _limits(numbers)
    flat = list(sheet.grid.flat)
    scale_note = ""
    points = len(shown) * len(hues) <= layout.CROWD
    for ax in flat:
        scales.log_scale(ax, "x", places[0], places[1], sheet.letters)
        scale_note = scales.share_scale(ax, "y", places[2])
    for ax, panel in zip(flat, shown, strict=False):
        sheet.entitle(ax, panel)
        for level, hue in hues.items():
            key = [*panel.values(), *([level] if colour else [])]
            _curve(ax, groups, key, hue, style.markers(colour)[level], points, sheet.panel_inches)
        _floor(ax, groups, [*panel.values()], hues if colour else None)
    for ax in flat[len(shown) :]:
        ax.set_visible(False)
    sheet.name_axes(labels.frechet(curves.features), labels.METRICS["mem_frac"])
    sheet.legend(colour, hues, _extra(walk, numbers))
    what = _what(curves, walk, colour)
    notes = [_marks(numbers), scale_note, captions.omitted(left_out)]
    if STEPS not in curves.paths:
        notes.append(captions.snapshot(curves, last_snapshot(curves.cells, curves.paths)))
    return DrawnFigure(
        name="memorization-against-frechet",
        title="Memorization against Fréchet distance",
        alt=_alt(numbers, what),
        caption=captions.caption(curves, numbers, what, *notes, points=points),
        files=sheet.render(),
        data=numbers,
        palette=dict(zip(hues.values(), style.dark_colours(colour).values(), strict=True)),
    )


def _roles(curves: Curves) -> tuple[CurveAxis | None, CurveAxis | None, list[CurveAxis]]:
    """Walk along the steps, else the first numeric axis; colour the first of the others; facet the rest."""
    ordered = curves.others()
    walk = next((a for a in ordered if a.path == STEPS), None) or next((a for a in ordered if a.numeric), None)
    rest = curves.others(walk)
    return walk, rest[0] if rest else None, rest[1:]


def _one(axis: CurveAxis | None) -> list[CurveAxis]:
    return [axis] if axis else []


def _limits(numbers: pd.DataFrame) -> tuple[float, float, float]:
    """Least and greatest distance drawn, greatest share drawn (the copycat's 1 aside)."""
    seeds = [name for name in numbers if str(name).startswith("seed_")]
    distance = numbers[numbers["metric"].isin(["fd_test", "fd_floor", "fd_copycat"])]
    values = layout.finite(distance["mean"], distance[seeds].to_numpy())
    values = values[values > 0]
    share = layout.finite(numbers.loc[numbers["metric"] == "mem_frac", "mean"])
    if not len(values):
        return 0.1, 1.0, float(share.max(initial=0))
    return float(values.min()), float(values.max()), float(share.max(initial=0))


def _curve(ax: Axes, groups: layout.Groups, key: list[str], hue: str, marker: str, points: bool, inches: float) -> None:
    x, y = groups.get((*key, "fd_test")), groups.get((*key, "mem_frac"))
    if x is None or y is None:
        return
    sizes = np.linspace(SMALL, LARGE, len(x.mean)) if len(x.mean) > 1 else np.array([40.0])
    ax.plot(x.mean, y.mean, color=hue, linewidth=1.3, zorder=3)
    ax.scatter(x.mean, y.mean, s=sizes, color=hue, marker=marker, linewidth=0, zorder=4)
    thin: dict[str, Any] = {"color": hue, "linewidth": 0.8, "alpha": 0.3, "zorder": 1}
    ax.plot(*layout.bars(x.mean, y.lo, y.hi), **thin)
    ax.plot(*layout.bars(y.mean, np.maximum(x.lo, 1e-9), x.hi)[::-1], **thin)
    if points and 2 <= x.seeds.shape[1] <= 5:
        ax.plot(x.seeds.ravel(), y.seeds.ravel(), ".", color=hue, markersize=2.5, alpha=0.5, zorder=2)
    _arrow(ax, x.mean, y.mean, hue, inches)
    copycat = groups.get((*key, "fd_copycat"))
    if copycat is not None:
        _copycat(ax, copycat.mean, hue)


def _copycat(ax: Axes, along: np.ndarray, hue: str) -> None:
    """Crosses at a share of 1: a copy of T has d1 = 0. One where it is the same all along the curve."""
    known = layout.finite(along)
    same = len(known) and np.ptp(known) <= 0.05 * known.max()
    for at, size in zip(known[:1] if same else along, [6.5] if same else np.linspace(5, 8, len(along)), strict=True):
        ax.plot(at, 1, "X", color=hue, markersize=size, mec=style.INK, mew=0.7, zorder=5, clip_on=False)


def _arrow(ax: Axes, x: np.ndarray, y: np.ndarray, hue: str, inches: float) -> None:
    """An arrowhead into the last point, where the last stretch is long enough to carry one."""
    known = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    if len(known) < 2:
        return
    start, end = ((float(x[i]), float(y[i])) for i in known[-2:])
    place = ax.transScale + ax.transLimits  # to fractions of the panel, which is not laid out yet
    stretch = (place.transform(end) - place.transform(start)) * inches
    if np.hypot(*stretch) > 0.15:  # inches
        ax.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": hue, "shrinkB": 4, "lw": 1.3}, zorder=4)


def _floor(ax: Axes, groups: layout.Groups, panel: list[str], hues: dict[str, str] | None) -> None:
    """The distance of real images to real ones of the same numbers: nothing honest is left of it for long."""
    keys = [(*panel, level, "fd_floor") for level in hues] if hues else [(*panel, "fd_floor")]
    means = layout.finite(*[groups[key].mean for key in keys if key in groups])
    if len(means):
        ax.axvline(float(means.mean()), color=style.MUTED, linestyle=(0, (1.5, 1.5)), linewidth=1.2, zorder=1)


def _extra(walk: CurveAxis | None, numbers: pd.DataFrame) -> list[Any]:
    from matplotlib.lines import Line2D

    def mark(marker: str, size: float, text: str) -> Any:
        return Line2D([], [], color=style.MUTED, marker=marker, markersize=size, linestyle="none", label=text)

    handles = []
    if walk is not None:
        name = "steps" if walk.path == "train.steps" else labels.setting(walk.path)
        handles += [
            mark("o", SMALL**0.5, f"{walk.levels[0]} {name}"),
            mark("o", LARGE**0.5, f"{walk.levels[-1]} {name}"),
        ]
    present = set(numbers["metric"])
    if "fd_copycat" in present:
        handles.append(mark("X", 6.5, "copycat (training\nimages resampled)"))
    if "fd_floor" in present:
        handles.append(layout.context("floor (real\nagainst real)", (0, (1.5, 1.5))))
    return handles


def _what(curves: Curves, walk: CurveAxis | None, colour: CurveAxis | None) -> str:
    parts = [f"{labels.METRICS['mem_frac'].capitalize()} (d1/d2 < 1/3) against {labels.frechet(curves.features)}"]
    if colour is not None:
        parts.append(f"one curve per value of {labels.setting(colour.path)}")
    if walk is not None:
        parts.append(f"along a curve {captions.walk_words(walk)}, and the markers with it")
    return f"{'; '.join(parts)}."


def _marks(numbers: pd.DataFrame) -> str:
    present = set(numbers["metric"])
    parts = []
    if "fd_copycat" in present:
        parts.append("crosses at the top: the copycat, training images resampled and scored as samples")
    if "fd_floor" in present:
        parts.append("dotted: the floor, real images against real ones of the same numbers")
    return f"{'; '.join(parts).capitalize()}." if parts else ""


def _alt(numbers: pd.DataFrame, what: str) -> str:
    means = numbers.set_index("metric")["mean"]
    share, distance = means.loc[["mem_frac"]], means.loc[["fd_test"]]
    return (
        f"Chart. {what} Memorized share from {labels.number(share.min())} to {labels.number(share.max())}, "
        f"Fréchet distance from {labels.number(distance.min())} to {labels.number(distance.max())}."
    )
