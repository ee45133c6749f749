"""The main metrics against each axis of the grid: data set size, steps, clusters, or any setting that a grid varies."""

from __future__ import annotations

from difgen_cli.report.plotting import captions, facets, labels, measures
from difgen_cli.report.plotting.facets import Text
from difgen_cli.report.plotting.layout import DrawnFigure
from difgen_cli.report.plotting.paper import PAGE, Paper
from difgen_cli.report.study.curves import SIZE, STEPS, CurveAxis, Curves

ORDER = 20
HEADLINE = ("mem_frac", "train_pref_excess", "fd_test")
COVERS = HEADLINE
PLUGINS_MOST = 4  # metrics of plug-ins, where none of the main ones was measured
FIRST = (SIZE, STEPS, "condition.clusters")  # axes


def draw(curves: Curves, paper: Paper = PAGE) -> list[DrawnFigure]:
    """One figure for each axis, the ones that a reader looks for first in front."""
    ranked = sorted(curves.axes, key=lambda axis: FIRST.index(axis.path) if axis.path in FIRST else len(FIRST))
    return [figure for axis in ranked if (figure := against(curves, axis, paper)) is not None]


def shown(curves: Curves) -> list[str]:
    """The metrics that are drawn: the headline, or the first ones of plug-ins."""
    return [name for name in HEADLINE if name in curves.metrics] or measures.read_alone(curves)[:PLUGINS_MOST]


def against(curves: Curves, axis: CurveAxis, paper: Paper = PAGE) -> DrawnFigure | None:
    """The main metrics against `axis`, one line per level of the first other axis, facets for the rest."""
    metrics = shown(curves)
    if not metrics:
        return None
    numbers = measures.over_axis(curves, axis, metrics)
    if numbers.empty:
        return None
    planned = facets.plan(curves, axis)
    text = Text(
        f"against-{axis.path.replace('.', '-')}",
        f"Against {labels.setting(axis.path)}",
        _what(curves, metrics, planned),
        [captions.snapshot_along(curves, axis)],
        lambda numbers: measures.ranges(numbers, metrics),
    )
    rows = [measures.row(curves, metric) for metric in metrics]
    return facets.draw(curves, numbers, planned, rows, text, paper, up=measures.scale, most=6)


def _what(curves: Curves, metrics: list[str], planned: facets.FacetPlan) -> str:
    names = [curves.label(name) for name in metrics]
    listed = f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]
    return f"{listed[:1].upper()}{listed[1:]} against {labels.setting(planned.x.path)}{planned.words}."
