"""Deviation: which closed form the denoiser is near."""

from __future__ import annotations

from difgen_cli.report.figures import _over_noise
from difgen_cli.report.plotting.facets import FacetRow, Text
from difgen_cli.report.plotting.layout import DrawnFigure
from difgen_cli.report.plotting.paper import PAGE, Paper
from difgen_cli.report.study.curves import Curves

ORDER = 110
TABLE = "deviation"
ROWS = (
    FacetRow("ideal_dev", "deviation from the ideal denoiser of T", scale="log"),
    FacetRow("wiener_dev", "deviation from the Wiener filter of T", scale="log"),
    FacetRow("wiener_dev_pool", "deviation from the Wiener filter of the pool", scale="log"),
    FacetRow("local_dev", "deviation from the ideal denoiser of patches", scale="log"),
)
COVERS = ("ideal_dev_", "wiener_dev_", "local_dev_")
TEXT = Text(
    "deviation-over-noise",
    "Which closed form is the denoiser near?",
    "λ(σ) times the mean squared distance per pixel of the denoiser from the ideal denoiser of the training images and "
    "from other closed forms, on noisy training images, over the noise level σ/σ_d",
    ["0 would be that closed form itself"],
)


def draw(curves: Curves, paper: Paper = PAGE) -> list[DrawnFigure]:
    """Distance from the ideal denoiser, from the Wiener filters and from patches over noise levels."""
    return _over_noise.drawn(curves, paper, TABLE, ROWS, TEXT, positive=True)
