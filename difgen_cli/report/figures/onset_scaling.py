"""Onsets against the number of training images: a clock that slows as the data grow (log-log, with its slope)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from difgen_cli.report.plotting import captions, facets, labels, layout, scales, style
from difgen_cli.report.plotting.facets import DASHED, FacetPlan, Text
from difgen_cli.report.plotting.layout import DrawnFigure
from difgen_cli.report.plotting.paper import PAGE, Paper
from difgen_cli.report.study import emm, onset
from difgen_cli.report.study.curves import SIZE, STEPS, CurveAxis, Curves, per_group

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ORDER = 40
DISTANCE = "fd_test"  # whose feature space a criterion depends on
COVERS: tuple[str, ...] = ()
ROWS_MOST = 3
NAMED_MOST = 3  # slopes written into a panel; the caption has more


def draw(curves: Curves, paper: Paper = PAGE) -> list[DrawnFigure]:
    """Each seed's onsets against N: the interval it lies in, arrows where an end is unknown, and the fitted line."""
    runs, lines = curves.onsets.runs, curves.onsets.slopes
    if runs.empty or SIZE not in curves.paths or not curves.axis(SIZE).numeric:
        return []
    names = [name for name in onset.CRITERIA if name in runs and runs[name].notna().any()]
    if not names:
        return []
    by = [path for path in curves.paths if path not in (STEPS, SIZE)]
    others = [axis for axis in curves.others() if axis.path in by]
    planned = FacetPlan(curves.axis(SIZE), others[0] if others else None, tuple(others[1:]))
    sheet, left_out = _sheet(runs, lines, names, planned, paper)
    criteria = "; ".join(f"{name}: {onset.CRITERIA[name][0]}" for name in names)
    slopes = _slopes(lines, by)
    text = Text(
        "onset-against-size",
        "When does it begin?",
        f"Onset of copying, of quality and of the gap along training against N, both axes logarithmic ({criteria}).",
        beyond=lambda _: slopes,
    )
    notes = [text.what, _seeds_sentence(runs), slopes, _emm(runs, by), *_notes(curves, left_out * len(names))]
    caption = " ".join(note for note in notes if note)
    return [facets.finished(curves, runs, text, sheet, planned.colour, caption=caption)]


def _sheet(
    runs: pd.DataFrame, lines: pd.DataFrame, names: list[str], planned: FacetPlan, paper: Paper
) -> tuple[layout.FigureSheet, int]:
    """An onset in each column, levels of the other axes in rows; and how many of their combinations did not fit."""
    shown, left_out = layout.panels(planned.columns, runs, min(ROWS_MOST, paper.across_most))
    sheet = layout.lattice(paper, len(shown), len(names), planned.colour)
    hues, shapes = style.colours(planned.colour), style.markers(planned.colour)
    low, high = _limits(runs, names)
    for axes, panel in zip(sheet.grid, shown, strict=True):
        for ax, name in zip(axes, names, strict=True):
            for place, (level, hue) in enumerate(hues.items()):
                here = {**panel, **({planned.colour.path: level} if planned.colour else {})}
                _points(ax, _beside(facets.at(runs, here), runs, planned.x, place, len(hues)), name, hue, shapes[level])
                slope = facets.at(lines, here)
                _line(ax, slope, name, hue, planned.x)
                _name_slope(ax, slope, name, hue, place if len(hues) <= NAMED_MOST else None)
            room = float(_offsets(runs, planned.x, len(hues))[-1])
            scales.setting_scale(ax, "x", planned.x, sheet.letters, log=True, room=room)
            scales.log_scale(ax, "y", low, high)
            sheet.entitle(ax, panel)
    for ax, name in zip(sheet.grid[0], names, strict=True):
        title = ax.get_title(loc="left")
        ax.set_title(sheet.title(f"{labels.METRICS[name].removesuffix(' (steps)')}{f' — {title}' if title else ''}"))
    sheet.name_axes(labels.setting(SIZE), "training steps")
    sheet.legend(planned.colour, hues, _legend(runs, names))
    return sheet, left_out


def _beside(mine: pd.DataFrame, runs: pd.DataFrame, size: CurveAxis, place: int, levels: int) -> pd.DataFrame:
    """`x`: N, with levels and their seeds a little beside each other, and each size apart from the next."""
    seeds = sorted(runs["seed"].unique())
    slot = place * len(seeds) + mine["seed"].map({seed: k for k, seed in enumerate(seeds)}).to_numpy(int)
    images = pd.to_numeric(mine[SIZE].astype(str)).to_numpy(float)
    return mine.assign(x=images * np.exp(_offsets(runs, size, levels)[slot]))


def _offsets(runs: pd.DataFrame, size: CurveAxis, levels: int) -> np.ndarray:
    """Where the marks of a size stand beside it, in units of ln N: one for each seed of each level, evenly."""
    slots = levels * runs["seed"].nunique()
    step = min(0.08, 0.6 * float(np.diff(np.log(size.values)).min()) / slots)
    return np.asarray(step * (np.arange(slots) - (slots - 1) / 2))


def _points(ax: Axes, mine: pd.DataFrame, name: str, hue: str, shape: str) -> None:
    """Bars between the snapshots, arrows from the last or to the first that is known."""
    x = mine["x"].to_numpy(float)
    low, high, middle = (mine[f"{name}{end}"].to_numpy(float) for end in ("_lo", "_hi", ""))
    bounded = np.isfinite(middle)
    ax.plot(*layout.bars(x[bounded], low[bounded], high[bounded]), color=hue, linewidth=1.4, alpha=0.5, zorder=2)
    ax.plot(x[bounded], middle[bounded], shape, color=hue, markersize=4, zorder=3)
    for at, one_sided, marker, way in ((low, np.isnan(high) & (low > 0), "^", 1.5), (high, low == 0, "v", 1 / 1.5)):
        one_sided = one_sided & np.isfinite(at)
        start = at[one_sided]
        ax.plot(*layout.bars(x[one_sided], start, start * way), color=hue, linewidth=1, zorder=2)
        ax.plot(x[one_sided], start * way, marker, color=hue, mfc=style.PAPER, markersize=4.5, zorder=3)


