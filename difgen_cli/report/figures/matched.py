"""Models compared at equal quality (`study.matched`): the preference for training images against the distance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from difgen_cli.report.plotting import captions, facets, labels, layout, scales, style
from difgen_cli.report.plotting.facets import Text
from difgen_cli.report.plotting.layout import DrawnFigure, Series
from difgen_cli.report.plotting.paper import PAGE, Paper
from difgen_cli.report.study.curves import SIZE, STEPS, CurveAxis, Curves, over_seeds
from difgen_cli.report.study.matched import DISTANCE, POINTS, compared, preference

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ORDER = 30
COVERS: tuple[str, ...] = ()
COLUMNS_MOST = 4
FIRST = ("condition.", "guide.", "model.", "objective.", "train.", "sample.", "data.")  # which axis is compared


def draw(curves: Curves, paper: Paper = PAGE) -> list[DrawnFigure]:
    """Preference against distance, one curve per level of an axis, and below the differences at equal distance."""
    metric, axis = preference(curves), _axis(curves)
    if metric is None or axis is None:
        return []
    differences = compared(curves)
    lines = differences[differences["axis"] == axis.path].dropna(subset="distance") if len(differences) else differences
    numbers = over_seeds(curves.done, curves.paths, [DISTANCE, metric], curves.columns)
    sheet, left_out = _sheet(curves, numbers, lines, metric, axis, paper)
    what = (
        f"{curves.label(metric)} against {curves.label(DISTANCE)}, one curve per value of {labels.setting(axis.path)}, "
        "along which training grows."
    )
    notes = [_differences_sentence(lines), _how(differences, lines), captions.omitted(left_out)]
    text = Text(
        "preference-at-equal-distance",
        "Preference at equal distance",
        f"{what[:1].upper()}{what[1:]}",
        notes,
        lambda _: _differences_sentence(lines),
    )
    return [facets.finished(curves, numbers, text, sheet, axis)]


def _sheet(
    curves: Curves, numbers: pd.DataFrame, lines: pd.DataFrame, metric: str, axis: CurveAxis, paper: Paper
) -> tuple[layout.FigureSheet, int]:
    """Curves above, differences below where there are any; and how many combinations of levels did not fit."""
    rest = [other for other in curves.others(axis) if other.path != STEPS]
    shown, left_out = layout.panels(rest, numbers, min(COLUMNS_MOST, paper.across_most))
    sheet = layout.lattice(paper, 2 if len(lines) else 1, len(shown), axis)
    groups = facets.groups(numbers, rest, axis, curves.axis(STEPS))
    span = layout.finite(numbers.loc[numbers["metric"] == DISTANCE, "mean"])
    for column, panel in enumerate(shown):
        for ax in sheet.grid[:, column]:
            ax.axhline(0, color=style.MUTED, linewidth=0.8, zorder=1)
            scales.log_scale(ax, "x", float(span.min()), float(span.max()), sheet.letters)
        drawn = facets.levels(groups, panel, axis, DISTANCE, metric)
        for level, (hue, shape, (x, y)) in zip(axis.levels, drawn, strict=True):
            if x is not None and y is not None:
                _curve(sheet.grid[0, column], x, y, hue, shape)
            if len(lines):
                _differences(sheet.grid[1, column], facets.at(lines, {**panel, axis.path: level}), hue, shape)
        sheet.entitle(sheet.grid[0, column], panel)
    for ax, words in zip(sheet.grid[:, 0], [curves.label(metric), _below(axis)], strict=False):
        ax.set_ylabel(layout.wrapped(words))
    sheet.name_axes(curves.label(DISTANCE))
    sheet.legend(axis, style.colours(axis), [])
    return sheet, left_out


def _axis(curves: Curves) -> CurveAxis | None:
    """The axis whose levels are compared: how models are conditioned or made before how many images they see."""
    if STEPS not in curves.paths:
        return None
    candidates = [axis for axis in curves.others() if axis.path not in (STEPS, SIZE)]
    candidates.sort(
        key=lambda axis: next((k for k, start in enumerate(FIRST) if axis.path.startswith(start)), len(FIRST))
    )
    return next(iter([*candidates, *(axis for axis in curves.axes if axis.path == SIZE)]), None)


def _curve(ax: Axes, x: Series, y: Series, hue: str, shape: str) -> None:
    ax.plot(x.mean, y.mean, color=hue, marker=shape, markersize=4, linewidth=1.3, zorder=3)
    thin: dict[str, Any] = {"color": hue, "linewidth": 0.8, "alpha": 0.3, "zorder": 2}
    ax.plot(*layout.bars(x.mean, y.lo, y.hi), **thin)
    ax.plot(*layout.bars(y.mean, np.maximum(x.lo, 1e-9), x.hi)[::-1], **thin)


def _differences(ax: Axes, lines: pd.DataFrame, hue: str, shape: str) -> None:
    x, y, low, high = (lines[name].to_numpy(float) for name in ("distance", "difference", "lo", "hi"))
    ax.plot(x, y, color=hue, marker=shape, markersize=4, linewidth=1.3, zorder=3)
    ax.plot(*layout.bars(x, low, high), color=hue, linewidth=1, alpha=0.5, zorder=2)


def _below(axis: CurveAxis) -> str:
    return f"difference to {labels.level(axis.path, axis.levels[0])} at equal distance"


def _differences_sentence(lines: pd.DataFrame) -> str:
    """How the differences lie, counted: a reader must not take one of many for all."""
    if lines.empty:
        return "No two curves have a distance in common."
    bounded = lines.dropna(subset=["lo", "hi"])
    if bounded.empty:
        return "One seed: the differences at equal distance have no interval."
    above, below = int((bounded["lo"] > 0).sum()), int((bounded["hi"] < 0).sum())
    return (
        f"At equal distance {above} of {len(bounded)} differences have a 95 % interval above 0, {below} below, "
        f"{len(bounded) - above - below} contain 0."
    )


def _how(differences: pd.DataFrame, lines: pd.DataFrame) -> str:
    if lines.empty:
        return ""
    apart = differences[(differences["axis"] == lines["axis"].iloc[0]) & differences["distance"].isna()]
    absent = f" {len(apart)} pairs of curves have no distance in common." if len(apart) else ""
    return (
        "Differences: each seed's curve up to its best snapshot, linear in log distance between snapshots, at "
        f"{POINTS} distances that all seeds of both curves reach; bars are 95 % t intervals of the paired differences, "
        f"without the error of the interpolation.{absent} matched.csv has every axis."
    )
