"""Path overlap at three noise levels against data set size and training steps."""

from __future__ import annotations

from dataclasses import replace

from difgen_cli.report.figures import _path_overlap
from difgen_cli.report.plotting import captions, labels, noise_levels
from difgen_cli.report.plotting.facets import Text
from difgen_cli.report.plotting.layout import DrawnFigure
from difgen_cli.report.plotting.paper import PAGE, Paper
from difgen_cli.report.study.curves import SIZE, STEPS, CurveAxis, Curves

ORDER = 80
COVERS = _path_overlap.COVERS
NAMED = {"050": "0.5", "100": "1", "200": "2"}  # ending of a metric's name -> its noise level


def draw(curves: Curves, paper: Paper = PAGE) -> list[DrawnFigure]:
    """Overlap, power and preference against the data set size at the last snapshot, and against training steps."""
    axes = [curves.axis(path) for path in (SIZE, STEPS) if path in curves.paths]
    return [figure for axis in axes if (figure := _against(curves, axis, paper)) is not None]


def _against(curves: Curves, axis: CurveAxis, paper: Paper) -> DrawnFigure | None:
    names = [m for m in _path_overlap.METRICS if any(f"{m}_{ending}" in curves.metrics for ending in NAMED)]
    measured = noise_levels.at_named(curves, axis, names, NAMED)
    if measured is None:
        return None
    numbers, planned, cells = measured
    levels = tuple(level for level in NAMED.values() if level in set(numbers["sigma_rel"]))
    planned = replace(planned, columns=(noise_levels.axis_of(levels),))
    text = Text(
        f"path-against-{axis.path.replace('.', '-')}",
        f"Path overlap against {labels.setting(axis.path)}",
        f"Path overlap, its power and the preference against {labels.setting(axis.path)}{planned.words}.",
        [captions.snapshot_along(curves, axis)],
    )
    return _path_overlap.figure(curves, numbers, planned, text, cells, paper)
