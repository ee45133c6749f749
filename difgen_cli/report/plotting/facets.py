"""A figure of rows and columns: a measure in each row, a level of some setting in each column, lines within."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from difgen_cli.report.plotting import captions, labels, layout, scales, style
from difgen_cli.report.plotting.layout import DrawnFigure
from difgen_cli.report.plotting.paper import Paper
from difgen_cli.report.study.curves import STEPS, CurveAxis, Curves, last_snapshot, over_seeds

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DOTTED, DASHED = (0, (1.5, 1.5)), (0, (5, 2))
COLUMNS_MOST = 4


@dataclass(frozen=True)
class FacetRow:
    """One row of panels: `metric` of the numbers, its words, and how its axis runs.

    marks: values that a reader needs to see, as thin grey lines. beside: other metrics of the numbers, drawn as broken
    lines, as (metric, words, line). scale: share, log, or plain (fitted to the values and marks). whole: the intervals
    fit too.
    """

    metric: str
    label: str
    scale: str = "plain"
    marks: tuple[float, ...] = ()
    beside: tuple[tuple[str, str, Any], ...] = ()
    whole: bool = False


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


def plan(curves: Curves, x: CurveAxis, *columns: CurveAxis, there: Sequence[str] | None = None) -> FacetPlan:
    """Of the axes but `x` (and but steps, where x is something else) the first is coloured.

    The rest become columns, or are held at their last level where `columns` are given. `there`: axes that exist.
    """
    others = [axis for axis in curves.others(x) if there is None or axis.path in there]
    others = [axis for axis in others if axis.path != STEPS]
    colour, rest = (others[0], others[1:]) if others else (None, [])
    if columns:
        return FacetPlan(x, colour, columns, tuple((axis.path, axis.levels[-1]) for axis in rest))
    return FacetPlan(x, colour, tuple(rest))


def held(frame: pd.DataFrame, made: FacetPlan) -> pd.DataFrame:
    """The lines of a frame at the levels that the plan holds."""
    for path, level in made.at:
        frame = frame[frame[path] == level]
    return frame


def by_sigma(curves: Curves, table: pd.DataFrame, metrics: Sequence[str]) -> tuple[pd.DataFrame, CurveAxis] | None:
    """Metrics of a table over its noise levels at the last snapshots, over seeds, and the axis of the levels."""
    present = [name for name in metrics if name in table and table[name].notna().any()]
    if not present or "sigma_rel" not in table:
        return None
    paths = [path for path in curves.paths if path != STEPS and path in table]
    last = last_snapshot(table, paths).drop_duplicates(["cell", "seed", "sigma_rel"])
    last = last.assign(sigma_rel=last["sigma_rel"].round(9))
    numbers = over_seeds(last, [*paths, "sigma_rel"], present, curves.units)
    levels = sorted(numbers["sigma_rel"].unique())
    axis = CurveAxis("sigma_rel", tuple(map(str, levels)), tuple(map(float, levels)), True)
    return numbers.assign(sigma_rel=numbers["sigma_rel"].map(str)), axis


def named_levels(
    curves: Curves, frame: pd.DataFrame, by: Sequence[str], names: Sequence[str], levels: dict[str, str]
) -> pd.DataFrame:
    """Columns `name_050` … over seeds, as the metric `name` with a column `sigma_rel` of the level's words."""
    parts = []
    for ending, level in levels.items():
        numbers = over_seeds(frame, by, [f"{name}_{ending}" for name in names], curves.units)
        if len(numbers):
            metric = numbers["metric"].astype(str).str.removesuffix(f"_{ending}")
            parts.append(numbers.assign(metric=metric, sigma_rel=level))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


Also = Callable[["Axes", FacetRow, layout.Panel], None]


