"""Every metric that no other figure shows, in a panel of its own."""

from __future__ import annotations

from typing import Any

import pandas as pd

from difgen_cli.report.figures import metric_vs_axis
from difgen_cli.report.plotting import captions, facets, labels, layout, measures, style
from difgen_cli.report.plotting.facets import FacetPlan, Text
from difgen_cli.report.plotting.layout import DrawnFigure
from difgen_cli.report.plotting.paper import PAGE, Paper
from difgen_cli.report.study.curves import CurveAxis, Curves

ORDER = 1000  # after all figures that say what they cover
COVERS: tuple[str, ...] = ()
ACROSS_MOST = 4


def draw(curves: Curves, paper: Paper = PAGE) -> list[DrawnFigure]:
    """Every further metric against the first axis, at the largest level of the others but the coloured one.

    What is the same in every cell of the study is told and not drawn.
    """
    left = _left(curves)
    if not left or not curves.axes:
        return []
    axis = curves.others()[0]
    planned = _plan(curves, axis)
    numbers = facets.held(measures.over_axis(curves, axis, left), planned)
    constant = _constant(curves)
    same = {name: constant[name] for name in left if name in constant}
    left = [name for name in left if name in set(numbers["metric"]) - set(same)]
    if not left:
        return []
    kept = left if paper is PAGE else left[: paper.panels_most]
    sheet = _panels(curves, numbers, planned, kept, paper)
    at = ", ".join(labels.level(path, level) for path, level in planned.at)
    what = f"Every other metric against {labels.setting(axis.path)}{f' at {at}' if at else ''}."
    more = f"{len(left) - len(kept)} more metrics are in the CSV of this figure." if kept != left else ""
    notes = [captions.snapshot_along(curves, axis), captions.meanings(curves, kept), captions.constant(same), more]
    text = Text("other-metrics", "Every other metric", what, notes, lambda numbers: measures.ranges(numbers, kept))
    return [facets.finished(curves, numbers, text, sheet, planned.colour, points=True)]


def _left(curves: Curves) -> list[str]:
    """The metrics that no figure before shows."""
    beginnings = tuple(name for name in curves.covered if name.endswith("_"))
    shown = {*curves.covered, *metric_vs_axis.shown(curves)}
    return [name for name in measures.read_alone(curves) if not name.startswith(beginnings) and name not in shown]


def _plan(curves: Curves, axis: CurveAxis) -> FacetPlan:
    """No columns: all axes but the coloured one are held."""
    planned = facets.plan(curves, axis)
    return FacetPlan(planned.x, planned.colour, (), tuple((other.path, other.levels[-1]) for other in planned.columns))


def _panels(
    curves: Curves, numbers: pd.DataFrame, planned: FacetPlan, metrics: list[str], paper: Paper
) -> layout.FigureSheet:
    across = min(ACROSS_MOST, paper.across_most, len(metrics))
    sheet = layout.sheet(paper, -(-len(metrics) // across), across, planned.colour, alike=False)
    lines = facets.groups(numbers, [], planned.colour, planned.x)
    used: dict[str, Any] = {}
    for ax, metric in zip(sheet.grid.flat, metrics, strict=False):
        row = measures.row(curves, metric)
        facets.across(ax, planned.x, sheet.letters)
        measures.scale(ax, numbers, row)
        used |= facets.draw_panel(ax, lines, {}, planned, row, points=True)
        ax.set_title(sheet.title(row.label))
    for ax in sheet.grid.flat[len(metrics) :]:
        ax.set_visible(False)
    sheet.name_axes(labels.setting(planned.x.path))
    sheet.legend(planned.colour, style.colours(planned.colour), list(used.values()))
    return sheet


def _constant(curves: Curves) -> dict[str, float]:
    """Metrics that have one value over the whole study (of two cells or more), with it."""
    done = curves.done[list(curves.metrics)]
    same = [name for name in done if len(done) > 1 and done[name].nunique(dropna=False) == 1]
    return {str(name): float(done[name].iloc[0]) for name in same}
