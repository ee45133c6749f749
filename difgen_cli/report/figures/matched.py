"""Models compared at equal quality: the preference for training images against the Fréchet distance.

At equal steps one model may be both nearer to the data and nearer to its training set merely since it learns faster. So
each seed's training is read as a curve of preference over distance, and curves are compared where they have the same
distance.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from difgen_cli.report import spreadsheet
from difgen_cli.report.plotting import captions, labels, layout, scales, style
from difgen_cli.report.plotting.layout import DrawnFigure
from difgen_cli.report.plotting.paper import PAGE, Paper
from difgen_cli.report.study import seeds
from difgen_cli.report.study.curves import SIZE, STEPS, CurveAxis, Curves, over_seeds, per_group

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DISTANCE = "fd_test"
PREFERENCES = ("train_pref_share", "train_pref_excess")  # the first that was measured
POINTS = 5  # distances at which two curves are compared, evenly spaced on a log scale over their overlap
COLUMNS_MOST = 4
FIRST = ("condition.", "guide.", "model.", "train.", "sample.", "data.")  # which axis is compared in the figure
LINES = ["axis", "level", "against", "metric", "distance", "n", "a", "b", "difference", "lo", "hi", "interval"]

Branch = tuple[np.ndarray, np.ndarray]  # log distance, ascending, and the preference there


def compared(curves: Curves) -> pd.DataFrame:
    """matched.csv: each level of each axis but the steps against the axis' first one, at equal distance.

    One line per axis, level, levels of the other axes, and distance: `axis`, `level`, `against`, the other axes,
    `metric` (the preference), `distance`, `n` (seeds that have both curves there), `a` (mean of `against`), `b` (of
    `level`), `difference` (b − a), `lo`, `hi` (95 % t interval over these seeds; null for one) and `interval`. Where no
    distance is common to the curves, one line without numbers. Empty where steps do not vary or either is not measured.
    """
    metric = preference(curves)
    if metric is None or STEPS not in curves.paths:
        return pd.DataFrame()
    paths = [path for path in curves.paths if path != STEPS]
    cells = curves.done.dropna(subset=[DISTANCE, metric, "step"])
    cells = cells[cells[DISTANCE] > 0]
    means = cells.groupby([*paths, "seed", "step"], observed=True, dropna=False)[[DISTANCE, metric]].mean()
    runs = means.reset_index().sort_values("step", kind="stable")
    lines: list[dict[str, Any]] = []
    for axis in (curves.axis(path) for path in paths):
        others = [path for path in paths if path != axis.path]
        for key, group in per_group(runs, others):
            about = {"axis": axis.path, **dict(zip(others, key, strict=True)), "metric": metric}
            lines += [about | line for line in _levels(group, axis, metric)]
    frame = pd.DataFrame(lines, columns=[*LINES[:3], *paths, *LINES[3:]])
    for path in paths:
        frame[path] = pd.Categorical(frame[path], categories=curves.axis(path).levels, ordered=True)
    return frame


def preference(curves: Curves) -> str | None:
    """The column of the preference for training images; None where that or the distance is not measured."""
    known = set(curves.metrics)
    return next((name for name in PREFERENCES if name in known), None) if DISTANCE in known else None


def branch(distance: np.ndarray, value: np.ndarray) -> Branch:
    """A training run as a curve over log distance: the snapshots that are better than all before, best first.

    Past its best snapshot a run may come back to the same distance with another preference; that part is left out.
    """
    best = np.minimum.accumulate(distance)
    better = np.concatenate([[True], distance[1:] < best[:-1]]) if len(distance) else np.zeros(0, bool)
    return np.log(distance[better])[::-1], value[better][::-1]


def at_equal_distance(pairs: list[tuple[Branch, Branch]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distances common to all pairs of curves that overlap, and the values of both there, (pairs, distances).

    Each curve is linear in log distance between its snapshots. Empty where no distance is common.
    """
    spans = [(max(a[0][0], b[0][0]), min(a[0][-1], b[0][-1])) for a, b in pairs if len(a[0]) and len(b[0])]
    kept = [pair for pair, (low, high) in zip(pairs, spans, strict=True) if low < high] if spans else []
    spans = [(low, high) for low, high in spans if low < high]
    if not kept or max(low for low, _ in spans) >= min(high for _, high in spans):
        return np.zeros(0), np.zeros((0, 0)), np.zeros((0, 0))
    places = np.linspace(max(low for low, _ in spans), min(high for _, high in spans), POINTS)
    both = [np.array([np.interp(places, *pair[side]) for pair in kept]) for side in (0, 1)]
    return np.exp(places), both[0], both[1]


