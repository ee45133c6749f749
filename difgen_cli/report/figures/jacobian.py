"""The derivative of the denoiser over noise levels: rank, asymmetry, sharpness and range."""

from __future__ import annotations

from difgen_cli.report.figures import _over_noise
from difgen_cli.report.plotting.facets import FacetRow, Text
from difgen_cli.report.plotting.layout import DrawnFigure
from difgen_cli.report.plotting.paper import PAGE, Paper
from difgen_cli.report.study.curves import Curves

ORDER = 114
TABLE = "jacobian"
ROWS = (
    FacetRow("jac_rank", "rank: singular values with 99 % of the energy"),
    FacetRow("jac_asym", "asymmetry |J − Jᵀ| / 2|J|", marks=(0.0,)),
    FacetRow("jac_top", "largest singular value"),
    FacetRow("corr_range", "range of influence in pixels"),
)
COVERS = ("jac_rank_", "jac_asym_", "jac_top_", "corr_range_")
TEXT = Text(
    "jacobian-over-noise",
    "How does the denoiser depend on its input?",
    "Rank, asymmetry, largest singular value and range of the derivative of the denoiser, at noisy training images, "
    "over the noise level σ/σ_d",
    [
        "The rank counts directions that it keeps; the asymmetry is 0 for the gradient of a density; the range is the "
        "mean distance of pixels that a pixel depends on"
    ],
)


def draw(curves: Curves, paper: Paper = PAGE) -> list[DrawnFigure]:
    """Four numbers of the Jacobian over noise levels."""
    return _over_noise.drawn(curves, paper, TABLE, ROWS, TEXT)
