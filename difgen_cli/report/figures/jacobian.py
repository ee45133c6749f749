"""The derivative of the denoiser over noise levels: rank, asymmetry, sharpness, range; at T and at H."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from difgen_cli.report.figures import _over_noise
from difgen_cli.report.plotting.facets import DASHED, FacetRow, Text
from difgen_cli.report.plotting.layout import DrawnFigure
from difgen_cli.report.plotting.paper import PAGE, Paper
from difgen_cli.report.study.curves import Curves

ORDER = 114
TABLE, HELD_OUT = "jacobian", "heldout_jacobian"
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
OF_BOTH = replace(TEXT, what=TEXT.what.replace("training images", "training images (broken: at held-out ones)"))


def draw(curves: Curves, paper: Paper = PAGE) -> list[DrawnFigure]:
    """Four numbers of the Jacobian over noise levels, those at held-out images beside where they were measured."""
    both = beside_each_other(curves)
    if both is None:
        return _over_noise.drawn(curves, paper, TABLE, ROWS, TEXT)
    rows = [replace(row, beside=((f"{row.metric}_heldout", "held-out images", DASHED),)) for row in ROWS]
    return _over_noise.drawn(replace(curves, tables=curves.tables | {TABLE: both}), paper, TABLE, rows, OF_BOTH)


def beside_each_other(curves: Curves) -> pd.DataFrame | None:
    """The table of T with the numbers at held-out images as `_heldout`; None where one of the two is missing."""
    of_T, of_H = (curves.tables.get(name, pd.DataFrame()) for name in (TABLE, HELD_OUT))
    if of_T.empty or of_H.empty:
        return None
    keys, names = ["cell", "sigma_rel"], [row.metric for row in ROWS if row.metric in of_H]
    others = of_H[[*keys, *names]].drop_duplicates(keys).rename(columns={name: f"{name}_heldout" for name in names})
    return of_T.merge(others, on=keys, how="left")
