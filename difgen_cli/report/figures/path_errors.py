"""The error on the samples' way, and which part of it guidance can take away (`study.paths`), over noise levels."""

from __future__ import annotations

import numpy as np

from difgen_cli.report.figures import _parts_of_error
from difgen_cli.report.plotting.facets import DASHED, FacetRow
from difgen_cli.report.plotting.layout import DrawnFigure
from difgen_cli.report.plotting.paper import PAGE, Paper
from difgen_cli.report.study.curves import Curves
from difgen_cli.report.study.paths import read

ORDER = 124
COVERS: tuple[str, ...] = ()
ROWS = (
    FacetRow("error", "error on the way (rms)", beside=(("own_error", "without guidance, there", DASHED),)),
    *_parts_of_error.ROWS,
)
WHAT = (
    "Where the samples of each cell are on their way: error of the denoiser that the sampler follows, and of the "
    "network without guidance (broken), over the noise level σ/σ_d",
    "; below, the part of the latter along the direction of guidance and across it (broken), the weight at which the "
    "guided denoiser errs least there, and the error that is left then, as a share. The error is to the posterior mean "
    "over the training points, and over training and held-out points, of the sample's condition.",
)


def draw(curves: Curves, paper: Paper = PAGE) -> list[DrawnFigure]:
    """Errors, their parts, the weight of the least error and what is left there, along the samples' way."""
    lines = read(curves)
    if lines.empty:
        return []
    notes = ["Means over the stored samples of a cell, whose number bounds the interval; no feature space."]
    rows = [row for row in ROWS if row.metric in lines and np.isfinite(lines[row.metric]).any()]
    title = "How far from the ideal is the denoiser on the samples' way?"
    return _parts_of_error.drawn(curves, lines, rows, "path-errors", title, WHAT, notes, paper)
