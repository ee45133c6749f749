"""Sample efficiency: how many times fewer images a condition needs for the unconditional best distance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from difgen_cli.report.findings import efficiency as findings
from difgen_cli.report.plotting import facets, labels, layout
from difgen_cli.report.plotting.facets import FacetRow, Text
from difgen_cli.report.plotting.layout import DrawnFigure
from difgen_cli.report.plotting.paper import PAGE, Paper
from difgen_cli.report.study.curves import STEPS, Curves
from difgen_cli.report.study.efficiency import CONDITION, RATIO, averaged, axis_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ORDER = 35
COVERS: tuple[str, ...] = ()
ROWS = (
    FacetRow(RATIO, "images of the unconditional model over those of a condition", "log", marks=(1.0,), whole=True),
)


def draw(curves: Curves, paper: Paper = PAGE) -> list[DrawnFigure]:
    """The ratio over the condition's levels, where each seed reaches the distance between two snapshots."""
    runs = curves.efficiency.runs
    numbers = averaged(curves, runs) if len(runs) else runs
    if numbers.empty:
        return []
    conditions = [axis for axis in curves.axes if axis.path.startswith(CONDITION)]
    x = next((axis for axis in conditions if axis.numeric and axis.path != axis_of(curves)), conditions[0])
    planned = facets.plan(curves, x, present=[path for path in curves.paths if path != STEPS])
    what = (
        "Images until the unconditional model is at its least Fréchet distance, over those until the model under a "
        f"condition is there, against {labels.setting(x.path)}{planned.words}."
    )
    notes = [
        "1: no difference; linear in the logs of images and distance between snapshots, without the error of that.",
        "Settings where a seed never reaches the distance, or does at its first snapshot, are in efficiency.csv alone.",
    ]
    sentence = findings.saved(curves, curves.last) or ""
    text = Text("sample-efficiency", "How many images does a condition save?", what, notes, lambda _: sentence)
    lines = facets.groups(numbers, planned.columns, planned.colour, planned.x)

    def bars(ax: Axes, _: FacetRow, panel: layout.Panel) -> None:
        """The intervals of single points, which have no band."""
        for hue, _shape, (drawn,) in facets.levels(lines, panel, planned.colour, RATIO):
            if drawn is not None:
                ax.plot(*layout.bars(drawn.x, drawn.lo, drawn.hi), color=hue, linewidth=1, alpha=0.5, zorder=2)

    return [facets.draw(curves, numbers, planned, ROWS, text, paper, also=bars)]
