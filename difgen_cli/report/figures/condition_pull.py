"""The pull of the condition over noise levels, and whether it tells copies there (Wen et al. 2024)."""

from __future__ import annotations

from difgen_cli.report.figures import _over_noise
from difgen_cli.report.plotting.facets import FacetRow, Text
from difgen_cli.report.plotting.layout import DrawnFigure
from difgen_cli.report.plotting.paper import PAGE, Paper
from difgen_cli.report.study.curves import Curves

ORDER = 98
TABLE = "condition_pull_levels"
ROWS = (
    FacetRow("cfg_mag", "pull of the condition (rms of noise)"),
    FacetRow("cfg_mag_auc", "AUROC of copies by the pull", scale="share", marks=(0.5,)),
)
COVERS: tuple[str, ...] = ()  # the means over levels are drawn with the other metrics
TEXT = Text(
    "condition-pull-over-noise",
    "How hard does the condition pull, and does that tell copies?",
    "Difference of the predicted noise with and without condition, mean over samples; and the AUROC by it of copies, "
    "by the ratio rule, against all other samples; over the noise level σ/σ_d on the sampler's way",
    ["The AUROC is missing where no sample is a copy, or all are; at 0.5 the pull says nothing of copies"],
)


def draw(curves: Curves, paper: Paper = PAGE) -> list[DrawnFigure]:
    """Size of the pull and its AUROC over noise levels."""
    return _over_noise.drawn(curves, paper, TABLE, ROWS, TEXT)
