"""Appearance: saturation, contrast and classes of samples beside those of the data (Kaiser et al. 2024)."""

from __future__ import annotations

from difgen_cli.report.plotting import captions, facets, labels, measures
from difgen_cli.report.plotting.facets import DASHED, DOTTED, FacetRow, Text
from difgen_cli.report.plotting.layout import DrawnFigure
from difgen_cli.report.plotting.paper import PAGE, Paper
from difgen_cli.report.study.curves import STEPS, Curves, over_seeds

ORDER = 108
ROWS = (
    FacetRow("saturation", "saturation", beside=(("saturation_train", "saturation of T", DASHED),), shared=True),
    FacetRow("contrast", "contrast", beside=(("contrast_train", "contrast of T", DASHED),), shared=True),
    FacetRow(
        "class_tv", "total variation of classes",
        beside=(("class_tv_null", "97.5 % of as many\nimages of T", DOTTED),), shared=True,
    ),
    FacetRow(
        "class_score", "class score", beside=(("class_score_heldout", "held-out images", (0, (1, 3))),), shared=True
    ),
)  # fmt: skip
COVERS = ("saturation", "saturation_train", "contrast", "contrast_train", "class_")
GUIDE = "guide."


def draw(curves: Curves, paper: Paper = PAGE) -> list[DrawnFigure]:
    """Each measure against the weight of guidance, else against the steps, else against the first axis."""
    # Grey images have no saturation, and a line at 0 would say nothing.
    rows = [row for row in ROWS if row.metric in curves.metrics and curves.done[row.metric].any()]
    numeric = [axis for axis in curves.axes if axis.numeric]
    first = [axis for axis in numeric if axis.path.startswith(GUIDE)] + [a for a in numeric if a.path == STEPS]
    x = next(iter([*first, *curves.axes]), None)
    if x is None or not rows:
        return []
    beside = [name for row in rows for name, _, _ in row.beside if name in curves.metrics]
    paths = [path for path in curves.paths if path != STEPS or x.path == STEPS]
    cells = curves.along(x)
    numbers = over_seeds(cells, paths, [*(row.metric for row in rows), *beside], curves.columns)
    planned = facets.plan(curves, x)
    what = f"How samples look, beside the data, against {labels.setting(x.path)}{planned.words}."
    notes = [
        "A total variation up to the dotted line shows no difference; the class score is that of a linear probe."
        if "class_tv" in curves.metrics
        else "",
        captions.snapshot_along(curves, x),
    ]
    text = Text("appearance", "Do samples look like the data?", what, notes, measures.all_ranges)
    return [facets.draw(curves, numbers, planned, rows, text, paper)]
