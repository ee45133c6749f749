"""The figure of an error and the direction of guidance over noise levels, a column for each target of the error."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from difgen_cli.report.plotting import facets, labels
from difgen_cli.report.plotting.facets import DASHED, Also, FacetRow, Text
from difgen_cli.report.plotting.layout import DrawnFigure
from difgen_cli.report.plotting.noise_levels import axis_of
from difgen_cli.report.plotting.paper import Paper
from difgen_cli.report.study.curves import CurveAxis, Curves, over_seeds
from difgen_cli.report.study.errors_along import TARGETS

TARGET = CurveAxis("target", tuple(TARGETS), tuple(map(float, range(len(TARGETS)))), False)
WEIGHT_ROW = FacetRow("optimal_weight", "weight of the least error", scale="log")
ROWS = (
    FacetRow("along", "error along the direction (rms)", beside=(("across", "across it", DASHED),)),
    WEIGHT_ROW,
    FacetRow("left", "error that is left there, as a share", scale="share"),
)


def drawn(
    curves: Curves, lines: pd.DataFrame, rows: Sequence[FacetRow], name: str, title: str, what: tuple[str, str],
    notes: Sequence[str], paper: Paper, also: Also | None = None,
) -> list[DrawnFigure]:  # fmt: skip
    """The lines, one for each setting, seed, noise level and target. what: before the words for lines, and after."""
    lines = lines.assign(sigma_rel=lines["sigma_rel"].round(9))
    paths = [path for path in curves.paths if path in lines]
    metrics = [name for row in rows for name in (row.metric, *(beside for beside, _, _ in row.beside))]
    numbers = over_seeds(lines, [*paths, "target", "sigma_rel"], metrics, curves.columns)
    sigma = axis_of(map(str, sorted(numbers["sigma_rel"].unique())))
    numbers = numbers.assign(sigma_rel=numbers["sigma_rel"].map(str))
    planned = facets.plan(curves, sigma, TARGET, present=paths)
    numbers = facets.held(numbers, planned)
    if numbers.empty:
        return []
    numbers, not_drawn = _drawable(numbers)
    notes = [*notes, *not_drawn]
    text = Text(name, title, f"{what[0]}{planned.words}{what[1]}", notes, _ranges)
    return [facets.draw(curves, numbers, planned, rows, text, paper, also=also)]


def _drawable(numbers: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Without best weights below 0, which a logarithmic axis does not have, and a sentence that says so.

    There guidance adds to the error. Where no weight is above 0, all are drawn on a linear axis.
    """
    weights = numbers["metric"] == WEIGHT_ROW.metric
    below = weights & (numbers["mean"] <= 0)
    if below.sum() in (0, weights.sum()):
        return numbers, []
    count = f"{below.sum()} of {weights.sum()} best weights"
    seeds = [name for name in numbers if str(name).startswith("seed_")]
    kept = numbers.copy()
    kept.loc[below, ["mean", "lo", "hi", *seeds]] = np.nan
    return kept, [f"{count} are below 0, where guidance adds to the error, and are not drawn."]


def _ranges(numbers: pd.DataFrame) -> str:
    """What is left, at best and at worst."""
    parts = []
    for target, group in numbers[numbers["metric"] == "left"].groupby("target", sort=False):
        low, high = (labels.number(float(value)) for value in (group["mean"].min(), group["mean"].max()))
        parts.append(f"{low} to {high} of the error to the posterior mean over {target} points")
    return f"At the best weight {' and '.join(parts)} is left." if parts else ""
