"""Metrics against one axis of the grid: dataset size, steps, clusters, or any setting that a grid can vary."""

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

SHARES = ("mem_frac", "mem_frac_half")
HEADLINE = ("mem_frac", "train_pref_excess", "fd_test")
DOTTED, DASHED = (0, (1.5, 1.5)), (0, (5, 2))
# what a metric must be read beside: (column, name in the legend, line)
CONTEXT: dict[str, list[tuple[str, str, Any]]] = {
    "mem_frac": [
        ("mem_power", "power: copies + 0.1\nnoise that are caught", DASHED),
        ("mem_frac_control", "control: held-out images", (0, (1, 3))),
    ],
    "fd_test": [
        ("fd_copycat", "copycat (training\nimages resampled)", (0, (4, 1.5, 1, 1.5))),
        ("fd_floor", "floor (real\nagainst real)", DOTTED),
    ],
    "twin_cos": [
        ("twin_ceiling", "ceiling: same half,\nother initial weights", DASHED),
        ("twin_baseline", "baseline: shuffled\npairs", DOTTED),
    ],
}
SCALED_WITH = ("fd_test", "twin_cos")  # whose axis holds what they are read beside
BESIDE = {name for entries in CONTEXT.values() for name, _, _ in entries}


def metrics_against(curves: Curves, axis: CurveAxis, paper: Paper = PAGE) -> DrawnFigure | None:
    """The headline metrics (a plug-in's first four where none is there) against `axis`, facets for other axes."""
    shown = [name for name in HEADLINE if name in curves.metrics] or _plain(curves)[:4]
    if not shown:
        return None
    others = curves.others(axis)
    if axis.path != STEPS:
        others = [other for other in others if other.path != STEPS]  # read at the last snapshot
    colour, rest = (others[0], others[1:]) if others else (None, [])
    facets, left_out = layout.panels(rest, most=min(6, paper.across_most))
    numbers = _numbers(curves, axis, [*shown, *_beside(curves, shown)])
    if numbers.empty:
        return None
    sheet = layout.lattice(paper, len(shown), len(facets), colour)
    groups = layout.lookup(numbers, [*[a.path for a in [*rest, *_one(colour)]], "metric"], axis)
    points = len(shown) * len(facets) * len(style.colours(colour)) <= layout.CROWD
    notes: list[str] = []
    used: dict[str, Any] = {}
    for row, metric in zip(sheet.grid, shown, strict=True):
        for ax, panel in zip(row, facets, strict=True):
            _draw(ax, groups, panel, axis, colour, metric, points)
            used |= draw_context(ax, groups, panel, axis, colour, metric)
            scales.setting_scale(ax, "x", axis, sheet.letters)
            notes.append(metric_scale(ax, numbers, metric))
        row[0].set_ylabel(layout.wrapped(labels.metric(metric, curves.features, curves.units)))
    for ax, panel in zip(sheet.grid[0], facets, strict=True):
        sheet.entitle(ax, panel)
    sheet.name_axes(labels.setting(axis.path))
    hues = style.colours(colour)
    sheet.legend(colour, hues, list(used.values()))
    what = _what(curves, shown, axis, colour)
    last = curves.done if axis.path == STEPS else last_snapshot(curves.cells, curves.paths)
    at = "" if axis.path == STEPS else captions.snapshot(curves, last)
    notes = [at, *dict.fromkeys(notes), captions.omitted(left_out * len(shown))]
    return DrawnFigure(
        name=f"against-{axis.path.replace('.', '-')}",
        title=f"Against {labels.setting(axis.path)}",
        alt=f"Chart. {what} {_ranges(numbers, shown)}",
        caption=captions.caption(curves, numbers, what, *notes, points=points),
        files=sheet.render(),
        data=numbers,
        palette=dict(zip(hues.values(), style.dark_colours(colour).values(), strict=True)),
    )


