"""Two networks trained on disjoint halves: from which size on do they make the same images?"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from difgen_cli.report.plotting import captions, facets, labels, layout, measures, style
from difgen_cli.report.plotting.facets import DOTTED, FacetPlan, FacetRow, Text
from difgen_cli.report.plotting.layout import DrawnFigure
from difgen_cli.report.plotting.paper import PAGE, Paper
from difgen_cli.report.study.curves import SIZE, STEPS, CurveAxis, Curves, last_snapshot, over_seeds, per_group

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Crossings = dict[tuple[Any, ...], tuple[float, float, float, int] | None]  # levels -> where the win is one half
ORDER = 90
COVERS = ("twin_",)
COSINE, WIN = "twin_cos", "twin_win"
METRICS = (COSINE, WIN, "twin_ceiling", "twin_baseline")
HALF = 0.5
NAMED_MOST = 3  # crossings written into a panel; the caption has more


def draw(curves: Curves, paper: Paper = PAGE) -> list[DrawnFigure]:
    """Likeness and win of twins against N at the last snapshot, and the size where the win is one half."""
    if SIZE not in curves.paths or not curves.axis(SIZE).numeric or not {COSINE, WIN} <= set(curves.metrics):
        return []
    cells = last_snapshot(curves.cells, curves.paths)
    numbers = over_seeds(cells, [path for path in curves.paths if path != STEPS], METRICS, curves.columns)
    planned = facets.plan(curves, curves.axis(SIZE))
    keys = [axis.path for axis in [*planned.columns, *([planned.colour] if planned.colour else [])]]
    crossings = {key: crossing(group, planned.x) for key, group in per_group(numbers, keys)}
    rows = (
        FacetRow(COSINE, curves.label(COSINE), beside=measures.CONTEXT[COSINE]),
        FacetRow(WIN, curves.label(WIN), scale="share", marks=(HALF,)),
    )
    what = "Likeness of samples of two networks trained on disjoint halves, from the same noise, against N"
    pairs = captions.each(cells, "twin_pairs", "pairs of samples")
    notes = [
        f"Cosines of pixels, each image's own mean removed{pairs}.",
        _crossings(crossings, keys),
        captions.snapshot(curves, cells),
    ]
    text = Text("twins-against-size", "Do two halves agree?", f"{what}{planned.words}.", notes, lambda _: notes[1])
    return [facets.draw(curves, numbers, planned, rows, text, paper, also=partial(_mark, planned, crossings))]


def _mark(planned: FacetPlan, crossings: Crossings, ax: Axes, row: FacetRow, panel: layout.Panel) -> None:
    """An upright line where the win crosses one half, with its size where there is room."""
    if row.metric != WIN:
        return
    hues = style.colours(planned.colour)
    for place, (level, hue) in enumerate(hues.items()):
        at = crossings.get((*panel.values(), *([level] if planned.colour else [])))
        if at is None:
            continue
        ax.axvline(at[0], color=hue, linestyle=DOTTED, linewidth=1.1, zorder=2)
        if len(hues) <= NAMED_MOST:
            words, above = f"N = {labels.number(at[0], 2)} ", ax.get_xaxis_transform()
            high = 0.94 - 0.07 * place
            ax.text(at[0], high, words, color=hue, fontsize="small", ha="right", transform=above)


def crossing(numbers: pd.DataFrame, sizes: CurveAxis) -> tuple[float, float, float, int] | None:
    """The size where `twin_win` first passes one half: geometric mean over seeds, 95 % t interval, seeds that pass.

    Per seed linear in log N between the two sizes; None where no seed passes. The interval is NaN for a single seed.
    """
    table = numbers[numbers["metric"] == WIN]
    seeds = [name for name in table if str(name).startswith("seed_")]
    place = dict(zip(sizes.levels, np.log(sizes.values), strict=True))
    x = table[SIZE].astype(str).map(place).to_numpy(float)
    passed = [at for name in seeds if (at := _passing(x, table[name].to_numpy(float))) is not None]
    if not passed:
        return None
    n, mean = len(passed), float(np.mean(passed))
    half = float(stdtrit(n - 1, 0.975) * np.std(passed, ddof=1) / np.sqrt(n)) if n > 1 else np.nan
    return float(np.exp(mean)), float(np.exp(mean - half)), float(np.exp(mean + half)), n


def _passing(x: np.ndarray, win: np.ndarray) -> float | None:
    """Where the line through the points first rises through one half."""
    measured = np.isfinite(win)
    order = np.argsort(x[measured])
    x, win = x[measured][order], win[measured][order]
    for k in np.flatnonzero((win[:-1] < HALF) & (win[1:] >= HALF)):
        return float(x[k] + (HALF - win[k]) / (win[k + 1] - win[k]) * (x[k + 1] - x[k]))
    return None


def _crossings(crossings: Crossings, keys: list[str]) -> str:
    """Where the crossings are, in words."""
    parts = []
    for key, at in crossings.items():
        where = ", ".join(labels.level(path, str(level)) for path, level in zip(keys, key, strict=True))
        place = f" at {where}" if where else ""
        if at is None:
            parts.append(f"the win does not rise through one half within these sizes{place}")
            continue
        between = f" (95 % t interval {labels.number(at[1])} to {labels.number(at[2])})" if at[3] > 1 else ""
        seeds = f"{at[3]} seeds" if at[3] > 1 else "one seed"
        parts.append(f"the win rises through one half at N = {labels.number(at[0])}{between}, {seeds}{place}")
    if len(parts) > 6:
        return "Dotted upright lines: where the win rises through one half."
    words = "; ".join(parts)
    between = " Linear in log N between the two sizes around it, and no interval tells how well that holds."
    return f"{words[:1].upper()}{words[1:]}.{between if any(crossings.values()) else ''}" if words else ""
