"""Intervals that do not fit into their panel: they would hide the others and show nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from difgen_cli.report.plotting import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from difgen_cli.report.plotting import layout

WIDE = "wide"  # id of the text in a panel whose intervals are wider than it


def within(ax: Axes, drawn: layout.Series) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ends of the intervals, NaN where one is wider than the panel, and where that is; the panel then says so.

    Such a band would hide the others and show nothing. The axis must run as it will.
    """
    low, high = ax.get_ylim()
    wide = (drawn.lo <= low) & (drawn.hi >= high) & np.isfinite(drawn.seeds).any(axis=1)
    if wide.any() and not has_wide(ax.figure, ax):
        look: dict[str, Any] = {"fontsize": "x-small", "color": style.MUTED, "ha": "right", "va": "top"}
        ax.text(0.98, 0.98, "interval wider than the panel", transform=ax.transAxes, gid=WIDE, **look)
    return np.where(wide, np.nan, drawn.lo), np.where(wide, np.nan, drawn.hi), wide


def has_wide(figure: Any, ax: Axes | None = None) -> bool:
    """Whether a panel of the figure says that an interval is wider than it; or whether `ax` does."""
    return any(text.get_gid() == WIDE for one in ([ax] if ax else figure.axes) for text in one.texts)