def write(found: pd.DataFrame, out: Path) -> list[Path]:
    """matched.csv into `out`; returns it. Without lines it is removed."""
    path = out / "matched.csv"
    if found.empty:
        path.unlink(missing_ok=True)
        return []
    spreadsheet.write(found, path)
    return [path]


def _levels(group: pd.DataFrame, axis: CurveAxis, metric: str) -> Iterator[dict[str, Any]]:
    """The lines of each level against the first that is there, of runs that agree in all else."""
    branches = {
        (str(level), seed): branch(run[DISTANCE].to_numpy(float), run[metric].to_numpy(float))
        for (level, seed), run in group.groupby([axis.path, "seed"], observed=True, sort=False)
    }
    there = [level for level in axis.levels if any(known == level for known, _ in branches)]
    for level in there[1:]:
        common = [seed for known, seed in branches if known == level and (there[0], seed) in branches]
        pairs = [(branches[there[0], seed], branches[level, seed]) for seed in common]
        distances, a, b = at_equal_distance(pairs)
        about = {axis.path: level, "level": level, "against": there[0]}
        if not len(distances):
            yield about | {"n": 0, "interval": ""}
        for k, distance in enumerate(distances):
            mean, low, high = seeds.mean_interval(b[:, k] - a[:, k])
            yield about | {
                "distance": distance, "n": len(a), "a": a[:, k].mean(), "b": b[:, k].mean(), "difference": mean,
                "lo": low, "hi": high, "interval": "t over paired seeds" if np.isfinite(low) else "",
            }  # fmt: skip


# The figure ----------------------------------------------------------------------------------------------------------


def figure(curves: Curves, found: pd.DataFrame | None = None, paper: Paper = PAGE) -> DrawnFigure | None:
    """Preference against distance, one curve per level of an axis, and below the differences at equal distance."""
    metric, axis = preference(curves), _axis(curves)
    if metric is None or axis is None:
        return None
    found = compared(curves) if found is None else found
    lines = found[found["axis"] == axis.path].dropna(subset="distance") if len(found) else found
    numbers = over_seeds(curves.done, curves.paths, [DISTANCE, metric], curves.units)
    rest = [other for other in curves.others(axis) if other.path != STEPS]
    shown, left_out = layout.panels(rest, most=min(COLUMNS_MOST, paper.across_most))
    sheet = layout.lattice(paper, 2 if len(lines) else 1, len(shown), axis)
    walk, hues = curves.axis(STEPS), style.colours(axis)
    groups = layout.lookup(numbers, [*[other.path for other in rest], axis.path, "metric"], walk)
    span = layout.finite(numbers.loc[numbers["metric"] == DISTANCE, "mean"])
    for column, panel in enumerate(shown):
        for ax in sheet.grid[:, column]:
            ax.axhline(0, color=style.MUTED, linewidth=0.8, zorder=1)
            scales.log_scale(ax, "x", float(span.min()), float(span.max()), sheet.letters)
        for level, hue in hues.items():
            shape = style.markers(axis)[level]
            _curve(sheet.grid[0, column], groups, (*panel.values(), level), metric, hue, shape)
            if len(lines):
                _differences(sheet.grid[1, column], _at(lines, {**panel, axis.path: level}), hue, shape)
        sheet.entitle(sheet.grid[0, column], panel)
    for ax, words in zip(sheet.grid[:, 0], [labels.metric(metric, curves.features, curves.units), _below(axis)],
                         strict=False):  # fmt: skip
        ax.set_ylabel(layout.wrapped(words))
    sheet.name_axes(labels.frechet(curves.features))
    sheet.legend(axis, hues, [])
    what = (
        f"{labels.metric(metric, curves.features, curves.units)} against {labels.frechet(curves.features)}, one curve "
        f"per value of {labels.setting(axis.path)}, along which training grows."
    )
    what = f"{what[:1].upper()}{what[1:]}"
    return DrawnFigure(
        name="preference-at-equal-distance",
        title="Preference at equal distance",
        alt=f"Chart. {what} {_said(lines)}".strip(),
        caption=captions.caption(curves, numbers, what, _said(lines), _how(found, lines),
                                 captions.omitted(left_out), points=False),
        files=sheet.render(),
        data=numbers,
        palette=dict(zip(hues.values(), style.dark_colours(axis).values(), strict=True)),
    )  # fmt: skip


