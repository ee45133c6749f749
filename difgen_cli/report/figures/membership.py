"""Membership: whether the denoising loss tells who was trained on."""

from __future__ import annotations

from difgen_cli.report.plotting import captions, facets, labels, measures, noise_levels
from difgen_cli.report.plotting.facets import FacetRow, Text
from difgen_cli.report.plotting.layout import DrawnFigure
from difgen_cli.report.plotting.paper import PAGE, Paper
from difgen_cli.report.study import blind
from difgen_cli.report.study.curves import SIZE, STEPS, Curves

ORDER = 100
ROWS = (
    FacetRow("mia_auc", "AUROC of membership by the denoising loss", marks=(0.5,)),
    FacetRow("mia_mean_auc", "AUROC by the error of the mean reconstruction", marks=(0.5,)),
    FacetRow("mia_clean_auc", "AUROC by one query without noise", marks=(0.5,)),
    FacetRow("mia_self_auc", "AUROC of samples in the place of T", marks=(0.5,)),
    FacetRow("mia_twin_auc", "AUROC of membership between twins", marks=(0.5,)),
)
BELOW = {
    "mia_mean_auc": "the error of the mean of 8 reconstructions in the place of their mean error",
    "mia_clean_auc": "one query without noise",
    "mia_self_auc": "the model's own samples in the place of training images, a control",
    "mia_twin_auc": "the difference of two twins' losses, T of the one against T of the other",
}
COVERS = tuple(f"{row.metric}_" for row in ROWS)
NAMED = {"025": "0.25", "050": "0.5", "100": "1"}  # ending of a metric's name -> its noise level


def draw(curves: Curves, paper: Paper = PAGE) -> list[DrawnFigure]:
    """AUROC of membership at three noise levels over training steps, or against N where steps do not vary."""
    x = next((curves.axis(path) for path in (STEPS, SIZE) if path in curves.paths), None)
    rows = [row for row in ROWS if any(f"{row.metric}_{ending}" in curves.metrics for ending in NAMED)]
    measured = noise_levels.at_named(curves, x, [row.metric for row in rows], NAMED) if x else None
    if x is None or measured is None:
        return []
    numbers, planned, cells = measured
    what = (
        "How well the denoising loss distinguishes training from held-out images (AUROC, 0.5: not at all) "
        f"against {labels.setting(x.path)}{planned.words}."
    )
    below = [BELOW[row.metric] for row in rows if row.metric in BELOW]
    what += f" Below: {'; '.join(below)}." if below else ""
    images = captions.each(cells, "mia_images", "images of T and as many of H")
    notes = [f"Squared error of pixels, at fixed noise levels, never the best of them{images}."]
    notes.append(captions.snapshot_along(curves, x))
    if blind.refused(cells).any():
        notes.append(f"Cells of which {blind.UNLIKE} are not drawn.")
    text = Text("membership", "Does the loss reveal which images were trained on?", what, notes, measures.all_ranges)
    return [facets.draw(curves, numbers, planned, rows, text, paper)]
