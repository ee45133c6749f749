"""Inversion: whether a walk up to noise and down again tells who was trained on."""

from __future__ import annotations

from difgen_cli.report.plotting import captions, facets, labels, measures
from difgen_cli.report.plotting.facets import DASHED, FacetRow, Text
from difgen_cli.report.plotting.layout import DrawnFigure
from difgen_cli.report.plotting.paper import PAGE, Paper
from difgen_cli.report.study import blind
from difgen_cli.report.study.curves import SIZE, STEPS, Curves, over_seeds

ORDER = 104
ROWS = (
    FacetRow("dire_auc", "AUROC of membership by the error of inversion", marks=(0.5,)),
    FacetRow("inv_nll_gap", "held-out minus training: nats of the latent", marks=(0.0,)),
    FacetRow(
        "dire_error", "error of inversion (rms)", scale="log",
        beside=(("dire_error_control", "held-out images", DASHED),),
    ),
)  # fmt: skip
COVERS = (*(row.metric for row in ROWS), "dire_error_control")


def draw(curves: Curves, paper: Paper = PAGE) -> list[DrawnFigure]:
    """AUROC, likelihood of latents and error of inversion over training steps, or against N where steps do not vary."""
    x = next((curves.axis(path) for path in (STEPS, SIZE) if path in curves.paths), None)
    metrics = [name for name in COVERS if name in curves.metrics]
    if x is None or not metrics:
        return []
    planned = facets.plan(curves, x)
    cells = facets.held(curves.along(x), planned)
    by = [axis.path for axis in (planned.x, planned.colour, *planned.columns) if axis]
    numbers = over_seeds(cells, by, metrics, curves.columns)
    if numbers.empty:
        return []
    images = captions.each(cells, "inv_images", "images of T and as many of H")
    notes = [
        f"The probability flow from each image up to noise and down again; at one number of steps{images}.",
        captions.snapshot_along(curves, x),
    ]
    if blind.refused(cells).any():
        notes.append(f"Cells of which {blind.UNLIKE} are not drawn.")
    text = Text(
        "inversion",
        "Are training images told from others by a walk to noise and back?",
        f"AUROC of the error of inversion, training against held-out images (0.5: not at all), and the likelihood of "
        f"their latents, against {labels.setting(x.path)}{planned.words}.",
        notes,
        measures.all_ranges,
    )
    return [facets.draw(curves, numbers, planned, ROWS, text, paper)]
