"""Deviation: which closed form the denoiser is near."""

from __future__ import annotations

import pandas as pd

from difgen_cli.report.plotting import captions, facets, measures, noise_levels
from difgen_cli.report.plotting.facets import FacetRow, Text
from difgen_cli.report.plotting.layout import DrawnFigure
from difgen_cli.report.plotting.paper import PAGE, Paper
from difgen_cli.report.study.curves import Curves, last_snapshot

ORDER = 110
TABLE = "deviation"
ROWS = (
    FacetRow("ideal_dev", "deviation from the ideal denoiser of T", scale="log"),
    FacetRow("wiener_dev", "deviation from the Wiener filter of T", scale="log"),
    FacetRow("wiener_dev_pool", "deviation from the Wiener filter of the pool", scale="log"),
)
COVERS = ("ideal_dev_", "wiener_dev_")


def draw(curves: Curves, paper: Paper = PAGE) -> list[DrawnFigure]:
    """Distance from the ideal denoiser and from the Wiener filters over noise levels, at the last snapshot."""
    table = curves.tables.get(TABLE, pd.DataFrame())
    measured = noise_levels.by_sigma(curves, table, [row.metric for row in ROWS])
    if measured is None:
        return []
    numbers, sigma = measured
    numbers = numbers[numbers["mean"] > 0]
    planned = facets.plan(curves, sigma, present=list(table.columns))
    what = (
        "λ(σ) times the mean squared distance per pixel of the denoiser from the ideal denoiser of the training images "
        f"and from Wiener filters, on noisy training images, over the noise level σ/σ_d{planned.words}."
    )
    last = last_snapshot(table, [path for path in curves.paths if path in table])
    pairs = captions.each(last, "n_pairs", "pairs of image and noise")
    notes = [f"0 would be that closed form itself{pairs}.", captions.snapshot(curves, last)]
    text = Text("deviation-over-noise", "Which closed form is the denoiser near?", what, notes, measures.all_ranges)
    return [facets.draw(curves, numbers, planned, ROWS, text, paper)]