def other_metrics(curves: Curves, told: tuple[str, ...] = (), paper: Paper = PAGE) -> DrawnFigure | None:
    """Every further metric in a panel of its own, against the first axis, at the largest level of the others.

    told: how metrics begin that have a figure of their own. What is the same in every cell of the study is not drawn.
    """
    constant = _constant(curves)
    left = [name for name in _plain(curves) if not name.startswith(told)]
    left = [name for name in left if name not in HEADLINE] if set(HEADLINE) & set(curves.metrics) else left[4:]
    if not left or not curves.axes:
        return None
    axis, *others = curves.others()
    others = [other for other in others if other.path != STEPS] if axis.path != STEPS else others
    colour, fixed = (others[0], others[1:]) if others else (None, [])
    numbers = _numbers(curves, axis, [*left, *_beside(curves, left)])
    for other in fixed:
        numbers = numbers[numbers[other.path] == other.levels[-1]]
    same = {name: constant[name] for name in left if name in constant}
    left = [name for name in left if name in set(numbers["metric"]) - set(same)]
    if not left:
        return None
    kept = left if paper is PAGE else left[: paper.panels_most]
    across, used = min(4, paper.across_most, len(kept)), dict[str, Any]()
    sheet = layout.sheet(paper, -(-len(kept) // across), across, colour, alike=False)
    groups = layout.lookup(numbers, [*[a.path for a in _one(colour)], "metric"], axis)
    for ax, metric in zip(sheet.grid.flat, kept, strict=False):
        _draw(ax, groups, {}, axis, colour, metric, points=True)
        used |= draw_context(ax, groups, {}, axis, colour, metric)
        scales.setting_scale(ax, "x", axis, sheet.letters)
        metric_scale(ax, numbers, metric)
        unit = curves.units.get(metric, ("", ""))[0]
        ax.set_title(sheet.title(f"{metric} ({unit})" if unit else metric))
    for ax in sheet.grid.flat[len(kept) :]:
        ax.set_visible(False)
    sheet.name_axes(labels.setting(axis.path))
    hues = style.colours(colour)
    sheet.legend(colour, hues, list(used.values()))
    at = ", ".join(labels.level(other.path, other.levels[-1]) for other in fixed)
    what = f"Every other metric against {labels.setting(axis.path)}{f' at {at}' if at else ''}."
    at = captions.snapshot(curves, last_snapshot(curves.cells, curves.paths)) if axis.path != STEPS else ""
    more = f"{len(left) - len(kept)} more metrics are in the CSV beside this figure." if kept != left else ""
    return DrawnFigure(
        name="other-metrics",
        title="Every other metric",
        alt=f"Chart. {what} {_ranges(numbers, kept)}",
        caption=captions.caption(curves, numbers, what, at, captions.constant(same), more),
        files=sheet.render(),
        data=numbers,
        palette=dict(zip(hues.values(), style.dark_colours(colour).values(), strict=True)),
    )


def _constant(curves: Curves) -> dict[str, float]:
    """Metrics that have one value over the whole study (of two cells or more), with it."""
    done = curves.done[list(curves.metrics)]
    same = [name for name in done if len(done) > 1 and done[name].nunique(dropna=False) == 1]
    return {str(name): float(done[name].iloc[0]) for name in same}


def _numbers(curves: Curves, axis: CurveAxis, metrics: list[str]) -> pd.DataFrame:
    if axis.path == STEPS:
        return over_seeds(curves.done, curves.paths, metrics, curves.units)
    paths = [path for path in curves.paths if path != STEPS]
    return over_seeds(last_snapshot(curves.cells, curves.paths), paths, metrics, curves.units)


def _plain(curves: Curves) -> list[str]:
    """Metrics to draw for themselves: not a context line."""
    return [name for name in curves.metrics if name not in BESIDE]


def _beside(curves: Curves, shown: list[str]) -> list[str]:
    return [name for metric in shown for name, _, _ in CONTEXT.get(metric, []) if name in curves.metrics]


def _one(axis: CurveAxis | None) -> list[CurveAxis]:
    return [axis] if axis else []


def _draw(
    ax: Axes,
    groups: layout.Groups,
    panel: layout.Panel,
    axis: CurveAxis,
    colour: CurveAxis | None,
    metric: str,
    points: bool,
) -> None:
    hues, shapes = style.colours(colour), style.markers(colour)
    if metric in ("train_pref_excess", "gap_max"):
        ax.axhline(0, color=style.MUTED, linewidth=0.8, zorder=1)
    for level, hue in hues.items():
        group = groups.get((*panel.values(), *([level] if colour else []), metric))
        if group is not None:
            few = len(hues) <= 4
            layout.line(ax, group, hue, shapes[level], band=few, joined=axis.numeric, points=points)


def draw_context(
    ax: Axes, groups: layout.Groups, panel: layout.Panel, axis: CurveAxis, colour: CurveAxis | None, metric: str
) -> dict[str, Any]:
    """Context lines: one grey line where all levels share it, else one in each level's colour."""
    handles = {}
    for column, label, dashes in CONTEXT.get(metric, []):
        found = {}
        for level, hue in style.colours(colour).items():
            group = groups.get((*panel.values(), *([level] if colour else []), column))
            if group is not None:
                found[hue] = group
        if not found:
            continue
        handles[column] = layout.context(label, dashes)
        table = np.array([drawn.mean for drawn in found.values()])
        spread = np.nanmax(table, axis=0, initial=-np.inf) - np.nanmin(table, axis=0, initial=np.inf)
        shared = bool(np.nanmax(spread) <= 1e-3 * max(1e-9, float(np.nanmax(np.abs(table)))))
        lines = {style.MUTED: next(iter(found.values()))} if shared else found
        if shared:
            filled = np.array([np.nan if np.isnan(c).all() else np.nanmean(c) for c in table.T])
            _context_line(ax, lines[style.MUTED].x, filled, style.MUTED, dashes, axis)
            continue
        for hue, drawn in lines.items():
            _context_line(ax, drawn.x, drawn.mean, hue, dashes, axis)
    return handles


def _context_line(ax: Axes, x: np.ndarray, y: np.ndarray, hue: str, dashes: Any, axis: CurveAxis) -> None:
    if axis.numeric:
        ax.plot(x, y, color=hue, linestyle=dashes, linewidth=1.1, alpha=0.85, zorder=2)
    else:
        ax.hlines(y, x - 0.3, x + 0.3, color=hue, linestyle=dashes, linewidth=1.1, alpha=0.85, zorder=2)


def metric_scale(ax: Axes, numbers: pd.DataFrame, metric: str) -> str:
    """The y axis of a metric, the same in every panel of its row."""
    seeds = [name for name in numbers if str(name).startswith("seed_")]
    mine = numbers[numbers["metric"] == metric]
    values = layout.finite(mine["mean"], mine[seeds].to_numpy())
    if metric in SHARES:
        return scales.share_scale(ax, "y", float(mine["mean"].max()))
    if metric in SCALED_WITH:
        beside = numbers[numbers["metric"].isin([name for name, _, _ in CONTEXT[metric]])]
        values = layout.finite(values, beside["mean"])
    if metric == "fd_test" and values.min() > 0 and values.max() / values.min() > 3:
        scales.log_scale(ax, "y", float(values.min()), float(values.max()))
        return ""
    if metric in ("gap_max", "train_pref_excess"):
        values = layout.finite(values, [0.0])
    if metric == "gap_max" and values.max() > 3:
        return scales.gain_scale(ax, float(values.min()), float(values.max()))
    reach = float(np.ptp(values)) or max(abs(float(values.max())) * 0.1, 1e-3)
    ax.set_ylim(float(values.min()) - 0.08 * reach, float(values.max()) + 0.12 * reach)
    return ""


def _what(curves: Curves, shown: list[str], axis: CurveAxis, colour: CurveAxis | None) -> str:
    names = [labels.metric(name, curves.features, curves.units) for name in shown]
    lines = f", one line per value of {labels.setting(colour.path)}" if colour else ""
    listed = f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]
    return f"{listed[:1].upper()}{listed[1:]} against {labels.setting(axis.path)}{lines}."


def _ranges(numbers: pd.DataFrame, shown: list[str]) -> str:
    spans = {str(name): means for name, means in numbers.groupby("metric")["mean"]}
    parts = [
        f"{name} from {labels.number(spans[name].min())} to {labels.number(spans[name].max())}"
        for name in shown
        if name in spans
    ]
    return f"{'; '.join(parts)}." if parts else ""
