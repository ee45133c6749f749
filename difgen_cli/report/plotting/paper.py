"""What figures are drawn on: a page that scrolls, or a paper's text or column, with letters at their printed size."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from difgen_cli.report.plotting import style

LETTER = 0.0095  # width of a letter in inches per point of its size
BESIDE_INCHES = 2.1  # for a legend beside the panels, at the page's letters


@dataclass(frozen=True)
class Paper:
    """A size, and what fits on it; the style is the same on all.

    wide_inches: of the whole figure; None: as wide as its panels need. high_inches: at most.
    """

    name: str
    wide_inches: float | None
    high_inches: float
    points: float  # size of the letters
    across_most: int  # panels beside each other
    panels_most: int
    formats: tuple[str, ...]
    dots_per_inch: int

    @property
    def letter_inches(self) -> float:
        """Width of a letter."""
        return LETTER * self.points

    @property
    def legend_inches(self) -> float:
        """Width of a legend beside the panels."""
        return BESIDE_INCHES * self.points / PAGE.points

    @property
    def rc(self) -> dict[str, Any]:
        """The style with this paper's letters and lines."""
        if self is PAGE:
            return style.RC
        scale = self.points / PAGE.points
        sizes = {key: value * scale for key, value in style.RC.items() if key.endswith(("size", "linewidth"))}
        ticks = {"xtick.major.size": 2.5, "ytick.major.size": 2.5, "xtick.major.pad": 2.0, "ytick.major.pad": 2.0}
        return style.RC | sizes | ticks | {"axes.labelpad": 2.5, "axes.titlepad": 3.5, "svg.fonttype": "path"}


PAGE = Paper("page", None, math.inf, 9.5, 6, 36, ("png", "svg"), 144)
# widths of a two-column paper's column and text; a page of theirs is about 9 inches high
COLUMN = Paper("column", 3.25, 9.0, 7.0, 2, 8, ("png", "svg", "pdf"), 300)
TEXT = Paper("text", 6.75, 9.0, 8.0, 4, 16, ("png", "svg", "pdf"), 300)
PAPERS = (COLUMN, TEXT)
