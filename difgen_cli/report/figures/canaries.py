"""Canaries: the least epsilon and the share that is copied, by how often a planted one stands in the training set."""

from __future__ import annotations

import pandas as pd

from difgen_cli.report.plotting import facets, labels, measures
from difgen_cli.report.plotting.facets import DASHED, DOTTED, FacetPlan, FacetRow, Text
from difgen_cli.report.plotting.layout import DrawnFigure
from difgen_cli.report.plotting.paper import PAGE, Paper
from difgen_cli.report.study.canaries import KIND, REPEATS
from difgen_cli.report.study.curves import STEPS, CurveAxis, Curves

ORDER = 102
COVERS = ("canary_",)
ROWS = (
    FacetRow(
        "eps_least", "least ε of a canary's rows", marks=(0.0,),
        beside=(("eps_most", "most that the guesses\ncan show", DASHED),),
    ),
    FacetRow(
        "extracted_frac", "planted canaries that are copied", "share",
        beside=(("extracted_control_frac", "never planted", DOTTED),),
    ),
)  # fmt: skip


def draw(curves: Curves, paper: Paper = PAGE) -> list[DrawnFigure]:
    """Both against the number of repeats, seeds pooled: a line for each kind at the last snapshot, else each step."""
    lines = curves.canaries
    if lines.empty or "eps_least" not in lines or lines[REPEATS].nunique() < 2:
        return []
    colour = next((curves.axis(path) for path in (KIND, STEPS) if path in curves.paths), None)
    at = ""
    if STEPS in curves.paths and (colour is None or colour.path != STEPS):
        lines, at = lines[lines[STEPS] == lines[STEPS].max()], " at the last snapshots"
    columns = tuple(axis for axis in curves.others(colour) if axis.path != STEPS)
    repeats = sorted(int(value) for value in lines[REPEATS].unique())
    x = CurveAxis(REPEATS, tuple(map(str, repeats)), tuple(map(float, repeats)), numeric=True)
    numbers = _tall(lines, [axis.path for axis in (*columns, *([colour] if colour else []))])
    what = (
        "Least epsilon of the rows of a canary by guesses of its coin (95 %, each point by itself), and planted "
        f"canaries of which a sample is a copy, against how often a planted one stands in the training set{at}"
        f"{f', one line per value of {labels.setting(colour.path)}' if colour else ''}."
    )
    trainings, canaries = int(lines["trainings"].max()), int(lines["canaries"].max())
    notes = [
        f"A point pools {canaries:,} canaries of {trainings} {'training' if trainings == 1 else 'trainings'}, each "
        "with a coin of its own; intervals are of 95 % over canaries (Clopper and Pearson).",
        "An epsilon of 0 means that nothing is shown. The largest of several points is no bound: canaries.csv has "
        "those that hold together.",
    ]
    text = Text("canaries", "What do canaries show?", what, notes, measures.all_ranges)
    return [facets.draw(curves, numbers, FacetPlan(x, colour, columns), ROWS, text, paper)]


def _tall(lines: pd.DataFrame, paths: list[str]) -> pd.DataFrame:
    """One line for each point and metric: `mean`, and its ends where it has them."""
    parts = []
    for row in ROWS:
        for name in (row.metric, *(metric for metric, _, _ in row.beside)):
            ends = (f"{name}_lo", f"{name}_hi")
            part = lines[[*paths, REPEATS]].assign(metric=name, mean=lines[name])
            part["lo"], part["hi"] = (lines.get(end, pd.Series(float("nan"), lines.index)) for end in ends)
            parts.append(part)
    numbers = pd.concat(parts, ignore_index=True).dropna(subset=["mean"])
    return numbers.assign(**{REPEATS: numbers[REPEATS].astype(int).astype(str)})
