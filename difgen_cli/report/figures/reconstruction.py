"""Reconstructions of training and of held-out images over noise levels, and where samples lie between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from difgen_cli.report.plotting import captions, facets, labels, measures, noise_levels
from difgen_cli.report.plotting.facets import DASHED, DOTTED, FacetRow, Text
from difgen_cli.report.plotting.layout import DrawnFigure
from difgen_cli.report.plotting.paper import PAGE, Paper
from difgen_cli.report.study.curves import Curves, last_snapshot

if TYPE_CHECKING:
    from difgen_cli.report.plotting.facets import FacetPlan

ORDER = 55
TABLE = "reconstruction"
GAP = "feat_gap"
OF_SPLIT = {"rfd": "rfd_{}", "rfd_lo": "rfd_{}_lo", "rfd_hi": "rfd_{}_hi", "lean": "lean_{}"}
SAMPLES = ("nn_cos_x_t", "nn_cos_x_h")
ROWS = (
    FacetRow(
        "rfd_heldout",
        "Fréchet distance of reconstructions to the same clean images",
        scale="log",
        beside=(("rfd_train", "training images", DASHED),),
    ),
    FacetRow(GAP, "relative gap of the error in features, H over T − 1", scale="gain"),
    FacetRow(
        "lean_train",
        "cosine with the nearest of T − of H",
        marks=(0.0,),
        beside=(("lean_heldout", "held-out images", DASHED), ("lean_samples", "samples", DOTTED)),
    ),
    FacetRow("nn_share", "samples between reconstructions of H (0) and T (1)", marks=(0.0, 0.5, 1.0)),
)
COVERS = ("rfd_", "feat_gap_025", "feat_gap_050", "feat_gap_100", "nn_cos_", "nn_apart")


def draw(curves: Curves, paper: Paper = PAGE) -> list[DrawnFigure]:
    """Distance, gap, leaning and share over the noise levels, at the last snapshot."""
    table = by_level(curves)
    metrics = [name for row in ROWS for name in (row.metric, *(beside for beside, _, _ in row.beside))]
    measured = noise_levels.by_sigma(curves, table, metrics)
    if measured is None:
        return []
    numbers, sigma = measured
    planned = facets.plan(curves, sigma, present=list(table.columns))
    last = last_snapshot(table, [path for path in curves.paths if path in table])
    what = (
        "Reconstructions of noisy held-out images and of as many training images over the noise level "
        f"σ/σ_d{planned.words}: their Fréchet distance to the same clean images (broken: training images), the "
        "relative gap of their mean squared errors in features, how much nearer those of training images are to T than "
        "to H (broken: those of held-out images; dotted: samples), and where samples lie between the two."
    )
    pairs = captions.each(last, "n_pairs", "pairs of image and noise in a split")
    notes = [f"Distances and cosines are in features{pairs}.", captions.snapshot(curves, last)]
    text = Text(
        "reconstructions", "Reconstructions of training and of held-out images", what, notes,
        lambda drawn: largest(drawn, planned),
    )  # fmt: skip
    return [facets.draw(curves, numbers, planned, ROWS, text, paper, up=measures.scale)]


def by_level(curves: Curves) -> pd.DataFrame:
    """A line for each cell and noise level: distances and leanings of both splits and of samples, gap and share."""
    table = curves.tables.get(TABLE, pd.DataFrame())
    if not {"split", "rfd", "nn_cos_t", "nn_cos_h", "sigma_rel"} <= set(table.columns):
        return pd.DataFrame()
    keys = ["cell", "sigma_rel"]
    lean = table["nn_cos_t"] - table["nn_cos_h"]
    table = table.assign(lean=lean).drop_duplicates([*keys, "split", *(p for p in curves.paths if p in table)])
    lines = table[table["split"] == "train"].rename(columns={name: of.format("train") for name, of in OF_SPLIT.items()})
    others = table.loc[table["split"] == "heldout", [*keys, *OF_SPLIT]].drop_duplicates(keys)
    others = others.rename(columns={name: of.format("heldout") for name, of in OF_SPLIT.items()})
    lines = lines.merge(others, on=keys, how="left")
    if not set(SAMPLES) <= set(curves.done.columns):
        return lines
    of_cells = curves.done.drop_duplicates("cell").set_index("cell")
    return lines.assign(lean_samples=lines["cell"].map(of_cells[SAMPLES[0]] - of_cells[SAMPLES[1]]))


def largest(numbers: pd.DataFrame, planned: FacetPlan) -> str:
    """Where the gap in features is largest; nothing where it is not known."""
    gaps = numbers[numbers["metric"] == GAP]
    if gaps.empty:
        return ""
    top = gaps.iloc[int(gaps["mean"].to_numpy().argmax())]
    colour = planned.colour
    where = f" for {labels.level(colour.path, str(top[colour.path]))}" if colour else ""
    level = labels.number(float(top["sigma_rel"]))
    return f"The largest gap in features is {labels.number(top['mean'])} at σ/σ_d = {level}{where}."
