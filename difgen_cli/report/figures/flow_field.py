"""Points in two dimensions: where the denoiser moves each point, with the training and the held-out points."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from difgen_cli.report.plotting import captions, facets, labels, layout, style
from difgen_cli.report.plotting.facets import Text
from difgen_cli.report.plotting.layout import DrawnFigure
from difgen_cli.report.plotting.paper import PAGE, Paper
from difgen_cli.report.study.curves import STEPS, CurveAxis, Curves, last_snapshot

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ORDER = 120
TABLE = "field"
COVERS: tuple[str, ...] = ()
ROWS_MOST, LEVELS_MOST = 3, 3
TRAIN, HELD_OUT = style.WORDS[1], style.WORDS[0]
ARROWS = 1.3  # the longest arrow of a panel in units of the grid's spacing


def draw(curves: Curves, paper: Paper = PAGE) -> list[DrawnFigure]:
    """Arrows of D(x; σ) − x at a few σ (columns) and levels of one axis (rows), the others at their middle level."""
    table = curves.tables.get(TABLE, pd.DataFrame())
    if table.empty:
        return []
    paths = [path for path in curves.paths if path != STEPS and path in table]
    axes = [axis for axis in curves.others() if axis.path in paths]
    down = next((axis for axis in axes if axis.path.startswith("model.")), axes[0] if axes else None)
    held = {axis.path: axis.levels[len(axis.levels) // 2] for axis in axes if axis is not down}
    lines = facets.at(last_snapshot(table, paths), held)
    lines = lines[lines["seed"] == lines["seed"].min()]
    panels, left_out = layout.panels([down] if down else [], lines, min(ROWS_MOST, paper.across_most))
    sigmas = np.sort(lines["sigma_rel"].unique())[:LEVELS_MOST]
    if not len(sigmas):
        return []
    sheet = layout.lattice(paper, len(panels), len(sigmas), None)
    for row, panel in zip(sheet.grid, panels, strict=True):
        for ax, sigma in zip(row, sigmas, strict=True):
            some = facets.at(lines, panel)
            _panel(ax, some[some["sigma_rel"] == sigma])
            sheet.entitle(ax, {**panel, "sigma_rel": labels.text(float(sigma))})
    _legend(sheet)
    sheet.name_axes("first coordinate", "second coordinate")
    text = Text("flow-field", "Where the denoiser moves each point", _what(down, held, lines))
    caption = " ".join(filter(None, [text.what, captions.missing(curves), captions.omitted(left_out)]))
    drawn = facets.finished(curves, lines, text, sheet, None, caption=caption)
    return [replace(drawn, palette={TRAIN: style.WORDS_DARK[1], HELD_OUT: style.WORDS_DARK[0]})]


def _panel(ax: Axes, some: pd.DataFrame) -> None:
    """Arrows from the grid's points, dots for T, rings for H; squares on the paper are squares in the plane."""
    arrows = some[some["kind_of_point"] == "grid"]
    if len(arrows):
        x, y, u, v = (arrows[name].to_numpy(float) for name in ("x", "y", "dx", "dy"))
        spacing = float(np.diff(np.unique(x)).min()) if len(np.unique(x)) > 1 else 1.0
        length = np.hypot(u, v)
        drawn = (
            ARROWS * spacing / np.sqrt(np.maximum(length, 1e-12) * (length.max() or 1.0))
        )  # as the root of the length
        ax.quiver(
            x, y, u * drawn, v * drawn, color=style.MUTED, angles="xy", scale_units="xy", scale=1.0,
            width=0.006, headwidth=4, headlength=4.5, headaxislength=4, zorder=2,
        )  # fmt: skip
    train, held_out = (some[some["kind_of_point"] == kind] for kind in ("train", "held_out"))
    ax.plot(held_out["x"], held_out["y"], "o", color=HELD_OUT, mfc=style.PAPER, markersize=4.5, mew=1.2, zorder=3)
    ax.plot(train["x"], train["y"], "o", color=TRAIN, markersize=5, zorder=4)
    ax.set_aspect("equal", adjustable="box")
    ax.grid(visible=False)


def _legend(sheet: layout.FigureSheet) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=TRAIN, marker="o", markersize=5, linestyle="none", label="training points"),
        Line2D([], [], color=HELD_OUT, mfc=style.PAPER, marker="o", markersize=5, ls="none", label="held-out points"),
        Line2D([], [], color=style.MUTED, marker=r">", markersize=4, label="D(x; σ) − x"),
    ]
    sheet.key(handles)


def _what(down: CurveAxis | None, held: dict[str, str], lines: pd.DataFrame) -> str:
    at = "".join(f", {labels.level(path, level)}" for path, level in held.items())
    rows = f", one row per value of {labels.setting(down.path)}" if down else ""
    first = lines[lines["cell"] == lines["cell"].iloc[0]].drop_duplicates(["kind_of_point", "x", "y"])
    count = {kind: int((first["kind_of_point"] == kind).sum()) for kind in ("grid", "train", "held_out")}
    seed = labels.text(lines["seed"].iloc[0])
    return (
        f"Arrows from x towards the denoised D(x; σ) at {lines['sigma_rel'].nunique()} noise levels{rows}{at}; the "
        "length of an arrow grows as the root of the distance, and the longest of a panel is fixed. "
        f"{count['grid']} grid points, {count['train']} training and {count['held_out']} held-out points, seed {seed}; "
        "no feature space."
    )
