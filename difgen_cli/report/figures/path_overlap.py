"""Path overlap: where the sampler walks, over noise levels, training and data set size, and where that can be told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from difgen_cli.report.plotting import captions, facets, labels, layout, style
from difgen_cli.report.plotting.facets import FacetPlan, FacetRow, Text
from difgen_cli.report.plotting.layout import DrawnFigure
from difgen_cli.report.plotting.paper import PAGE, Paper
from difgen_cli.report.study.curves import SIZE, STEPS, CurveAxis, Curves, last_snapshot

if TYPE_CHECKING:
    from matplotlib.axes import Axes

POWER_MIN = 0.65  # below it noisy training and noisy unseen images cannot be told apart
NAMED = {"050": "0.5", "100": "1", "200": "2"}
LEVELS = CurveAxis("sigma_rel", tuple(NAMED.values()), (0.5, 1.0, 2.0), True)
METRICS = ("path_overlap", "path_power", "path_pref")
ROWS = (
    FacetRow("path_overlap", "path overlap", marks=(0.0, 1.0)),
    FacetRow("path_power", "power to tell", marks=(POWER_MIN,)),
    FacetRow("path_pref", "states nearer to T than to as many of H", marks=(0.5,)),
)
MEANING = (
    "Overlap is 1 where states rank like noisy training images and 0 where they rank like noisy unseen ones; crosses "
    "at the foot of a panel: the power (how often the one kind outranks the other) is below 0.65, and overlap cannot "
    "be told. Distances in pixels"
)


def over_noise(curves: Curves, paper: Paper = PAGE) -> DrawnFigure | None:
    """Overlap, power and preference over the sampler's noise levels, at the last snapshot."""
    table = curves.tables.get("path", pd.DataFrame())
    found = facets.by_sigma(curves, table, METRICS)
    if found is None:
        return None
    numbers, sigma = found
    made = facets.plan(curves, sigma, there=list(table.columns))
    what = f"Path overlap, its power and the preference of the sampler's states over the noise level σ/σ_d{made.words}."
    last = last_snapshot(curves.cells, curves.paths)
    notes = [_meaning(last), captions.snapshot(curves, last)]
    text = Text("path-over-noise", "Where the sampler walks, over noise levels", what, notes, _told)
    return facets.draw(curves, numbers, made, ROWS, text, paper, _Crosses(numbers, made).draw)


def against(curves: Curves, axis: CurveAxis, paper: Paper = PAGE) -> DrawnFigure | None:
    """The same at three noise levels against training steps, or data set size at the last snapshot."""
    names = [f"{name}_{ending}" for name in METRICS for ending in NAMED]
    if not any(name in curves.metrics for name in names) or axis.path not in (STEPS, SIZE):
        return None
    made = facets.plan(curves, axis, LEVELS)
    cells = facets.held(curves.done if axis.path == STEPS else last_snapshot(curves.cells, curves.paths), made)
    by = [path.path for path in (made.x, made.colour) if path]
    numbers = facets.named_levels(curves, cells, by, METRICS, NAMED)
    if numbers.empty:
        return None
    levels = tuple(level for level in LEVELS.levels if level in set(numbers["sigma_rel"]))
    present = CurveAxis("sigma_rel", levels, tuple(map(float, levels)), True)
    made = FacetPlan(made.x, made.colour, (present,), made.at)
    what = f"Path overlap, its power and the preference against {labels.setting(axis.path)}{made.words}."
    at = captions.snapshot(curves, cells) if axis.path != STEPS else ""
    text = Text(
        f"path-against-{axis.path.replace('.', '-')}",
        f"Where the sampler walks, against {labels.setting(axis.path)}",
        what,
        [_meaning(cells), at],
        _told,
    )
    return facets.draw(curves, numbers, made, ROWS, text, paper, _Crosses(numbers, made).draw)


class _Crosses:
    """Marks at the foot of the overlap's panels where its power is too low to tell."""

    def __init__(self, numbers: pd.DataFrame, made: FacetPlan) -> None:
        keys = [axis.path for axis in [*made.columns, *([made.colour] if made.colour else [])]]
        self.groups, self.colour = layout.lookup(numbers, [*keys, "metric"], made.x), made.colour

    def draw(self, ax: Axes, row: FacetRow, panel: layout.Panel) -> None:
        if row.metric != "path_overlap":
            return
        for place, (level, hue) in enumerate(style.colours(self.colour).items()):
            key = (*panel.values(), *([level] if self.colour else []))
            power, told = self.groups.get((*key, "path_power")), self.groups.get((*key, "path_overlap"))
            if power is None:
                continue
            blind = np.isfinite(power.mean) & ~(np.isfinite(told.mean) if told else np.zeros(len(power.x), bool))
            if blind.any():  # an empty line would pull the layout to the corner
                foot, place_of = np.full(blind.sum(), 0.03 + 0.045 * place), ax.get_xaxis_transform()
                ax.plot(power.x[blind], foot, "x", color=hue, markersize=3.5, transform=place_of, zorder=4)


def _meaning(cells: pd.DataFrame) -> str:
    return f"{MEANING}{captions.each(cells, 'path_states', 'states at each level')}."


def _told(numbers: pd.DataFrame) -> str:
    overlap = numbers.loc[numbers["metric"] == "path_overlap", "mean"]
    if overlap.dropna().empty:
        return "The power is below 0.65 everywhere: no overlap can be told."
    return f"Overlap from {labels.number(overlap.min())} to {labels.number(overlap.max())} where it can be told."
