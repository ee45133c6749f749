"""What every figure is made of: panels, scales with readable ticks, lines with gaps, legends outside, files."""

from __future__ import annotations

import io
import itertools
import textwrap
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from difgen_cli.report import labels, scales, style
from difgen_cli.report.curves import Axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Panel = dict[str, str]  # axis path -> the level that the panel shows


@dataclass(frozen=True)
class Drawn:
    """A finished figure: its texts, its two renderings, the numbers behind it, and its colours on a dark page."""

    name: str
    title: str
    alt: str
    caption: str
    svg: str
    png: bytes
    data: pd.DataFrame
    palette: dict[str, str]


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


def panels(axes: Sequence[Axis], most: int) -> tuple[list[Panel], int]:
    """The facets of all level combinations, and how many were left out to stay within `most`.

    Too many: each axis is thinned alike to its first, last and evenly spaced levels.
    """
    levels = [list(axis.levels) for axis in axes]
    total = int(np.prod([len(some) for some in levels], dtype=int))
    while np.prod([len(some) for some in levels], dtype=int) > most:
        longest = max(range(len(levels)), key=lambda i: len(levels[i]))
        if len(levels[longest]) <= 1:
            break
        kept = np.linspace(0, len(axes[longest].levels) - 1, len(levels[longest]) - 1)
        levels[longest] = [axes[longest].levels[round(place)] for place in kept[::-1]][::-1]
    chosen = [dict(zip([a.path for a in axes], combo, strict=True)) for combo in itertools.product(*levels)]
    return chosen, total - len(chosen)


def columns(axes: Sequence[Axis], shown: list[Panel]) -> int:
    """How many panels stand side by side: the second axis' levels where there are two axes, else at most four."""
    across = len({panel[axes[-1].path] for panel in shown}) if len(axes) == 2 else 0
    return across if 1 < across <= 6 else min(4, len(shown))


def sheet(rows: int, across: int, colour: Axis | None, *, alike: bool = True) -> tuple[Figure, np.ndarray]:
    """A figure of rows × across panels (rows `alike` in what they measure) with room for the legend beside them.

    Few panels are drawn larger.
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    wide, high = (4.4, 3.3) if across * rows == 1 else (3.3, 2.6) if across <= 2 else (2.45, 2.15)
    wide, high = (2.9, 2.5) if rows == 1 and across == 3 else (wide, high)
    legend_high = 0.19 * (len(colour.levels) if colour else 0) + 1.75  # inches; 1.75 for what else is drawn
    figure = Figure(
        figsize=(wide * across + scales.LEGEND_WIDE, max(high * rows + 0.5, legend_high)),
        layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.06),
    )
    grid: np.ndarray = figure.subplots(rows, across, squeeze=False, sharex=True, sharey="row" if alike else False)
    return figure, grid


def entitle(ax: Axes, panel: Panel) -> None:
    """The panel's levels above it, wrapped so that neighbours do not touch."""
    words = ", ".join(labels.level(path, word) for path, word in panel.items())
    ax.set_title("\n".join(textwrap.wrap(words, int((scales.wide_inches(ax) + 0.5) / 0.09))))


def wrapped(label: str) -> str:
    """A label beside an axis in lines of at most 24 letters."""
    return "\n".join(textwrap.wrap(label, 24, break_on_hyphens=False))


def lookup(frame: pd.DataFrame, keys: Sequence[str], axis: Axis | None) -> Groups:
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
    ax.plot(drawn.x, drawn.mean, color=colour, marker=marker, markersize=4.5, linestyle=kind, zorder=3)
    if band and joined:
        ax.fill_between(drawn.x, drawn.lo, drawn.hi, color=colour, alpha=0.14, linewidth=0, zorder=1)
    else:
        ax.plot(*bars(drawn.x, drawn.lo, drawn.hi), color=colour, linewidth=1, alpha=0.45, zorder=2)
    if points and 2 <= drawn.seeds.shape[1] <= 5:
        places = np.repeat(drawn.x, drawn.seeds.shape[1])
        ax.plot(places, drawn.seeds.ravel(), ".", color=colour, markersize=3, alpha=0.55, zorder=2)


def bars(at: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Intervals as one line with gaps (3K,): a hundred times cheaper to draw and to store than K separate ones."""
    return np.repeat(at, 3), np.column_stack([low, high, np.full(len(at), np.nan)]).ravel()


def finite(*arrays: Iterable[float] | np.ndarray) -> np.ndarray:
    """All finite numbers of the arrays, flat."""
    flat = np.concatenate([np.ravel(np.asarray(array, dtype=float)) for array in arrays] or [np.zeros(0)])
    known: np.ndarray = flat[np.isfinite(flat)]
    return known


def legend(figure: Figure, axis: Axis | None, colours: dict[str, str], extra: Sequence[Any]) -> None:
    """The levels of the coloured axis and what else is drawn, to the right of all panels."""
    from matplotlib.lines import Line2D

    shapes = style.markers(axis)
    handles: list[Any] = []
    if axis is not None:
        for level, colour in colours.items():
            handles.append(Line2D([], [], color=colour, marker=shapes[level], markersize=4.5, label=level))
    name = labels.setting(axis.path) if axis is not None else None
    if handles or extra:
        figure.legend(
            handles=[*handles, *extra], loc="outside right upper", title=name, handlelength=2.2, alignment="left"
        )


def context(label: str, linestyle: Any, colour: str = style.MUTED) -> Any:
    """A legend entry for a line drawn as context."""
    from matplotlib.lines import Line2D

    return Line2D([], [], color=colour, linestyle=linestyle, linewidth=1.2, label=label)


def name_axes(figure: Figure, across: str, up: str | None = None) -> None:
    """What the axes of all panels are, once; `render` centres it on the panels (the legend stands beside them)."""
    figure.supxlabel(across, fontsize=10, gid="across")
    if up:
        figure.supylabel(up, fontsize=10, gid="up")


def render(figure: Figure) -> tuple[str, bytes]:
    """The figure as SVG text and as PNG bytes; laid out once, with nothing in it that changes from run to run."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    figure.get_layout_engine().execute(figure)  # type: ignore[union-attr]
    figure.set_layout_engine(None)  # else each save would draw once more to lay out
    boxes = [ax.get_position() for ax in figure.axes if ax.get_visible()]
    for text in figure.texts:
        if text.get_gid() == "across":
            text.set_x((min(box.x0 for box in boxes) + max(box.x1 for box in boxes)) / 2)
        elif text.get_gid() == "up":
            text.set_y((min(box.y0 for box in boxes) + max(box.y1 for box in boxes)) / 2)
    png, svg = io.BytesIO(), io.StringIO()
    figure.savefig(png, format="png", dpi=144, metadata={"Software": None})
    figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    drawing = svg.getvalue()
    return drawing[drawing.index("<svg") :], png.getvalue()