def _axis(curves: Curves) -> CurveAxis | None:
    """The axis whose levels are compared: how models are conditioned or made before how many images they see."""
    if STEPS not in curves.paths:
        return None
    found = [axis for axis in curves.others() if axis.path not in (STEPS, SIZE)]
    found.sort(key=lambda axis: next((k for k, start in enumerate(FIRST) if axis.path.startswith(start)), len(FIRST)))
    return next(iter([*found, *(axis for axis in curves.axes if axis.path == SIZE)]), None)


def _curve(ax: Axes, groups: layout.Groups, key: tuple[str, ...], metric: str, hue: str, shape: str) -> None:
    x, y = groups.get((*key, DISTANCE)), groups.get((*key, metric))
    if x is None or y is None:
        return
    ax.plot(x.mean, y.mean, color=hue, marker=shape, markersize=4, linewidth=1.3, zorder=3)
    thin: dict[str, Any] = {"color": hue, "linewidth": 0.8, "alpha": 0.3, "zorder": 2}
    ax.plot(*layout.bars(x.mean, y.lo, y.hi), **thin)
    ax.plot(*layout.bars(y.mean, np.maximum(x.lo, 1e-9), x.hi)[::-1], **thin)


def _differences(ax: Axes, lines: pd.DataFrame, hue: str, shape: str) -> None:
    x, y, low, high = (lines[name].to_numpy(float) for name in ("distance", "difference", "lo", "hi"))
    ax.plot(x, y, color=hue, marker=shape, markersize=4, linewidth=1.3, zorder=3)
    ax.plot(*layout.bars(x, low, high), color=hue, linewidth=1, alpha=0.5, zorder=2)


def _at(lines: pd.DataFrame, levels: dict[str, str]) -> pd.DataFrame:
    for path, level in levels.items():
        lines = lines[lines[path] == level]
    return lines


def _below(axis: CurveAxis) -> str:
    return f"difference to {labels.level(axis.path, axis.levels[0])} at equal distance"


def _said(lines: pd.DataFrame) -> str:
    """How the differences lie, counted: a reader must not take one of many for all."""
    if lines.empty:
        return "No two curves have a distance in common."
    told = lines.dropna(subset=["lo", "hi"])
    if told.empty:
        return "One seed: the differences at equal distance have no interval."
    above, below = int((told["lo"] > 0).sum()), int((told["hi"] < 0).sum())
    return (
        f"At equal distance {above} of {len(told)} differences have a 95 % interval above 0, {below} below, "
        f"{len(told) - above - below} hold 0."
    )


def _how(found: pd.DataFrame, lines: pd.DataFrame) -> str:
    if lines.empty:
        return ""
    apart = found[(found["axis"] == lines["axis"].iloc[0]) & found["distance"].isna()]
    absent = f" {len(apart)} pairs of curves have no distance in common." if len(apart) else ""
    return (
        "Differences: each seed's curve up to its best snapshot, linear in log distance between snapshots, at "
        f"{POINTS} distances that all seeds of both curves reach; bars are 95 % t intervals of the paired differences, "
        f"without the error of the interpolation.{absent} matched.csv has every axis."
    )
