"""Path overlap over any axis: its rows, and the crosses where the power is too low."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from difgen_cli.report.plotting import captions, facets, labels, layout
from difgen_cli.report.plotting.facets import FacetPlan, FacetRow, Text
from difgen_cli.report.plotting.layout import DrawnFigure
from difgen_cli.report.plotting.paper import Paper
from difgen_cli.report.study.curves import Curves

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COVERS = ("path_", "x0_align_")
POWER_MIN = 0.65  # below it noisy training and noisy unseen images cannot be told apart
OVERLAP, POWER, PREFERENCE, ALIGNED = METRICS = ("path_overlap", "path_power", "path_pref", "x0_align")
ROWS = (
    FacetRow(OVERLAP, "path overlap", marks=(0.0, 1.0)),
    FacetRow(POWER, "power of the overlap", marks=(POWER_MIN,)),
    FacetRow(PREFERENCE, "states nearer to T than to as many of H", marks=(0.5,)),
    FacetRow(ALIGNED, "cosine of D with the training image of the end", marks=(1.0,)),
)
MEANING = (
    "Overlap is 1 where states rank like noisy training images and 0 where they rank like noisy unseen ones; crosses "
    "at the foot of a panel: the power (how often the one kind outranks the other) is below 0.65, and the overlap "
    "is not given. Distances in pixels"
)


def figure(
    curves: Curves, numbers: pd.DataFrame, planned: FacetPlan, text: Text, cells: pd.DataFrame, paper: Paper
) -> DrawnFigure:
    """The rows over the plan's axis; cells: those that were measured."""
    lines = facets.groups(numbers, planned.columns, planned.colour, planned.x)

    def crosses(ax: Axes, row: FacetRow, panel: layout.Panel) -> None:
        """Marks at the foot of the overlap's panels where its power is too low to tell."""
        if row.metric != OVERLAP:
            return
        for place, (hue, _, (power, overlap)) in enumerate(facets.levels(lines, panel, planned.colour, POWER, OVERLAP)):
            if power is None:
                continue
            blind = np.isfinite(power.mean) & ~(np.isfinite(overlap.mean) if overlap else np.zeros(len(power.x), bool))
            if blind.any():  # an empty line would pull the layout to the corner
                foot, place_of = np.full(blind.sum(), 0.03 + 0.045 * place), ax.get_xaxis_transform()
                ax.plot(power.x[blind], foot, "x", color=hue, markersize=3.5, transform=place_of, zorder=4)

    meaning = f"{MEANING}{captions.each(cells, 'path_states', 'states at each level')}."
    text = Text(text.name, text.title, text.what, [meaning, *text.notes], _overlap_sentence)
    return facets.draw(curves, numbers, planned, ROWS, text, paper, also=crosses)


def _overlap_sentence(numbers: pd.DataFrame) -> str:
    overlap = numbers.loc[numbers["metric"] == OVERLAP, "mean"]
    if overlap.dropna().empty:
        return "The power is below 0.65 everywhere: no overlap is given."
    return f"Overlap from {labels.number(overlap.min())} to {labels.number(overlap.max())} where it is given."
