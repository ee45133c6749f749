"""Reconstructions of some training and held-out images over training (Kaiser & Kollmann 2026), as pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from difgen_cli.report.plotting import captions, facets, labels, layout, style
from difgen_cli.report.plotting.facets import Text
from difgen_cli.report.plotting.layout import DrawnFigure
from difgen_cli.report.plotting.paper import PAGE, Paper
from difgen_cli.report.study.curves import STEPS, Curves

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ORDER = 56
TABLE = "reconstruction_pictures"
COVERS: tuple[str, ...] = ()
SPLITS = {"train": "training images", "heldout": "held-out images"}
STEPS_MOST = 5


def draw(curves: Curves, paper: Paper = PAGE) -> list[DrawnFigure]:
    """A panel for each split: a line for each image, clean, with noise, and as reconstructed at some steps."""
    table = curves.tables.get(TABLE, pd.DataFrame())
    if table.empty:
        return []
    axes = [axis for axis in curves.axes if axis.path in table and table[axis.path].nunique() > 1]
    held = {axis.path: axis.levels[0] for axis in axes if axis.path != STEPS}
    lines = facets.at(table, held)
    lines = lines[lines["seed"] == lines["seed"].min()]
    if lines.empty:
        return []
    over = [axis for axis in axes if axis.path == STEPS]
    snapshots, left_out = layout.panels(over, lines, STEPS_MOST)
    sheet = layout.sheet(paper, 1, 2, None) if paper.across_most > 2 else layout.sheet(paper, 2, 1, None)
    for ax, (split, words) in zip(sheet.grid.flat, SPLITS.items(), strict=True):
        _panel(ax, lines[lines["split"] == split], snapshots)
        ax.set_title(sheet.title(words))
    sigma = labels.text(float(lines["sigma_rel"].iloc[0]))
    at = "".join(f", {labels.level(path, level)}" for path, level in held.items())
    after = " after so many training steps" if over else ""
    what = (
        f"Clean images, the same with noise (σ/σ_d = {sigma}), and what the denoiser makes of that{after}: the first "
        f"{lines['image'].nunique()} of T and of H, none chosen, under the same noise at every step{at}, seed "
        f"{labels.text(lines['seed'].iloc[0])}. Values beyond black and white are cut."
    )
    text = Text("reconstruction-pictures", "What does the denoiser make of noisy images?", what)
    caption = " ".join(filter(None, [what, captions.missing(curves), captions.omitted(left_out)]))
    return [facets.finished(curves, lines, text, sheet, None, caption=caption)]


def _panel(ax: Axes, some: pd.DataFrame, snapshots: list[layout.Panel]) -> None:
    """The images of one split below each other, a white line between them."""
    first = facets.at(some, snapshots[0])
    columns = [("clean", first, "clean"), ("noisy", first, "noisy")]
    columns += [(panel.get(STEPS, "D(x)"), facets.at(some, panel), "reconstruction") for panel in snapshots]
    rows, wide, colours = (int(some[name].max()) + 1 for name in ("row", "column", "colour"))
    numbers = sorted(some["image"].unique())
    sheet = np.ones((len(numbers) * (rows + 1) - 1, len(columns) * (wide + 1) - 1, colours))
    for across, (_, part, name) in enumerate(columns):
        for down, number in enumerate(numbers):
            mine = part[part["image"] == number]
            place = (down * (rows + 1) + mine["row"], across * (wide + 1) + mine["column"], mine["colour"])
            sheet[tuple(axis.to_numpy(int) for axis in place)] = mine[name].to_numpy(float)
    pixels = np.clip((sheet + 1) / 2, 0, 1)
    ax.imshow(pixels if colours == 3 else pixels[..., 0], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    middles = [across * (wide + 1) + (wide - 1) / 2 for across in range(len(columns))]
    ax.set_xticks(middles, [word for word, _, _ in columns])
    ax.set_yticks([])
    ax.tick_params(length=0)
    ax.grid(visible=False)
    for spine in ax.spines.values():
        spine.set_color(style.GRID)
