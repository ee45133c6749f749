"""The gap between held-out and training loss over noise levels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from difgen_cli.report.plotting import captions, labels, layout, scales, style
from difgen_cli.report.plotting.layout import DrawnFigure
from difgen_cli.report.plotting.paper import PAGE, Paper
from difgen_cli.report.study.curves import STEPS, CurveAxis, Curves, last_snapshot, over_seeds

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def gap_over_noise(curves: Curves, paper: Paper = PAGE) -> list[DrawnFigure]:
    """Relative gap L_H/L_T − 1 over σ/σ_d at the last snapshot, one line per data set size, facets for the rest.

    Of models in closed form, which have no steps to follow, once more with one line per level of each other axis.
    """
    others = [axis for axis in curves.others() if axis.path != STEPS]
    first = _drawn(curves, others[0] if others else None, "gap-over-noise", paper)
    if first is None:
        return []
    again = others[1:] if "step" in curves.done and curves.done["step"].isna().all() else []
    more = [_drawn(curves, axis, f"gap-over-noise-by-{axis.path.replace('.', '-')}", paper) for axis in again]
    return [first, *[figure for figure in more if figure is not None]]


def _drawn(curves: Curves, colour: CurveAxis | None, name: str, paper: Paper) -> DrawnFigure | None:
    table = curves.tables.get("noise", pd.DataFrame())
    if not {"gap", "sigma_rel"} <= set(table.columns) or table["gap"].isna().all():
        return None
    paths = [path for path in curves.paths if path != STEPS and path in table]
    last = last_snapshot(table, paths)
    # both splits carry the gap: one line is enough for a noise level of a cell, and of each point that shares the cell
    last = last.dropna(subset=["gap"]).drop_duplicates(["cell", *paths, "sigma_rel"])
    last = last.assign(sigma_rel=last["sigma_rel"].round(9))
    numbers = averaged(last, [*paths, "sigma_rel"])
    if numbers.empty:
        return None
    colour = colour if colour and colour.path in paths else None
    rest = [axis for axis in curves.others(colour) if axis.path in paths]
    facets, left_out = layout.panels(rest, most=min(12, paper.panels_most))
    across = layout.columns(rest, facets, paper)
    sheet = layout.sheet(paper, -(-len(facets) // across), across, colour)
    sigmas = sorted(numbers["sigma_rel"].unique())
    sigma = CurveAxis("sigma_rel", tuple(map(str, sigmas)), tuple(map(float, sigmas)), True)
    numbers_as_words = numbers.assign(sigma_rel=numbers["sigma_rel"].map(str))
    groups = layout.lookup(
        numbers_as_words, [*[axis.path for axis in [*rest, *([colour] if colour else [])]], "metric"], sigma
    )
    hues, shapes = style.colours(colour), style.markers(colour)
    note = ""
    for ax, panel in zip(sheet.grid.flat, facets, strict=False):
        sheet.entitle(ax, panel)
        ax.axhline(0, color=style.MUTED, linewidth=0.8, zorder=1)
        for level, hue in hues.items():
            group = groups.get((*panel.values(), *([level] if colour else []), "gap"))
            if group is not None:
                _line(ax, group, hue, shapes[level], 0.14 if len(hues) <= 5 else 0.07)
        scales.log_scale(ax, "x", sigmas[0], sigmas[-1], sheet.letters)
        values = layout.finite(numbers["mean"], [0.0])
        note = scales.gain_scale(ax, float(values.min()), float(values.max()))
    for ax in list(sheet.grid.flat)[len(facets) :]:
        ax.set_visible(False)
    sheet.name_axes("noise level σ / σ_d", labels.METRICS["gap"])
    sheet.legend(colour, hues, [])
    lines = f", one line per value of {labels.setting(colour.path)}" if colour else ""
    what = f"Relative gap L_H/L_T − 1 of held-out over training loss against the noise level σ/σ_d{lines}."
    pairs = captions.each(last, "n_pairs", "pairs of image and noise in a split")
    notes = [
        f"Squared error of pixels{pairs}.",
        _bands(numbers),
        "Seeds are averaged, and their intervals taken, on the scale of log L_H/L_T." if _many(numbers) else "",
        captions.snapshot(curves, last),
        note,
        captions.omitted(left_out),
    ]
    return DrawnFigure(
        name=name,
        title="Gap between held-out and training loss over noise levels",
        alt=f"Chart. {what} {_peaks(numbers, colour)}",
        caption=captions.caption(curves, numbers, what, *notes, points=False),
        files=sheet.render(),
        data=numbers,
        palette=dict(zip(hues.values(), style.dark_colours(colour).values(), strict=True)),
    )


def averaged(lines: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """The gap of every group over seeds, as `over_seeds` has it, but on the scale of log L_H/L_T where seeds are many.

    The gap spans decades: a symmetric interval of 51.6 [34.8, 68.4] at one noise level is one below 0 at the next.
    """
    numbers = over_seeds(lines, by, ["gap"])
    if not _many(numbers) or lines["gap"].min() <= -1:
        return numbers
    logged = over_seeds(lines.assign(gap=np.log1p(lines["gap"])), by, ["gap"])
    ends = ["mean", "lo", "hi"]
    return numbers.assign(**{end: np.where(numbers["n"] > 1, np.expm1(logged[end]), numbers[end]) for end in ends})


def _many(numbers: pd.DataFrame) -> bool:
    return bool((numbers["n"] > 1).any())


def _line(ax: Axes, drawn: layout.Series, hue: str, marker: str, alpha: float) -> None:
    every = -(-len(drawn.x) // 16)  # of many levels only some have room for a marker
    ax.plot(drawn.x, drawn.mean, color=hue, marker=marker, markersize=3, markevery=every, linewidth=1.4, zorder=3)
    if np.isfinite(drawn.lo).any():
        ax.fill_between(drawn.x, drawn.lo, drawn.hi, color=hue, alpha=alpha, linewidth=0, zorder=1)


def _bands(numbers: pd.DataFrame) -> str:
    if numbers["interval"].astype(str).str.startswith("own").any():
        return "The bands are simultaneous over the noise levels (bootstrap by image)."
    return "The bands hold at each noise level by itself." if (numbers["n"] > 1).any() else ""


def _peaks(numbers: pd.DataFrame, colour: CurveAxis | None) -> str:
    top = numbers.iloc[int(numbers["mean"].to_numpy().argmax())]
    where = f" for {labels.level(colour.path, str(top[colour.path]))}" if colour else ""
    return f"The largest gap is {labels.number(top['mean'])} at σ/σ_d = {labels.number(top['sigma_rel'])}{where}."
