"""The variance of the target of training over noise levels."""

from __future__ import annotations

from difgen_cli.report.figures import _over_noise
from difgen_cli.report.plotting.facets import FacetRow, Text
from difgen_cli.report.plotting.layout import DrawnFigure
from difgen_cli.report.plotting.paper import PAGE, Paper
from difgen_cli.report.study.curves import Curves

ORDER = 112
TABLE = "targets"
ROWS = (FacetRow("target_var", "variance of the clean image given the noisy one"),)
COVERS = ("target_var_",)
TEXT = Text(
    "target-variance-over-noise",
    "How much of the image does noise leave open?",
    "Variance per pixel of the clean training image given the noisy one, over the noise level σ/σ_d",
    ["Of the training images alone, not of a model: the least training loss that there is"],
)


def draw(curves: Curves, paper: Paper = PAGE) -> list[DrawnFigure]:
    """The least training loss over noise levels."""
    return _over_noise.drawn(curves, paper, TABLE, ROWS, TEXT)
