"""Maps of the derivative of one pixel of the estimate, at a training and a held-out image (Kaiser & Kollmann 2026)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from difgen_cli.report.plotting import captions, facets, labels, layout
from difgen_cli.report.plotting.facets import Text
from difgen_cli.report.plotting.layout import DrawnFigure
from difgen_cli.report.plotting.paper import PAGE, Paper
from difgen_cli.report.study.curves import STEPS, CurveAxis, Curves

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ORDER = 115
TABLE = "pixel_map"
COVERS: tuple[str, ...] = ()
SPLITS = {"train": "training image", "heldout": "held-out image"}
MARK = "#3d434f"  # of the middle pixel: the map's own colours are the same on a dark page, and so is this one
LEVELS_MOST = 2  # of the axis whose first and last level have rows


def draw(curves: Curves, paper: Paper = PAGE) -> list[DrawnFigure]:
    """A map for each noise level (columns), each split and the first and last level of one axis (rows)."""
    table = curves.tables.get(TABLE, pd.DataFrame())
    if table.empty:
        return []
    lines, down, held = shown(curves, table)
    panels, _ = layout.panels([down] if down else [], lines, LEVELS_MOST)
    sigmas = np.sort(lines["sigma_rel"].unique())
    rows = [(panel, split) for panel in panels for split in SPLITS]
    sheet = layout.lattice(paper, len(rows), len(sigmas), None)
    for row, (panel, split) in zip(sheet.grid, rows, strict=True):
        for ax, sigma in zip(row, sigmas, strict=True):
            some = facets.at(lines, panel)
            largest = _panel(ax, some[(some["split"] == split) & (some["sigma_rel"] == sigma)])
            words = [labels.level(path, word) for path, word in panel.items()]
            words += [
                SPLITS[split],
                f"σ/σ_d = {labels.text(float(sigma))}",
                f"±\N{NO-BREAK SPACE}{labels.number(largest)}",
            ]
            ax.set_title(sheet.title(", ".join(words)))
    height, width = (int(lines[name].max()) + 1 for name in ("row", "column"))
    what = (
        f"How the pixel in the middle (square; {height} × {width} pixels) of the estimate D changes with each pixel of "
        "the noisy image: blue falls, white 0, red rises, the darkest colour at the number above the panel. The first "
        f"image of T and of H{_words(down, held)}, seed {labels.text(lines['seed'].iloc[0])}; means over colours."
    )
    text = Text("pixel-map", "From where does a pixel of the estimate come?", what)
    caption = " ".join(filter(None, [what, captions.missing(curves)]))
    drawn = facets.finished(curves, lines, text, sheet, None, caption=caption)
    return [replace(drawn, palette={MARK: MARK})]


def shown(curves: Curves, table: pd.DataFrame) -> tuple[pd.DataFrame, CurveAxis | None, dict[str, str]]:
    """Lines of the first image and seed; the axis down, the steps where there are several; the others' last level."""
    axes = [axis for axis in curves.axes if axis.path in table and table[axis.path].nunique() > 1]
    down = next((axis for axis in axes if axis.path == STEPS), axes[0] if axes else None)
    held = {axis.path: axis.levels[-1] for axis in axes if axis is not down}
    lines = facets.at(table, held)
    return lines[(lines["seed"] == lines["seed"].min()) & (lines["image"] == 0)], down, held


def _panel(ax: Axes, some: pd.DataFrame) -> float:
    """The map of one image, its middle pixel marked; returns the largest derivative."""
    size = (int(some["row"].max()) + 1, int(some["column"].max()) + 1) if len(some) else (1, 1)
    image = np.zeros(size)
    image[some["row"].to_numpy(int), some["column"].to_numpy(int)] = some["derivative"].to_numpy(float)
    largest = float(abs(image).max())
    ax.imshow(image, cmap="RdBu_r", vmin=-(largest or 1.0), vmax=largest or 1.0, interpolation="nearest")
    ax.plot(size[1] // 2, size[0] // 2, "s", mfc="none", mec=MARK, mew=1.2, markersize=7)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.grid(visible=False)
    return largest


def _words(down: CurveAxis | None, held: dict[str, str]) -> str:
    rows = f", two rows for the first and last of {labels.setting(down.path)}" if down else ""
    at = " and ".join(labels.level(path, level) for path, level in held.items())
    return f"{rows}, at {at}" if at else rows