def draw(
    curves: Curves,
    numbers: pd.DataFrame,
    made: FacetPlan,
    rows: Sequence[FacetRow],
    text: Text,
    paper: Paper,
    also: Also | None = None,
) -> DrawnFigure:
    """The figure; `also` adds what is its own to each panel."""
    rows = [row for row in rows if (numbers["metric"] == row.metric).any()]
    shown, left_out = layout.panels(made.columns, most=min(COLUMNS_MOST, paper.across_most))
    alone = len(shown) == 1 and len(rows) > 1  # then the rows stand side by side
    sheet = layout.lattice(paper, len(rows), len(shown), made.colour)
    keys = [axis.path for axis in [*made.columns, *([made.colour] if made.colour else [])]]
    groups = layout.lookup(numbers, [*keys, "metric"], made.x)
    hues = style.colours(made.colour)
    points = len(rows) * len(shown) * len(hues) <= layout.CROWD
    handles: dict[str, Any] = {}
    for row, axes in zip(rows, sheet.grid, strict=True):
        for ax, panel in zip(axes, shown, strict=True):
            handles |= _panel(ax, groups, panel, made, row, points)
            _across(ax, made.x, sheet.letters)
            _up(ax, numbers, row)
            if also:
                also(ax, row, panel)
        axes[0].set_ylabel(layout.wrapped(row.label))
    for axes in sheet.grid if alone else sheet.grid[:1]:
        for ax, panel in zip(axes, shown, strict=True):
            sheet.entitle(ax, panel)
    sheet.name_axes(labels.setting(made.x.path))
    sheet.legend(made.colour, hues, list(handles.values()))
    notes = [*text.notes, captions.omitted(left_out * len(rows))]
    return DrawnFigure(
        name=text.name,
        title=text.title,
        alt=f"Chart. {text.what} {text.beyond(numbers)}".strip(),
        caption=captions.caption(curves, numbers, text.what, *notes, points=points),
        files=sheet.render(),
        data=numbers,
        palette=dict(zip(hues.values(), style.dark_colours(made.colour).values(), strict=True)),
    )


def _panel(
    ax: Axes, groups: layout.Groups, panel: layout.Panel, made: FacetPlan, row: FacetRow, points: bool
) -> dict[str, Any]:
    """Lines of one panel; returns the legend's entries for the lines beside them."""
    shapes, few = style.markers(made.colour), len(style.colours(made.colour)) <= 4
    handles = {}
    for mark in row.marks:
        ax.axhline(mark, color=style.MUTED, linewidth=0.8, zorder=1)
    for level, hue in style.colours(made.colour).items():
        key = (*panel.values(), *([level] if made.colour else []))
        drawn = groups.get((*key, row.metric))
        if drawn is not None:
            layout.line(ax, drawn, hue, shapes[level], band=few, joined=made.x.numeric, points=points)
        for metric, words, dashes in row.beside:
            drawn = groups.get((*key, metric))
            if drawn is not None:
                ax.plot(drawn.x, drawn.mean, color=hue, linestyle=dashes, linewidth=1.1, alpha=0.85, zorder=2)
                handles[metric] = layout.context(words, dashes)
    return handles


def _across(ax: Axes, x: CurveAxis, letters: float) -> None:
    if x.path == "sigma_rel":
        scales.log_scale(ax, "x", x.values[0], x.values[-1], letters)
    else:
        scales.setting_scale(ax, "x", x, letters)


def _up(ax: Axes, numbers: pd.DataFrame, row: FacetRow) -> None:
    """The axis of a row, the same in all its panels: it holds the means, the seeds and the marks."""
    mine = numbers[numbers["metric"].isin([row.metric, *[metric for metric, _, _ in row.beside]])]
    seeds = [name for name in numbers if str(name).startswith("seed_")]
    ends = mine[["lo", "hi"]].to_numpy(float) if row.whole else np.zeros(0)
    values = layout.finite(mine["mean"], mine[seeds].to_numpy(), row.marks, ends)
    if row.scale == "share":
        scales.share_scale(ax, "y", 1.0)
    elif row.scale == "log" and (values > 0).any():
        values = values[values > 0]
        scales.log_scale(ax, "y", float(values.min()), float(values.max()))
    else:
        reach = float(values.max() - values.min()) or max(abs(float(values.max())) * 0.1, 1e-3)
        ax.set_ylim(float(values.min()) - 0.08 * reach, float(values.max()) + 0.08 * reach)
