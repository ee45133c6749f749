"""What every figure is made of: panels on a sheet, lines with gaps, legends outside, files."""

from __future__ import annotations

import io
import itertools
import re
import textwrap
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from difgen_cli.report.plotting import intervals, labels, style
from difgen_cli.report.plotting.paper import Paper
from difgen_cli.report.study.curves import CurveAxis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Panel = dict[str, str]  # axis path -> the level that the panel shows


@dataclass(frozen=True)
class DrawnFigure:
    """A finished figure: its texts, its renderings by format, the numbers behind it, and its colours on a dark page."""

    name: str
    title: str
    alt: str
    caption: str
    files: dict[str, bytes]
    data: pd.DataFrame
    palette: dict[str, str]

    @property
    def svg(self) -> str:
        return self.files["svg"].decode()

    @property
    def png(self) -> bytes:
        return self.files["png"]


@dataclass(frozen=True)
class Series:
    """One line over the levels of an axis; NaN where nothing was measured, so that the line breaks there."""

    x: np.ndarray  # (K,)
    mean: np.ndarray  # (K,)
    lo: np.ndarray  # (K,)
    hi: np.ndarray  # (K,)
    seeds: np.ndarray  # (K, S)


Groups = dict[tuple[Hashable, ...], Series]  # (facet levels…, coloured level, metric) -> its line
CROWD = 100  # lines in a figure beyond which single seeds would only be a haze; the CSV has them


def panels(axes: Sequence[CurveAxis], frame: pd.DataFrame, most: int) -> tuple[list[Panel], int]:
    """The facets of all level combinations that `frame` has, and how many were left out to stay within `most`.

    Too many: each axis is thinned alike to its first, last and evenly spaced levels.
    """
    paths = [axis.path for axis in axes]
    measured = [path for path in paths if path in frame]
    combinations = set(frame[measured].itertuples(index=False, name=None))

    def existing(levels: list[list[str]]) -> list[Panel]:
        every = [dict(zip(paths, combination, strict=True)) for combination in itertools.product(*levels)]
        return [panel for panel in every if tuple(panel[path] for path in measured) in combinations]

    levels = [list(axis.levels) for axis in axes]
    whole = chosen = existing(levels)
    while len(chosen) > most:
        longest = max(range(len(levels)), key=lambda i: len(levels[i]))
        if len(levels[longest]) <= 1:
            break
        kept = np.linspace(0, len(axes[longest].levels) - 1, len(levels[longest]) - 1)
        levels[longest] = [axes[longest].levels[round(place)] for place in kept[::-1]][::-1]
        chosen = existing(levels) or chosen[:most]
    return chosen, len(whole) - len(chosen)


