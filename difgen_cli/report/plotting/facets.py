"""A figure of rows and columns: a measure in each row, a level of some setting in each column, lines within."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from difgen_cli.report.plotting import captions, intervals, labels, layout, scales, style
from difgen_cli.report.plotting.layout import DrawnFigure, Groups, Series
from difgen_cli.report.plotting.paper import Paper
from difgen_cli.report.study.curves import STEPS, CurveAxis, Curves

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DOTTED, DASHED = (0, (1.5, 1.5)), (0, (5, 2))
COLUMNS_MOST = 4


@dataclass(frozen=True)
class FacetRow:
    """One row of panels: `metric` of the numbers, its words, and how its axis runs (`engine.columns.SCALES`).

    marks: values that a reader needs to see, as thin grey lines. beside: other metrics of the numbers, drawn as broken
    lines, as (metric, words, line). shared: these as one grey line where all levels agree. whole: the intervals fit
    too. samples: how many a share is estimated from at most; NaN where that is not known.
    """

    metric: str
    label: str
    scale: str = "linear"
    marks: tuple[float, ...] = ()
    beside: tuple[tuple[str, str, Any], ...] = ()
    shared: bool = False
    whole: bool = False
    samples: float = math.nan


@dataclass(frozen=True)
class FacetPlan:
    """Which axis runs across, which is coloured, which stand side by side; `at`: levels that the rest is held at."""

    x: CurveAxis
    colour: CurveAxis | None
    columns: tuple[CurveAxis, ...]
    at: tuple[tuple[str, str], ...] = ()

    @property
    def words(self) -> str:
        """`, one line per value of … at …`."""
        lines = f", one line per value of {labels.setting(self.colour.path)}" if self.colour else ""
        held = ", ".join(labels.level(path, level) for path, level in self.at)
        return f"{lines}{f', at {held}' if held else ''}"


@dataclass(frozen=True)
class Text:
    """What a figure says of itself."""

    name: str
    title: str
    what: str
    notes: Sequence[str] = ()
    beyond: Callable[[pd.DataFrame], str] = field(
        default=lambda numbers: ""
    )  # a last sentence for those who cannot see


@dataclass(frozen=True)
class Tiles:
    """Panels of the same measure, one for each combination of levels, in rows of equal length."""

    sheet: layout.FigureSheet
    panels: list[tuple[Axes, layout.Panel]]
    left_out: int  # combinations without a panel


def tiles(
    axes: Sequence[CurveAxis], numbers: pd.DataFrame, colour: CurveAxis | None, paper: Paper, most: int,
    across_most: int = 4,
) -> Tiles:  # fmt: skip
    """Titled panels for the combinations of the levels of `axes` in `numbers`, at most `most`, and a legend's room."""
    shown, left_out = layout.panels(axes, numbers, most)
    across = layout.columns(axes, shown, paper, most=across_most)
    sheet = layout.sheet(paper, -(-len(shown) // across), across, colour)
    flat = list(sheet.grid.flat)
    for place, ax in enumerate(flat[len(shown) :], len(shown)):
        ax.set_visible(False)
        flat[place - across].tick_params(labelbottom=True)  # nothing below it has the numbers of its axis
    panels = list(zip(flat, shown, strict=False))
    for ax, panel in panels:
        sheet.entitle(ax, panel)
    return Tiles(sheet, panels, left_out)


def plan(curves: Curves, x: CurveAxis, *columns: CurveAxis, present: Sequence[str] | None = None) -> FacetPlan:
    """Of the axes but `x` (and but steps, where x is something else) the first is coloured.

    The rest become columns, or are held at their last level where `columns` are given. present: paths that exist.
    """
    others = [axis for axis in curves.others(x) if present is None or axis.path in present]
    others = [axis for axis in others if axis.path != STEPS]
    colour, rest = (others[0], others[1:]) if others else (None, [])
    if columns:
        return FacetPlan(x, colour, columns, tuple((axis.path, axis.levels[-1]) for axis in rest))
    return FacetPlan(x, colour, tuple(rest))


def held(frame: pd.DataFrame, planned: FacetPlan) -> pd.DataFrame:
    """The lines of a frame at the levels that the plan holds."""
    return at(frame, dict(planned.at))


def at(frame: pd.DataFrame, levels: layout.Panel) -> pd.DataFrame:
    """The lines of a frame at these levels of its axes."""
    for path, level in levels.items():
        if path in frame:
            frame = frame[frame[path] == level]
    return frame


def groups(numbers: pd.DataFrame, axes: Sequence[CurveAxis], colour: CurveAxis | None, x: CurveAxis | None) -> Groups:
    """The lines over `x`, by the levels of `axes`, the coloured level and the metric."""
    return layout.lookup(numbers, [*(axis.path for axis in [*axes, *([colour] if colour else [])]), "metric"], x)


def levels(
    lines: Groups, panel: layout.Panel, colour: CurveAxis | None, *metrics: str
) -> Iterator[tuple[str, str, list[Series | None]]]:
    """Colour and marker of each coloured level, and its lines of these metrics; None where one was not measured."""
    shapes = style.markers(colour)
    for level, hue in style.colours(colour).items():
        key = (*panel.values(), *([level] if colour else []))
        yield hue, shapes[level], [lines.get((*key, metric)) for metric in metrics]


Also = Callable[["Axes", FacetRow, layout.Panel], None]
Up = Callable[["Axes", pd.DataFrame, FacetRow], str]


def draw(
    curves: Curves,
    numbers: pd.DataFrame,
    planned: FacetPlan,
    rows: Sequence[FacetRow],
    text: Text,
    paper: Paper,
    *,
    also: Also | None = None,
    up: Up | None = None,
    most: int = COLUMNS_MOST,
) -> DrawnFigure:
    """The figure. also: adds what is its own to each panel. up: runs the axis of a row, and says what a caption must.

    most: columns.
    """
    rows = [row for row in rows if (numbers["metric"] == row.metric).any()]
    shown, left_out = layout.panels(planned.columns, numbers, min(most, paper.across_most))
    alone = len(shown) == 1 and len(rows) > 1  # then the rows stand side by side
    sheet = layout.lattice(paper, len(rows), len(shown), planned.colour)
    lines = groups(numbers, planned.columns, planned.colour, planned.x)
    points = len(rows) * len(shown) * len(style.colours(planned.colour)) <= layout.CROWD
    handles: dict[str, Any] = {}
    remarks: list[str] = []
    for row, axes in zip(rows, sheet.grid, strict=True):
        for ax, panel in zip(axes, shown, strict=True):
            across(ax, planned.x, sheet.letters)
            remarks.append((up or _up)(ax, numbers, row))
            handles |= draw_panel(ax, lines, panel, planned, row, points=points)
            if also:
                also(ax, row, panel)
        axes[0].set_ylabel(layout.wrapped(row.label))
    for axes in sheet.grid if alone else sheet.grid[:1]:
        for ax, panel in zip(axes, shown, strict=True):
            sheet.entitle(ax, panel)
    sheet.name_axes(labels.setting(planned.x.path))
    sheet.legend(planned.colour, style.colours(planned.colour), list(handles.values()))
    notes = [*text.notes, *dict.fromkeys(remarks), captions.omitted(left_out * len(rows))]
    return finished(curves, numbers, replace(text, notes=notes), sheet, planned.colour, points=points)


def finished(
    curves: Curves,
    numbers: pd.DataFrame,
    text: Text,
    sheet: layout.FigureSheet,
    colour: CurveAxis | None,
    *,
    caption: str | None = None,
    points: bool = False,
) -> DrawnFigure:
    """What is on the sheet as a figure; caption: in place of what every figure states. points: it shows the seeds."""
    if caption is None:
        caption = captions.caption(curves, numbers, text.what, *text.notes, points=points)
    if intervals.has_wide(sheet.figure):
        caption += f" {captions.WIDE}"
    return DrawnFigure(
        name=text.name,
        title=text.title,
        alt=f"Chart. {text.what} {text.beyond(numbers)}".strip(),
        caption=caption,
        files=sheet.render(),
        data=numbers,
        palette=style.palette(colour),
    )


def draw_panel(
    ax: Axes, lines: Groups, panel: layout.Panel, planned: FacetPlan, row: FacetRow, *, points: bool
) -> dict[str, Any]:
    """Lines of one panel, whose axes run as they will; returns the legend's entries for the lines beside them."""
    few = len(style.colours(planned.colour)) <= 4
    handles = {}
    for mark in row.marks:
        ax.axhline(mark, color=style.MUTED, linewidth=0.8, zorder=1)
    names = [metric for metric, _, _ in row.beside]
    for hue, shape, (drawn, *beside) in levels(lines, panel, planned.colour, row.metric, *names):
        if drawn is not None:
            layout.line(ax, drawn, hue, shape, band=few, joined=planned.x.numeric, points=points)
        for other, (_, words, dashes) in zip(beside, row.beside, strict=True):
            if other is not None and not row.shared:
                _broken(ax, other.x, other.mean, hue, dashes, True)
                handles[f"{words} {dashes}"] = layout.context(words, dashes)
    return handles | (_shared(ax, lines, panel, planned, row) if row.shared else {})


def _shared(ax: Axes, lines: Groups, panel: layout.Panel, planned: FacetPlan, row: FacetRow) -> dict[str, Any]:
    """What a row is read beside: one grey line where all levels share it, else one in each level's colour."""
    handles = {}
    for metric, words, dashes in row.beside:
        own = {hue: drawn for hue, _, (drawn,) in levels(lines, panel, planned.colour, metric) if drawn is not None}
        if not own:
            continue
        handles[metric] = layout.context(words, dashes)
        table = np.array([drawn.mean for drawn in own.values()])
        spread = np.nanmax(table, axis=0, initial=-np.inf) - np.nanmin(table, axis=0, initial=np.inf)
        if np.nanmax(spread) <= 1e-3 * max(1e-9, float(np.nanmax(np.abs(table)))):
            filled = np.array([np.nan if np.isnan(c).all() else np.nanmean(c) for c in table.T])
            _broken(ax, next(iter(own.values())).x, filled, style.MUTED, dashes, planned.x.numeric)
            continue
        for hue, drawn in own.items():
            _broken(ax, drawn.x, drawn.mean, hue, dashes, planned.x.numeric)
    return handles


def _broken(ax: Axes, x: np.ndarray, y: np.ndarray, hue: str, dashes: Any, joined: bool) -> None:
    if joined:
        ax.plot(x, y, color=hue, linestyle=dashes, linewidth=1.1, alpha=0.85, zorder=2)
    else:
        ax.hlines(y, x - 0.3, x + 0.3, color=hue, linestyle=dashes, linewidth=1.1, alpha=0.85, zorder=2)


def across(ax: Axes, x: CurveAxis, letters: float) -> None:
    """The axis of a setting, or of noise levels."""
    if x.path == "sigma_rel":
        scales.log_scale(ax, "x", x.values[0], x.values[-1], letters)
    else:
        scales.setting_scale(ax, "x", x, letters)


def _up(ax: Axes, numbers: pd.DataFrame, row: FacetRow) -> str:
    """The axis of a row, the same in all its panels: it holds the means, the seeds and the marks."""
    mine = numbers[numbers["metric"].isin([row.metric, *[metric for metric, _, _ in row.beside]])]
    seeds = [name for name in numbers if str(name).startswith("seed_")]
    ends = mine[["lo", "hi"]].to_numpy(float) if row.whole else np.zeros(0)
    values = layout.finite(mine["mean"], mine[seeds].to_numpy(), row.marks, ends)
    if row.scale == "share":
        return scales.share_scale(ax, "y", [1.0])
    if row.scale == "log" and (values > 0).any():
        values = values[values > 0]
        scales.log_scale(ax, "y", float(values.min()), float(values.max()))
    else:
        reach = float(values.max() - values.min()) or max(abs(float(values.max())) * 0.1, 1e-3)
        ax.set_ylim(float(values.min()) - 0.08 * reach, float(values.max()) + 0.08 * reach)
    return ""
