"""Which part of a denoiser's error guidance can take away (`study.errors_along`), over noise levels."""

from __future__ import annotations

import pandas as pd

from difgen_cli.report.plotting import facets, labels
from difgen_cli.report.plotting.facets import DASHED, FacetRow, Text
from difgen_cli.report.plotting.layout import DrawnFigure
from difgen_cli.report.plotting.noise_levels import axis_of
from difgen_cli.report.plotting.paper import PAGE, Paper
from difgen_cli.report.study.curves import CurveAxis, Curves, over_seeds
from difgen_cli.report.study.errors_along import TARGETS, read

ORDER = 125
COVERS: tuple[str, ...] = ()
TARGET = CurveAxis("target", tuple(TARGETS), tuple(map(float, range(len(TARGETS)))), False)
ROWS = (
    FacetRow("along", "error along the direction (rms)", beside=(("across", "across it", DASHED),)),
    FacetRow("optimal_weight", "weight of the least error", scale="log"),
    FacetRow("left", "error that is left there, as a share", scale="share"),
)


def draw(curves: Curves, paper: Paper = PAGE) -> list[DrawnFigure]:
    """Error along and across the direction of guidance, the weight of the least error, and what is left there."""
    lines = read(curves)
    if lines.empty:
        return []
    lines = lines.assign(sigma_rel=lines["sigma_rel"].round(9))
    paths = [path for path in curves.paths if path in lines]
    metrics = [name for row in ROWS for name in (row.metric, *(beside for beside, _, _ in row.beside))]
    numbers = over_seeds(lines, [*paths, "target", "sigma_rel"], metrics, curves.columns)
    sigma = axis_of(map(str, sorted(numbers["sigma_rel"].unique())))
    numbers = numbers.assign(sigma_rel=numbers["sigma_rel"].map(str))
    planned = facets.plan(curves, sigma, TARGET, present=paths)
    numbers = facets.held(numbers, planned)
    what = (
        "Error of the denoiser along the direction of guidance and across it (broken), over the noise level "
        f"σ/σ_d{planned.words}; below, the weight at which the guided denoiser errs least, and the error that is left "
        "there, as a share. The error is to the posterior mean over the training points, and over training and "
        "held-out points."
    )
    notes = ["Means over noisy training points, by sums over the grid of the flow field; no feature space."]
    text = Text("errors-along", "Which part of the error can guidance take away?", what, notes, _ranges)
    return [facets.draw(curves, numbers, planned, ROWS, text, paper)]


def _ranges(numbers: pd.DataFrame) -> str:
    """What is left, at best and at worst."""
    parts = []
    for target, group in numbers[numbers["metric"] == "left"].groupby("target", sort=False):
        low, high = (labels.number(float(value)) for value in (group["mean"].min(), group["mean"].max()))
        parts.append(f"{low} to {high} of the error to the posterior mean over {target} points")
    return f"At the best weight {' and '.join(parts)} is left." if parts else ""
