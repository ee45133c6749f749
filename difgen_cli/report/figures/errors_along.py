"""Which part of a denoiser's error guidance can take away (`study.errors_along`), over noise levels."""

from __future__ import annotations

from difgen_cli.report.figures import _parts_of_error
from difgen_cli.report.plotting.layout import DrawnFigure
from difgen_cli.report.plotting.paper import PAGE, Paper
from difgen_cli.report.study.curves import Curves
from difgen_cli.report.study.errors_along import read

ORDER = 125
COVERS: tuple[str, ...] = ()
WHAT = (
    "Error of the denoiser along the direction of guidance and across it (broken), over the noise level σ/σ_d",
    "; below, the weight at which the guided denoiser errs least, and the error that is left there, as a share. The "
    "error is to the posterior mean over the training points, and over training and held-out points.",
)


def draw(curves: Curves, paper: Paper = PAGE) -> list[DrawnFigure]:
    """Error along and across the direction of guidance, the weight of the least error, and what is left there."""
    lines = read(curves)
    if lines.empty:
        return []
    title, rows = "Which part of the error can guidance take away?", _parts_of_error.ROWS
    notes = ["Means over noisy training points, by sums over the grid of the flow field; no feature space."]
    return _parts_of_error.drawn(curves, lines, rows, "errors-along", title, WHAT, notes, paper)
