"""Samples of the least and the most certain conditions (Adaloglou et al. 2025), a panel for each conditioning."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from difgen_cli.report.plotting import captions, facets, labels, layout, style
from difgen_cli.report.plotting.facets import Text
from difgen_cli.report.plotting.layout import DrawnFigure
from difgen_cli.report.plotting.paper import PAGE, Paper
from difgen_cli.report.study.curves import STEPS, Curves, last_snapshot

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ORDER = 96
TABLE = "cluster_confidence"
COVERS: tuple[str, ...] = ()
EACH = 3  # conditions at either end
SHOWN = 8  # samples of a condition
CELLS_MOST = 4


def draw(curves: Curves, paper: Paper = PAGE) -> list[DrawnFigure]:
    """For some cells of the first seed a panel with a line of samples for each of the least and most certain ones."""
    table = curves.tables.get(TABLE, pd.DataFrame())
    if table.empty or curves.album is None:
        return []
    paths = [path for path in curves.paths if path != STEPS and path in table]
    lines = last_snapshot(table, paths)
    lines = lines[lines["seed"] == lines["seed"].min()]
    axes = [axis for axis in curves.others() if axis.path in paths and lines[axis.path].nunique() > 1]
    shown, left_out = layout.panels(axes, lines, min(CELLS_MOST, 2 * paper.across_most))
    cells = [(panel, ends(facets.at(lines, panel))) for panel in shown]
    grids = [[curves.album.samples_under(str(row["cell"]), int(row["label"]), SHOWN) for row in rows.to_dict("records")]
             for _, rows in cells]  # fmt: skip
    pictured = [
        (panel, rows, images) for (panel, rows), images in zip(cells, grids, strict=True) if any(map(len, images))
    ]
    if not pictured:
        return []
    across = min(2, paper.across_most, len(pictured))
    sheet = layout.sheet(paper, -(-len(pictured) // across), across, None, alike=False)
    for ax in list(sheet.grid.flat)[len(pictured) :]:
        ax.set_visible(False)
    for ax, (panel, rows, images) in zip(sheet.grid.flat, pictured, strict=False):
        _panel(ax, rows, images)
        sheet.entitle(ax, panel)
    numbers = pd.concat([rows for _, rows, _ in pictured])
    what = (
        f"Up to {SHOWN} samples under each of the {EACH} least certain conditions (above) and the {EACH} most certain "
        "ones (below), with the mean confidence of their training images and its 95 % interval: the first samples in "
        f"their order, none chosen. Seed {labels.text(numbers['seed'].iloc[0])}; confidences of two conditionings are "
        "on scales of their own."
    )
    text = Text("cluster-samples", "Are samples of certain clusters better?", what)
    caption = " ".join(filter(None, [what, captions.missing(curves), captions.omitted(left_out)]))
    return [facets.finished(curves, numbers, text, sheet, None, caption=caption)]


def ends(lines: pd.DataFrame) -> pd.DataFrame:
    """The lines of a cell's least and most certain conditions, of those with samples, the least certain first."""
    drawn = lines[lines["samples"] > 0].sort_values(["confidence", "label"])
    return drawn if len(drawn) <= 2 * EACH else pd.concat([drawn.head(EACH), drawn.tail(EACH)])


def _panel(ax: Axes, rows: pd.DataFrame, images: list[np.ndarray]) -> None:
    """A line of samples for each condition, without space between them, and its confidence beside."""
    side, wide, colours = next(part.shape[1:] for part in images if len(part))
    sheet = np.full((len(images) * (side + 1) - 1, SHOWN * (wide + 1) - 1, colours), 255, np.uint8)
    for line, part in enumerate(images):
        for place, image in enumerate(part):
            top, left = line * (side + 1), place * (wide + 1)
            sheet[top : top + side, left : left + wide] = image
    ax.imshow(sheet if colours == 3 else sheet[..., 0], cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    words = [_confidence(*row) for row in rows[["confidence", "confidence_lo", "confidence_hi"]].to_numpy(float)]
    ax.set_yticks([line * (side + 1) + (side - 1) / 2 for line in range(len(images))], words)
    ax.set_xticks([])
    ax.tick_params(length=0)
    ax.grid(visible=False)
    for spine in ax.spines.values():
        spine.set_color(style.GRID)


def _confidence(mean: float, low: float, high: float) -> str:
    between = f" [{labels.number(low)}, {labels.number(high)}]" if np.isfinite(low) else ""
    return f"{labels.number(mean)}{between}"
