"""What samples are held against, as points: held-out images, the copycat and the ideal denoiser, drawn hollow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from difgen_cli.report.plotting import layout, style
from difgen_cli.report.study import seeds
from difgen_cli.report.study.curves import CurveAxis, Curves, worded

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def points(curves: Curves, x: str, y: str) -> pd.DataFrame:
    """A line for each kind and each of its settings: `kind`, the levels of the axes (None: of all of them), x and y.

    Means over seeds, on a log scale where the metric is averaged on one.
    """
    rows = curves.references
    paths = [path for path in curves.paths if path in rows]
    if rows.empty or not {x, y} <= set(rows.columns):
        return pd.DataFrame(columns=["kind", *paths, x, y])
    rows = rows[rows["state"].eq("done") & rows["kind"].isin(style.REFERENCES)].dropna(subset=[x, y])
    levels = {path: worded(rows[path]).where(rows[path].notna(), None) for path in paths}
    named = rows[["kind"]].assign(**levels)
    for name in (x, y):
        named[name] = np.log(rows[name]) if seeds.logarithmic(name, curves.columns) else rows[name]
    means = named.groupby(["kind", *paths], dropna=False, sort=False)[[x, y]].mean().reset_index()
    logged = [name for name in (x, y) if seeds.logarithmic(name, curves.columns)]
    return means.assign(**{name: np.exp(means[name]) for name in logged})


def draw(ax: Axes, marks: pd.DataFrame, x: str, y: str, panel: layout.Panel, colour: CurveAxis | None) -> None:
    """The marks of a panel, each in the colour of its level, grey where it is of all levels."""
    hues = style.colours(colour)
    for mark in marks.to_dict("records"):
        if any(not _is_of(mark.get(path), level) for path, level in panel.items()):
            continue
        hue = hues.get(str(mark.get(colour.path)), style.MUTED) if colour else style.MUTED
        marker, _ = style.REFERENCES[mark["kind"]]
        ax.plot(mark[x], mark[y], marker, color=hue, mfc=style.PAPER, markersize=6, mew=1.1, zorder=5, clip_on=False)


def _is_of(own: Any, level: str) -> bool:
    """Whether a reference is of a level, or of all of them, such as of every width of a network."""
    return own is None or bool(pd.isna(own)) or own == level


def legend(marks: pd.DataFrame) -> list[Any]:
    """An entry for each kind."""
    from matplotlib.lines import Line2D

    look: dict[str, Any] = {"color": style.MUTED, "mfc": style.PAPER, "markersize": 6, "mew": 1.1, "linestyle": "none"}
    shown = [entry for kind, entry in style.REFERENCES.items() if kind in set(marks["kind"])]
    return [Line2D([], [], marker=marker, label=_broken(words), **look) for marker, words in shown]


def _broken(words: str) -> str:
    """In two lines where there is an explanation."""
    return words.replace(" (", "\n(", 1)
