"""The gap between held-out and training loss over noise levels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from difgen_cli.report.plotting import captions, facets, intervals, labels, layout, scales, style
from difgen_cli.report.plotting.facets import Text
from difgen_cli.report.plotting.layout import DrawnFigure
from difgen_cli.report.plotting.paper import PAGE, Paper
from difgen_cli.report.study.curves import STEPS, CurveAxis, Curves, last_snapshot, over_seeds

if TYPE_CHECKING:
    from matplotlib.axes import Axes


ORDER = 50
GAP, TABLE = "gap", "noise"
COVERS: tuple[str, ...] = ()
MOST = 12
NAME = "gap-over-noise"


def draw(curves: Curves, paper: Paper = PAGE) -> list[DrawnFigure]:
    """Relative gap L_H/L_T − 1 over σ/σ_d at the last snapshot, one line per data set size, facets for the rest.

    Of models in closed form, which have no steps to follow, once more with one line per level of each other axis.
    """
    others = [axis for axis in curves.others() if axis.path != STEPS]
    first = _drawn(curves, others[0] if others else None, NAME, paper)
    if first is None:
        return []
    again = others[1:] if "step" in curves.done and curves.done["step"].isna().all() else []
    more = [_drawn(curves, axis, f"{NAME}-by-{axis.path.replace('.', '-')}", paper) for axis in again]
    return [first, *[figure for figure in more if figure is not None]]


def _drawn(curves: Curves, colour: CurveAxis | None, name: str, paper: Paper) -> DrawnFigure | None:
    table = curves.tables.get(TABLE, pd.DataFrame())
    if not {GAP, "sigma_rel"} <= set(table.columns) or table[GAP].isna().all():
        return None
    paths = [path for path in curves.paths if path != STEPS and path in table]
    last = last_snapshot(table, paths)
    # both splits carry the gap: one line is enough for a noise level of a cell, and of each point that shares the cell
    last = last.dropna(subset=[GAP]).drop_duplicates(["cell", *paths, "sigma_rel"])
    last = last.assign(sigma_rel=last["sigma_rel"].round(9))
    numbers = averaged(last, [*paths, "sigma_rel"])
    if numbers.empty:
        return None
    colour = colour if colour and colour.path in paths else None
    rest = [axis for axis in curves.others(colour) if axis.path in paths]
    tiles = facets.tiles(rest, numbers, colour, paper, most=min(MOST, paper.panels_most))
    note = _draw_panels(tiles, numbers, rest, colour)
    tiles.sheet.name_axes("noise level σ / σ_d", "relative gap L_H / L_T − 1")
    tiles.sheet.legend(colour, style.colours(colour), [])
    lines = f", one line per value of {labels.setting(colour.path)}" if colour else ""
    pairs = captions.each(last, "n_pairs", "pairs of image and noise in a split")
    text = Text(
        name,
        "Gap between held-out and training loss over noise levels",
        f"Relative gap L_H/L_T − 1 of held-out over training loss against the noise level σ/σ_d{lines}.",
        [
            f"Squared error of pixels{pairs}.",
            _bands(numbers),
            "Seeds are averaged, and their intervals taken, on the scale of log L_H/L_T." if _many(numbers) else "",
            captions.snapshot(curves, last),
            note,
            captions.omitted(tiles.left_out),
        ],
        lambda numbers: _peaks(numbers, colour),
    )
    return facets.finished(curves, numbers, text, tiles.sheet, colour)


def _draw_panels(tiles: facets.Tiles, numbers: pd.DataFrame, rest: list[CurveAxis], colour: CurveAxis | None) -> str:
    """The lines of every panel; returns what a caption must say of the gap's scale."""
    levels = sorted(numbers["sigma_rel"].unique())
    lines = facets.groups(numbers, rest, colour, CurveAxis("sigma_rel", tuple(levels), tuple(levels), True))
    values = layout.finite(numbers["mean"], [0.0])
    alpha = 0.14 if len(style.colours(colour)) <= 5 else 0.07
    note = ""
    for ax, panel in tiles.panels:
        ax.axhline(0, color=style.MUTED, linewidth=0.8, zorder=1)
        scales.log_scale(ax, "x", levels[0], levels[-1], tiles.sheet.letters)
        note = scales.gain_scale(ax, float(values.min()), float(values.max()))
        for hue, shape, (gap,) in facets.levels(lines, panel, colour, GAP):
            if gap is not None:
                _line(ax, gap, hue, shape, alpha)
    return note


def averaged(lines: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """The gap of every group over seeds, as `over_seeds` has it, but on the scale of log L_H/L_T where seeds are many.

    The gap spans decades: a symmetric interval of 51.6 [34.8, 68.4] at one noise level is one below 0 at the next.
    """
    numbers = over_seeds(lines, by, [GAP], {})
    if not _many(numbers) or lines[GAP].min() <= -1:
        return numbers
    logged = over_seeds(lines.assign(**{GAP: np.log1p(lines[GAP])}), by, [GAP], {})
    ends = ["mean", "lo", "hi"]
    return numbers.assign(**{end: np.where(numbers["n"] > 1, np.expm1(logged[end]), numbers[end]) for end in ends})


def _many(numbers: pd.DataFrame) -> bool:
    return bool((numbers["n"] > 1).any())


def _line(ax: Axes, drawn: layout.Series, hue: str, marker: str, alpha: float) -> None:
    every = -(-len(drawn.x) // 16)  # of many levels only some have room for a marker
    ax.plot(drawn.x, drawn.mean, color=hue, marker=marker, markersize=3, markevery=every, linewidth=1.4, zorder=3)
    lo, hi, wide = intervals.within(ax, drawn)
    if np.isfinite(lo).any():
        ax.fill_between(drawn.x, lo, hi, color=hue, alpha=alpha, linewidth=0, zorder=1)
    places = np.repeat(drawn.x[wide], drawn.seeds.shape[1])
    ax.plot(places, drawn.seeds[wide].ravel(), ".", color=hue, markersize=3, alpha=0.55, zorder=2)


def _bands(numbers: pd.DataFrame) -> str:
    if numbers["interval"].astype(str).str.startswith("own").any():
        return "The bands are simultaneous over the noise levels (bootstrap by image)."
    return "The bands hold at each noise level by itself." if (numbers["n"] > 1).any() else ""


def _peaks(numbers: pd.DataFrame, colour: CurveAxis | None) -> str:
    top = numbers.iloc[int(numbers["mean"].to_numpy().argmax())]
    where = f" for {labels.level(colour.path, str(top[colour.path]))}" if colour else ""
    return f"The largest gap is {labels.number(top['mean'])} at σ/σ_d = {labels.number(top['sigma_rel'])}{where}."