def _line(ax: Axes, lines: pd.DataFrame, name: str, hue: str, size: CurveAxis) -> None:
    mine = lines[lines["onset"] == name] if len(lines) else lines
    for line in mine.to_dict("records"):
        x = np.array([size.values[0], size.values[-1]])
        ax.plot(x, np.exp(line["intercept"]) * x ** line["slope"], color=hue, linewidth=1.1, linestyle=DASHED, zorder=2)


def _name_slope(ax: Axes, lines: pd.DataFrame, name: str, hue: str, place: int | None) -> None:
    """`slope 0.71 [0.53, 0.89]` at the foot of the panel, one below the other."""
    mine = lines[lines["onset"] == name] if len(lines) else lines
    for line in mine.to_dict("records") if place is not None else []:
        seeds = "" if line["n"] > 1 else ", one seed"
        ax.text(0.98, 0.03 + 0.075 * (place or 0), f"slope {_interval(line)}{seeds}", color=hue, fontsize="small",
                ha="right", transform=ax.transAxes)  # fmt: skip


def _interval(line: Any) -> str:
    between = f" [{labels.number(line['slope_lo'], 2)}, {labels.number(line['slope_hi'], 2)}]" if line["n"] > 1 else ""
    return f"{labels.number(line['slope'], 2)}{between}"


def _limits(runs: pd.DataFrame, names: list[str]) -> tuple[float, float]:
    ends = layout.finite(*[runs[f"{name}{end}"] for name in names for end in ("_lo", "_hi")])
    ends = ends[ends > 0]
    return float(ends.min()) / 2.2, float(ends.max()) * 1.6


def _legend(runs: pd.DataFrame, names: list[str]) -> list[Any]:
    from matplotlib.lines import Line2D

    def mark(marker: str, text: str, face: str = style.MUTED) -> Any:
        wide = 1.4 if marker == "o" else 0.0
        return Line2D([], [], color=style.MUTED, marker=marker, mfc=face, markersize=4.5, linewidth=wide, label=text)

    handles = [mark("o", "between two snapshots")]
    if any((runs[f"{name}_hi"].isna() & (runs[f"{name}_lo"] > 0)).any() for name in names):
        handles.append(mark("^", "not begun yet, or\nnot confirmed", style.PAPER))
    if any(((runs[f"{name}_lo"] == 0) & runs[f"{name}_hi"].notna()).any() for name in names):
        handles.append(mark("v", "begun before the\nfirst snapshot", style.PAPER))
    fitted = "line fitted per seed,\nmean over seeds" if runs["seed"].nunique() > 1 else "line fitted to\none seed"
    return [*handles, layout.context(fitted, DASHED)]


def _seeds_sentence(runs: pd.DataFrame) -> str:
    seeds = runs["seed"].nunique()
    count = f"{seeds} seeds, each drawn by itself" if seeds > 1 else "One seed"
    return (
        f"{count}: bars from the last snapshot without to the first with it (of two in a row, but for tau_gen), "
        "points at their geometric middle; arrows where the other end is not known."
    )


def _slopes(lines: pd.DataFrame, by: list[str]) -> str:
    """Slopes of log τ on log N in words; that there is none, too."""
    fitted = (
        "Slope of log τ on log N (interval-censored log-normal fit per seed; 95 % t interval over seeds, never finer "
        "than the snapshots)"
    )
    if lines.empty:
        return f"{fitted}: none, since no seed has three sizes with both ends known."
    parts = []
    for line in lines.to_dict("records"):
        where = ", ".join(labels.level(path, str(line[path])) for path in by)
        seeds = f"{line['n']} seeds" if line["n"] > 1 else "one seed, no interval"
        parts.append(f"{line['onset']} {_interval(line)} ({seeds}{f'; {where}' if where else ''})")
    if len(parts) > 8:
        return f"{fitted}: in slopes.csv."
    return f"{fitted}: {', '.join(parts)}."


def _emm(runs: pd.DataFrame, by: list[str]) -> str:
    """The largest memorized sizes of all seeds in words, where there are few groups; and where the rule is blind."""
    if "emm" not in runs or runs["emm"].isna().all():
        return ""
    parts = []
    for key, group in per_group(runs, by):
        own = group.drop_duplicates("seed")
        seeds = own["emm"].dropna()
        about = [labels.level(path, str(level)) for path, level in zip(by, key, strict=True)]
        about += ["blind at the next size"] if own["censored"].str.contains("emm blind").any() else []
        where = f" ({', '.join(about)})" if about else ""
        sizes = " to ".join(dict.fromkeys(labels.text(size) for size in (seeds.min(), seeds.max())))
        parts.append(f"{sizes if len(seeds) else 'no size'}{where}")
    if len(parts) > 6:
        return ""
    blind = any("blind" in part for part in parts)
    power = f" Blind: mem_power is below {emm.POWER}, so that memorized samples may be missed." if blind else ""
    return f"Largest N of the grid with a memorized share of 0.9 at some snapshot (emm): {'; '.join(parts)}.{power}"


def _notes(curves: Curves, left_out: int) -> list[str]:
    return [
        captions.counts(curves, pd.DataFrame({"metric": [DISTANCE]})),
        captions.common(curves) if curves.seeds > 1 else "",
        captions.missing(curves),
        *captions.moving(curves),
        captions.omitted(left_out),
    ]
