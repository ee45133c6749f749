"""Basins: how often the sampler gives back the image that it was begun from, with more and more noise."""

from __future__ import annotations

from difgen_cli.report.figures import _over_noise
from difgen_cli.report.plotting import captions
from difgen_cli.report.plotting.facets import DASHED, FacetRow, Text
from difgen_cli.report.plotting.layout import DrawnFigure
from difgen_cli.report.plotting.paper import PAGE, Paper
from difgen_cli.report.study.curves import Curves

ORDER = 85
TABLE = "basins"
ROWS = (
    FacetRow(
        "basin_return", "share of walks that return", scale="share", marks=(0.5,),
        beside=(("basin_control", "control: walks from\nheld-out images", DASHED),),
    ),
)  # fmt: skip
COVERS = ("basin_return_", "basin_control_")


def draw(curves: Curves, paper: Paper = PAGE) -> list[DrawnFigure]:
    """The share of walks that return to their own image, of T and of H, over the noise level that they begin at."""
    walks = captions.each(curves.done, "basin_walks", "walks from each split")
    text = Text(
        "basins",
        "How much noise makes the sampler forget an image?",
        "Share of the sampler's walks that end at the image that they began from, over the noise level σ/σ_d that was "
        "added to it",
        [f"A walk from each training image and from as many held-out ones; the ratio rule says which end there{walks}"],
    )
    return _over_noise.drawn(curves, paper, TABLE, ROWS, text)
