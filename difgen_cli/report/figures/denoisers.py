"""What the denoiser itself tells: whose image it has seen, and which closed form it is near."""

from __future__ import annotations

import pandas as pd

from difgen_cli.report.plotting import captions, facets, labels
from difgen_cli.report.plotting.facets import FacetPlan, FacetRow, Text
from difgen_cli.report.plotting.layout import DrawnFigure
from difgen_cli.report.plotting.paper import PAGE, Paper
from difgen_cli.report.study.curves import SIZE, STEPS, CurveAxis, Curves, last_snapshot

NAMED = {"025": "0.25", "050": "0.5", "100": "1"}
LEVELS = CurveAxis("sigma_rel", tuple(NAMED.values()), (0.25, 0.5, 1.0), True)
MEMBERSHIP = tuple(FacetRow(name, labels.METRICS[name], marks=(0.5,)) for name in ("mia_auc", "mia_twin_auc"))
DEVIATIONS = tuple(
    FacetRow(name, labels.METRICS[name], scale="log") for name in ("ideal_dev", "wiener_dev", "wiener_dev_pool")
)


def membership(curves: Curves, paper: Paper = PAGE) -> DrawnFigure | None:
    """AUROC of membership at three noise levels over training steps, or against N where steps do not vary."""
    x = next((curves.axis(path) for path in (STEPS, SIZE) if path in curves.paths), None)
    rows = [row for row in MEMBERSHIP if any(f"{row.metric}_{ending}" in curves.metrics for ending in NAMED)]
    if x is None or not rows:
        return None
    made = facets.plan(curves, x, LEVELS)
    cells = facets.held(curves.done if x.path == STEPS else last_snapshot(curves.cells, curves.paths), made)
    by = [axis.path for axis in (made.x, made.colour) if axis]
    numbers = facets.named_levels(curves, cells, by, [row.metric for row in rows], NAMED)
    if numbers.empty:
        return None
    what = (
        "How well the denoising loss tells training from held-out images (AUROC, 0.5: not at all) "
        f"against {labels.setting(x.path)}{made.words}."
    )
    if len(rows) > 1:
        what += " Below: the difference of two twins' losses, T of the one against T of the other."
    images = captions.each(cells, "mia_images", "images of T and as many of H")
    notes = [f"Squared error of pixels, at fixed noise levels, never the best of them{images}."]
    notes.append(captions.snapshot(curves, cells) if x.path != STEPS else "")
    text = Text("membership", "Does the loss tell who was trained on?", what, notes, _range)
    return facets.draw(curves, numbers, made, rows, text, paper)


def deviations(curves: Curves, paper: Paper = PAGE) -> DrawnFigure | None:
    """Distance from the ideal denoiser and from the Wiener filters over noise levels, at the last snapshot."""
    table = curves.tables.get("deviation", pd.DataFrame())
    found = facets.by_sigma(curves, table, [row.metric for row in DEVIATIONS])
    if found is None:
        return None
    numbers, sigma = found
    numbers = numbers[numbers["mean"] > 0]
    made: FacetPlan = facets.plan(curves, sigma, there=list(table.columns))
    what = (
        "λ(σ) times the mean squared distance per pixel of the denoiser from the ideal denoiser of the training images "
        f"and from Wiener filters, on noisy training images, over the noise level σ/σ_d{made.words}."
    )
    last = last_snapshot(table, [path for path in curves.paths if path in table])
    pairs = captions.each(last, "n_pairs", "pairs of image and noise")
    notes = [f"0 would be that closed form itself{pairs}.", captions.snapshot(curves, last)]
    text = Text("deviation-over-noise", "Which closed form is the denoiser near?", what, notes, _range)
    return facets.draw(curves, numbers, made, DEVIATIONS, text, paper)


def _range(numbers: pd.DataFrame) -> str:
    parts = [
        f"{name} from {labels.number(means.min())} to {labels.number(means.max())}"
        for name, means in numbers.groupby("metric")["mean"]
    ]
    return f"{'; '.join(parts)}."
