"""Points in two dimensions: the ways of single samples, and one of them with the directions of error and guidance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from difgen_cli.report.plotting import captions, facets, labels, layout, style
from difgen_cli.report.plotting.facets import Text
from difgen_cli.report.plotting.layout import DrawnFigure
from difgen_cli.report.plotting.paper import PAGE, Paper
from difgen_cli.report.study.curves import STEPS, CurveAxis, Curves, last_snapshot
from difgen_cli.report.study.errors_along import WEIGHT
from difgen_cli.report.study.paths import TABLE, best_weights, moved, weight_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ORDER = 121
COVERS: tuple[str, ...] = ()
SHOWN = 8  # samples whose ways are drawn
ROWS_MOST, PANELS_MOST = 3, 5
MARGIN = 0.45  # how far panels reach beyond the points, as a share of their half-width
ARROW = 0.2  # length of an arrow, in half-widths of the points
TRAIN, HELD_OUT, AWAY, ERROR = style.WORDS[1], style.WORDS[0], style.WORDS[2], style.WORDS[6]
PALETTE = dict(zip((TRAIN, HELD_OUT, AWAY, ERROR), (style.WORDS_DARK[k] for k in (1, 0, 2, 6)), strict=True))
IDEAL = "ideal denoiser"


def draw(curves: Curves, paper: Paper = PAGE) -> list[DrawnFigure]:
    """The ways of the first samples, of the ideal denoiser and at the levels of the weight of guidance, or of an axis.

    From the same noise, in a row for each level of a second axis, the others at a middle level. Then, where guidance
    moves anything, the way of one sample of each row with its directions.
    """
    table = curves.tables.get(TABLE, pd.DataFrame())
    if table.empty:
        return []
    paths = [path for path in curves.paths if path != STEPS and path in table]
    axes = [axis for axis in curves.others() if axis.path in paths]
    across = next((axis for axis in axes if axis.path.endswith(WEIGHT)), axes[0] if axes else None)
    rest = [axis for axis in axes if axis is not across]
    down = next((axis for axis in rest if axis.path.startswith("guide.")), rest[0] if rest else None)
    lines = last_snapshot(table, paths)
    lines = lines[lines["seed"] == lines["seed"].min()]
    if lines.empty:
        return []
    rows, left_out = layout.panels([down] if down else [], lines, min(ROWS_MOST, paper.across_most))
    held = [axis for axis in rest if axis is not down]
    shown = [WayRow(panel, *_middle(facets.at(lines, panel), held)) for panel in rows]
    drawn = [_ways(curves, shown, across, left_out, paper)]
    guided = [(row, one) for row in shown if (one := _guided(row.lines)) is not None]
    return [*drawn, _one(curves, guided, _sample(guided[0][1]), across, paper)] if guided else drawn


@dataclass(frozen=True)
class WayRow:
    """The level that a row of panels shows, its lines, and the levels at which the other axes are held."""

    panel: layout.Panel
    lines: pd.DataFrame
    held: layout.Panel

    def words(self, **more: str) -> str:
        return ", ".join(labels.level(path, level) for path, level in {**self.panel, **self.held, **more}.items())


def _middle(lines: pd.DataFrame, axes: list[CurveAxis]) -> tuple[pd.DataFrame, layout.Panel]:
    """The lines at the middle one of the levels that they have, axis by axis; and these, where there were more."""
    held = {}
    for axis in axes:
        present = [level for level in axis.levels if (lines[axis.path] == level).any()]
        if present:
            lines = lines[lines[axis.path] == present[len(present) // 2]]
        if len(present) > 1:
            held[axis.path] = present[len(present) // 2]
    return lines, held


def _ways(curves: Curves, rows: list[WayRow], across: CurveAxis | None, left_out: int, paper: Paper) -> DrawnFigure:
    """A row of panels for each level: the ideal denoiser, and one for each level of the axis across."""
    every = pd.concat([row.lines for row in rows])
    levels = [panel[across.path] for panel in layout.panels([across], every, PANELS_MOST)[0]] if across else [""]
    ideals = [_ideal(curves, row.lines) for row in rows]
    first = [None] if any(len(ideal) for ideal in ideals) else []
    columns: list[str | None] = [*first, *levels]
    sheet = layout.lattice(paper, len(rows), len(columns), None)
    for axes, row, ideal in zip(sheet.grid, rows, ideals, strict=True):
        for ax, level in zip(axes, columns, strict=True):
            own = row.lines if not across or level is None else row.lines[row.lines[across.path] == level]
            some = ideal if level is None else own
            _points(ax, row.lines)
            for _, way in _of_samples(some, SHOWN):
                _way(ax, way)
            more = {across.path: level} if across and level else {}
            ax.set_title(
                sheet.title(row.words(**more) if level is not None else ", ".join(filter(None, [IDEAL, row.words()])))
            )
    _legend(sheet, [("way of a sample", style.MUTED, "-", ""), ("estimate D(x; σ) on it", AWAY, "none", "."),
                    ("sample", style.INK, "none", "x")])  # fmt: skip
    sheet.name_axes("first coordinate", "second coordinate")
    count = min(SHOWN, int((every[every["cell"] == every["cell"].iloc[0]]["kind_of_point"] == "end").sum()))
    panels_words = f", one panel per value of {labels.setting(across.path)}" if across else ""
    ideal_words = f" and one for the {IDEAL} of the training points" if first else ""
    what = (
        f"Ways of the first {count} samples in the plane, from the same noise to their ends, with what the denoiser "
        f"estimates on the way{panels_words}{ideal_words}. Panels show the surroundings of the points: ways begin "
        f"outside. Seed {labels.text(every['seed'].iloc[0])}; no feature space."
    )
    return _finished(curves, every, Text("sample-paths", "How do single samples come about?", what), sheet, left_out)


def _way(ax: Axes, way: pd.DataFrame) -> None:
    """One sample from the highest level to its end, and the estimates."""
    x, y = way["x"].to_numpy(float), way["y"].to_numpy(float)
    ax.plot(x, y, color=style.MUTED, linewidth=0.9, zorder=2)
    step = moved(way[way["kind_of_point"] == "path"], "")
    n = len(step)
    ax.plot(x[:n] + step[:, 0], y[:n] + step[:, 1], ".", color=AWAY, markersize=3, zorder=5)
    ax.plot(x[-1:], y[-1:], "x", color=style.INK, markersize=5, zorder=6)


def _one(
    curves: Curves, cells: list[tuple[WayRow, pd.DataFrame]], sample: int, across: CurveAxis | None, paper: Paper
) -> DrawnFigure:
    """The way of a sample in the cell of each row, with unit arrows of error and guidance; weights are in the words."""
    sheet = layout.lattice(paper, 1, len(cells), None)
    numbers, sentences = [], []
    for ax, (row, lines) in zip(sheet.grid[0], cells, strict=True):
        way = lines[(lines["kind_of_point"] == "path") & (lines["point"] == sample)].sort_values("sigma")
        own, weight = moved(way, "own_"), weight_of(lines)
        direction, error = (moved(way, "") - own) / weight, own - moved(way, "train_")
        best = best_weights(error, direction)
        end = lines[(lines["kind_of_point"] == "end") & (lines["point"] == sample)]
        _points(ax, lines)
        _arrows(ax, pd.concat([end, way]), error, direction, ARROW * _half_width(lines))
        more = {across.path: str(lines[across.path].iloc[0])} if across else {}
        ax.set_title(sheet.title(row.words(**more)))
        listed = "; ".join(
            f"{labels.number(float(value))} at {labels.number(float(sigma))} σ_d"
            for sigma, value in zip(way["sigma_rel"], best, strict=True) if np.isfinite(value)
        )  # fmt: skip
        sentences.append(f"{words}: {listed}." if (words := row.words(**more)) else f"{listed}.")
        numbers.append(way.assign(optimal_weight=best, error_x=error[:, 0], error_y=error[:, 1],
                                  direction_x=direction[:, 0], direction_y=direction[:, 1]))  # fmt: skip
    _legend(sheet, [("way of the sample", style.MUTED, "-", "."), ("direction of its error", ERROR, "none", ">"),
                    ("direction of guidance", AWAY, "none", ">"), ("sample", style.INK, "none", "x")])  # fmt: skip
    sheet.name_axes("first coordinate", "second coordinate")
    what = (
        f"The way of sample {sample}, which guidance moves by the median of all in the first panel: at each noise "
        "level the direction of the network's error to the posterior mean over the training points of its condition, "
        "and the direction of guidance, as arrows of one length. The weight of the least error there, −⟨e, d⟩/|d|²: "
        f"{' '.join(sentences)} A single sample, so that there is no interval; no feature space."
    )
    text = Text("path-directions", "Where does guidance push a sample, and where should it?", what)
    return _finished(curves, pd.concat(numbers), text, sheet, 0)


def _arrows(ax: Axes, way: pd.DataFrame, error: np.ndarray, direction: np.ndarray, length: float) -> None:
    """The way from its end to the highest level; at all but the end unit vectors of both (n, 2), `length` long."""
    x, y = way["x"].to_numpy(float), way["y"].to_numpy(float)
    ax.plot(x, y, color=style.MUTED, linewidth=1.1, marker=".", markersize=3, zorder=2)
    ax.plot(x[:1], y[:1], "x", color=style.INK, markersize=6, zorder=6)
    for vectors, colour in ((error, ERROR), (direction, AWAY)):
        ends = length * vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        ax.quiver(x[1:], y[1:], ends[:, 0], ends[:, 1], color=colour, angles="xy", scale_units="xy", scale=1.0,
                  width=0.006, zorder=4)  # fmt: skip


def _finished(curves: Curves, lines: pd.DataFrame, text: Text, sheet: layout.FigureSheet, left_out: int) -> DrawnFigure:
    caption = " ".join(filter(None, [text.what, captions.missing(curves), captions.omitted(left_out)]))
    drawn = facets.finished(curves, lines, text, sheet, None, caption=caption)
    return replace(drawn, palette=PALETTE)


def _ideal(curves: Curves, lines: pd.DataFrame) -> pd.DataFrame:
    """The lines of the ideal denoiser of the same training points and conditions; none where it was not scored."""
    table = curves.reference_tables.get(TABLE, pd.DataFrame())
    if table.empty:
        return table

    def points(frame: pd.DataFrame) -> set[tuple[float, ...]]:
        train = frame[frame["kind_of_point"] == "train"]
        return set(train[["x", "y", "label"]].itertuples(index=False, name=None))

    ideals = (one for _, one in table[table["kind"] == "ideal"].groupby("cell", sort=False))
    return next((one for one in ideals if points(one) == points(lines)), table.iloc[:0])


def _guided(lines: pd.DataFrame) -> pd.DataFrame | None:
    """The cell of the largest weight of guidance; None where guidance moves nothing."""
    cells = [one for _, one in lines.groupby("cell", sort=False) if weight_of(one)]
    chosen = max(cells, key=weight_of, default=None)
    return chosen if chosen is not None and _pushed(chosen).any() else None


def _pushed(lines: pd.DataFrame) -> pd.Series:
    """How far guidance moves the estimate on the way of each sample in all, by sample."""
    way = lines[lines["kind_of_point"] == "path"]
    lengths = pd.Series(np.linalg.norm(moved(way, "") - moved(way, "own_"), axis=1), way["point"].to_numpy())
    pushed: pd.Series = lengths.groupby(level=0).sum()
    return pushed


def _sample(lines: pd.DataFrame) -> int:
    """The sample that guidance moves by the median of all."""
    ranked = _pushed(lines).sort_values(kind="stable")
    return int(ranked.index[len(ranked) // 2])


def _of_samples(lines: pd.DataFrame, most: int) -> Iterator[tuple[int, pd.DataFrame]]:
    """The way of each of the first samples, from the highest level to its end."""
    ways = lines[lines["kind_of_point"].isin(["path", "end"]) & (lines["point"] < most)]
    for sample, way in ways.groupby("point", sort=True):
        yield int(str(sample)), way.sort_values("sigma", ascending=False)


def _half_width(lines: pd.DataFrame) -> float:
    points = lines[lines["kind_of_point"] == "train"]
    return max(float(np.ptp(points["x"])), float(np.ptp(points["y"]))) / 2 or 1.0


def _points(ax: Axes, lines: pd.DataFrame) -> None:
    """Dots for T and rings for H, in a square about them."""
    train, held_out = (lines[lines["kind_of_point"] == kind] for kind in ("train", "held_out"))
    ax.plot(held_out["x"], held_out["y"], "o", color=HELD_OUT, mfc=style.PAPER, markersize=4.5, mew=1.2, zorder=3)
    ax.plot(train["x"], train["y"], "o", color=TRAIN, markersize=5, zorder=4)
    reach = (1 + MARGIN) * _half_width(lines)
    for name, limit in (("x", ax.set_xlim), ("y", ax.set_ylim)):
        middle = float(train[name].max() + train[name].min()) / 2
        limit(middle - reach, middle + reach)
    ax.set_aspect("equal", adjustable="box")
    ax.grid(visible=False)


def _legend(sheet: layout.FigureSheet, others: list[tuple[str, str, Any, str]]) -> None:
    from matplotlib.lines import Line2D

    points = [
        Line2D([], [], color=TRAIN, marker="o", markersize=5, linestyle="none", label="training points"),
        Line2D([], [], color=HELD_OUT, mfc=style.PAPER, marker="o", markersize=5, ls="none", label="held-out points"),
    ]
    drawn = [Line2D([], [], color=colour, linestyle=dashes, marker=marker, label=words)
             for words, colour, dashes, marker in others]  # fmt: skip
    sheet.key([*points, *drawn])
