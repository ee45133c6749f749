"""Unlearning: copies, membership and gap of the images to be unlearnt and of the kept ones, model by model."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from difgen_cli.report.plotting import facets, labels, measures
from difgen_cli.report.plotting.facets import FacetPlan, FacetRow, Text
from difgen_cli.report.plotting.layout import DrawnFigure
from difgen_cli.report.plotting.paper import PAGE, Paper
from difgen_cli.report.study.curves import CurveAxis, Curves
from difgen_cli.report.study.seeds import over_seeds
from difgen_cli.report.study.unlearning import Unlearning, models

ORDER = 105
COVERS = ("unlearnt_", "kept_")
GROUPS = {"unlearnt": "to be unlearnt", "kept": "kept"}  # beginning of a metric's name -> images
MODEL, IMAGES = "model", "images"  # columns made here
ROWS = (
    FacetRow(
        "copies", "share of samples that copy them", "share",
        beside=(("power", "power: copies + 0.1\nnoise that are caught", (0, (6, 2))),),
    ),
    FacetRow("mia_auc_050", "membership AUROC (0.5 σ_d)", marks=(0.5,)),
    FacetRow("gap_050", "gap (0.5 σ_d)", "gain", marks=(0.0,)),
)  # fmt: skip


def draw(curves: Curves, paper: Paper = PAGE) -> list[DrawnFigure]:
    """A figure for each group of models that are alike in all but what unlearning changes."""
    return [_figure(curves, group, paper) for group in models(curves)]


def _figure(curves: Curves, group: Unlearning, paper: Paper) -> DrawnFigure:
    frames = {"before": group.before}
    frames |= {words or "after": frame for words, frame in group.after.items()} | {"retrained": group.never}
    cells = pd.concat([frame.assign(**{MODEL: name}) for name, frame in frames.items()], ignore_index=True)
    measured = [row.metric for row in ROWS] + [name for row in ROWS for name, _, _ in row.beside]
    parts = []
    for beginning, images in GROUPS.items():
        names = [f"{beginning}_{metric}" for metric in measured]
        part = over_seeds(cells, [MODEL], [name for name in names if name in cells], curves.columns)
        part[IMAGES], part["metric"] = images, part["metric"].str.removeprefix(f"{beginning}_")
        parts.append(part)
    numbers = pd.concat(parts, ignore_index=True)
    x, colour = _axis(MODEL, [*frames]), _axis(IMAGES, [*GROUPS.values()])
    declared = {name: curves.spec(f"unlearnt_{name}") for name in measured}
    own = replace(curves, axes=(x, colour), columns={**curves.columns, **declared})
    where = ", ".join(labels.level(path, level) for path, level in group.levels.items())
    what = (
        "Copies, membership and gap of the images to be unlearnt and of those that are kept, before unlearning, after "
        f"it, and of models retrained without them{f', at {where}' if where else ''}."
    )
    notes = [
        "AUROC 0.5 and a gap of 0: as images that were never seen.", "Where the two agree, one marker hides the other."
    ]  # fmt: skip
    name = "-".join(["unlearning", *group.levels.values()])
    text = Text(name, "What is left of unlearnt images?", what, notes, measures.all_ranges)
    return facets.draw(own, numbers, FacetPlan(x, colour, ()), ROWS, text, paper, up=measures.scale)


def _axis(path: str, levels: list[str]) -> CurveAxis:
    return CurveAxis(path, tuple(levels), tuple(float(place) for place in range(len(levels))), numeric=False)
