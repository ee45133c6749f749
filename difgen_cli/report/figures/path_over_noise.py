"""Path overlap over noise levels: the states of the sampler at the last snapshot, where the power suffices."""

from __future__ import annotations

import pandas as pd

from difgen_cli.report.figures import _path_overlap
from difgen_cli.report.plotting import captions, facets, noise_levels
from difgen_cli.report.plotting.facets import Text
from difgen_cli.report.plotting.layout import DrawnFigure
from difgen_cli.report.plotting.paper import PAGE, Paper
from difgen_cli.report.study.curves import Curves, last_snapshot

ORDER = 70
COVERS = _path_overlap.COVERS
TABLE = "path"


def draw(curves: Curves, paper: Paper = PAGE) -> list[DrawnFigure]:
    """Overlap, power and preference over the sampler's noise levels, at the last snapshot."""
    table = curves.tables.get(TABLE, pd.DataFrame())
    measured = noise_levels.by_sigma(curves, table, _path_overlap.METRICS)
    if measured is None:
        return []
    numbers, sigma = measured
    planned = facets.plan(curves, sigma, present=list(table.columns))
    last = last_snapshot(curves.cells, curves.paths)
    what = "Path overlap, its power and the preference of the sampler's states over the noise level σ/σ_d"
    text = Text(
        "path-over-noise",
        "Path overlap over noise levels",
        f"{what}{planned.words}.",
        [captions.snapshot(curves, last)],
    )
    return [_path_overlap.figure(curves, numbers, planned, text, last, paper)]