@dataclass(frozen=True)
class FigureSheet:
    """A figure's panels on their paper."""

    figure: Figure
    grid: np.ndarray  # (rows, columns) of panels, as they are meant; on narrow paper columns may stand below each other
    paper: Paper
    panel_inches: float  # about how long a panel's x axis is, before anything is laid out
    above: bool  # whether the legend stands above the panels, or beside them

    def entitle(self, ax: Axes, panel: Panel) -> None:
        """The panel's levels above it, wrapped so that neighbours do not touch."""
        words = ", ".join(labels.level(path, word) for path, word in panel.items())
        ax.set_title(self.title(words))

    def title(self, words: str) -> str:
        """Words above a panel in lines that are no wider than it is; dotted paths are broken after a dot."""
        letters = max(8, int((self.panel_inches + 0.4) / self.paper.letter_inches))
        lines = textwrap.wrap(re.sub(r"\.(?=[a-z])", ".\0 ", words), letters)
        return "\n".join(line.replace("\0 ", "").replace("\0", "") for line in lines)

    def name_axes(self, across: str, up: str | None = None) -> None:
        """What the axes of all panels are, once; `render` centres it on the panels."""
        self.figure.supxlabel(across, fontsize="medium", gid="across")
        if up:
            letters = int(0.8 * self.figure.get_figheight() / self.paper.letter_inches)
            self.figure.supylabel("\n".join(textwrap.wrap(up, letters)), fontsize="medium", gid="up")

    def legend(self, axis: CurveAxis | None, colours: dict[str, str], extra: Sequence[Any]) -> None:
        """The levels of the coloured axis and what else is drawn: beside the panels, or above."""
        from matplotlib.lines import Line2D

        shapes, handles = style.markers(axis), []
        if axis is not None:
            for level, colour in colours.items():
                handles.append(Line2D([], [], color=colour, marker=shapes[level], label=level))
        self.key([*handles, *extra], labels.setting(axis.path) if axis is not None else None)

    def key(self, handles: Sequence[Any], title: str | None = None) -> None:
        """A legend of these entries outside the panels."""
        if not handles:
            return
        words = [str(handle.get_label()) for handle in handles]
        place: dict[str, Any] = {"loc": "outside right upper"}
        if self.above:
            place = {"loc": "outside upper left", "ncols": self._beside(words), "columnspacing": 1.2}
        self.figure.legend(handles=handles, title=title, handlelength=2.2, alignment="left", **place)
        if self.above:
            rows = -(-len(words) // place["ncols"])
            lines = rows * (1.3 * max(word.count("\n") + 1 for word in words) + 0.25) + (1.5 if title else 0) + 1
            high = self.figure.get_figheight() + lines * 0.9 * self.paper.points / 72
            self.figure.set_figheight(min(high, self.paper.high_inches))

    def _beside(self, words: Sequence[str]) -> int:
        """Entries of a legend above the panels that stand beside each other."""
        longest = max(len(line) for word in words for line in word.split("\n"))
        entry = 0.42 + 0.62 * self.paper.letter_inches * longest
        return max(1, min(len(words), int((self.figure.get_figwidth() - 0.1) / entry)))

    @property
    def letters(self) -> float:
        """How many letters fit along a panel's x axis."""
        return self.panel_inches / self.paper.letter_inches

    def render(self) -> dict[str, bytes]:
        """The figure's bytes by format; laid out once, with nothing in them that changes from run to run."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        figure = self.figure
        for axis in (axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)):
            if not axis.get_label_text():  # else every drawing looks for its place among all tick labels, for nothing
                axis.set_label_coords(0.5, 0.0)
        FigureCanvasAgg(figure)
        figure.get_layout_engine().execute(figure)  # type: ignore[union-attr]
        figure.set_layout_engine(None)  # else each save would draw once more to lay out
        boxes = [ax.get_position() for ax in figure.axes if ax.get_visible()]
        for text in figure.texts:
            if text.get_gid() == "across":
                text.set_x((min(box.x0 for box in boxes) + max(box.x1 for box in boxes)) / 2)
            elif text.get_gid() == "up":
                text.set_y((min(box.y0 for box in boxes) + max(box.y1 for box in boxes)) / 2)
        return {name: _saved(figure, name, self.paper.dots_per_inch) for name in self.paper.formats}


# what a format would say of the day and the program that made it
SILENT: dict[str, dict[str, None]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None, "Format": None, "Type": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


def _saved(figure: Figure, name: str, dots_per_inch: int) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format=name, dpi=dots_per_inch, metadata=SILENT[name])
    content = file.getvalue()
    return content[content.index(b"<svg") :] if name == "svg" else content


def columns(axes: Sequence[CurveAxis], shown: list[Panel], paper: Paper, most: int = 4) -> int:
    """How many panels stand side by side: the second axis' levels where there are two axes, else at most `most`."""
    across = len({panel[axes[-1].path] for panel in shown}) if len(axes) == 2 else 0
    return across if 1 < across <= paper.across_most else min(most, paper.across_most, len(shown))


def sheet(paper: Paper, rows: int, across: int, colour: CurveAxis | None, *, alike: bool = True) -> FigureSheet:
    """A sheet of rows × across panels (rows `alike` in what they measure) with room for the legend.

    Few panels are drawn larger; a paper's are as wide as they can be.
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    above = _legend_above(paper, across)
    beside = 0.0 if above else paper.legend_inches
    if paper.wide_inches is None:
        wide, high = (4.4, 3.3) if across * rows == 1 else (3.3, 2.6) if across <= 2 else (2.45, 2.15)
        wide, high = (2.9, 2.5) if rows == 1 and across == 3 else (wide, high)
        legend_high = 0.19 * (len(colour.levels) if colour else 0) + 1.75  # inches; 1.75 for what else is drawn
    else:
        wide = (paper.wide_inches - beside) / across
        high = min(max(0.72 * wide + 0.25, 1.3), 2.9, (paper.high_inches - 0.5) / rows)
        legend_high = 0.0 if above else 0.017 * paper.points * (len(colour.levels) if colour else 0) + 1.3
    figure = Figure(
        figsize=(wide * across + beside, max(high * rows + 0.05 * paper.points, legend_high)),
        layout=ConstrainedLayoutEngine(w_pad=0.0085 * paper.points, h_pad=0.0065 * paper.points),
    )
    grid: np.ndarray = figure.subplots(rows, across, squeeze=False, sharex=True, sharey="row" if alike else False)
    return FigureSheet(figure, grid, paper, wide - 0.063 * paper.points, above)


def lattice(paper: Paper, rows: int, across: int, colour: CurveAxis | None) -> FigureSheet:
    """The same for a measure in each row and a level in each column, on whatever side of the paper there is room.

    A single column lies on its side where its panels fit beside each other; columns that do not fit stand below.
    """
    lying = rows > 1 and across == 1 and rows <= paper.across_most
    turned = lying or (across > paper.across_most >= rows)
    if not turned:
        return sheet(paper, rows, across, colour)
    turned_sheet = sheet(paper, across, rows, colour, alike=False)
    return replace(turned_sheet, grid=turned_sheet.grid.T)


def _legend_above(paper: Paper, across: int) -> bool:
    """Whether panels would be narrower than two inches beside a legend."""
    return paper.wide_inches is not None and (paper.wide_inches - paper.legend_inches) / across < 2


def wrapped(label: str) -> str:
    """A label beside an axis in lines of at most 24 letters."""
    return "\n".join(textwrap.wrap(label, 24, break_on_hyphens=False))


def lookup(frame: pd.DataFrame, keys: Sequence[str], axis: CurveAxis | None) -> Groups:
    """The frame's groups as lines over `axis` (one point without one), by the tuple of their keys."""
    if frame.empty:
        return {}
    names = [str(name) for name in frame.columns if str(name).startswith("seed_")]
    numbers = frame[["mean", "lo", "hi", *names]].to_numpy(float)
    x = np.array(axis.values) if axis else np.zeros(1)
    codes = np.zeros(len(frame), dtype=int)
    if axis:
        codes = np.asarray(pd.Categorical(frame[axis.path], categories=list(axis.levels)).codes)
    groups: Groups = {}
    for key, members in frame.groupby(list(keys), observed=True, sort=False).indices.items():
        table = np.full((len(x), numbers.shape[1]), np.nan)
        placed = members[codes[members] >= 0]  # what has no level has no place
        table[codes[placed]] = numbers[placed]
        name = key if isinstance(key, tuple) else (key,)
        groups[name] = Series(x, table[:, 0], table[:, 1], table[:, 2], table[:, 3:])
    return groups


def line(ax: Axes, drawn: Series, colour: str, marker: str, *, band: bool, joined: bool, points: bool) -> None:
    """Means with their intervals, and the single seeds as small points where there are 2 to 5."""
    kind = "-" if joined else "none"
    ax.plot(drawn.x, drawn.mean, color=colour, marker=marker, linestyle=kind, zorder=3)
    lo, hi, wide = intervals.within(ax, drawn)
    if band and joined:
        ax.fill_between(drawn.x, lo, hi, color=colour, alpha=0.14, linewidth=0, zorder=1)
    else:
        ax.plot(*bars(drawn.x, lo, hi), color=colour, linewidth=1, alpha=0.45, zorder=2)
    shown = np.full(len(drawn.x), points and 2 <= drawn.seeds.shape[1] <= 5) | wide
    places = np.repeat(drawn.x[shown], drawn.seeds.shape[1])
    ax.plot(places, drawn.seeds[shown].ravel(), ".", color=colour, markersize=3, alpha=0.55, zorder=2)


def bars(at: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Intervals as one line with gaps (3K,): a hundred times cheaper to draw and to store than K separate ones."""
    return np.repeat(at, 3), np.column_stack([low, high, np.full(len(at), np.nan)]).ravel()


def finite(*arrays: Iterable[float] | np.ndarray) -> np.ndarray:
    """All finite numbers of the arrays, flat."""
    flat = np.concatenate([np.ravel(np.asarray(array, dtype=float)) for array in arrays] or [np.zeros(0)])
    finite_values: np.ndarray = flat[np.isfinite(flat)]
    return finite_values


def context(label: str, linestyle: Any, colour: str = style.MUTED) -> Any:
    """A legend entry for a line drawn as context."""
    from matplotlib.lines import Line2D

    return Line2D([], [], color=colour, linestyle=linestyle, linewidth=1.2, label=label)
