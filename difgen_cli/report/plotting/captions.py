"""What stands below a figure: how many seeds and samples, which features, what the intervals are, what is missing."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from difgen_cli.report.plotting import labels
from difgen_cli.report.study import seeds as replicates
from difgen_cli.report.study.curves import STEPS, CurveAxis, Curves, absent_by_state

CONSTANTS_MOST = 12  # named in a caption
WIDE = "Where an interval is wider than the panel, its seeds are drawn as points in its place; the CSV has its ends."
SCORE = "shares between the ends of Wilson's interval for all seeds' samples, wider where seeds differ by more"


def caption(curves: Curves, data: pd.DataFrame, what: str, *notes: str, points: bool = True) -> str:
    """`what` the figure shows, the facts every figure states, and notes of its own; `points`: it shows the seeds."""
    parts = [what, interval(curves, data, points), counts(curves, data), missing(curves), *moving(curves), *notes]
    return " ".join(part for part in parts if part)


def interval(curves: Curves, data: pd.DataFrame, shown: bool = True) -> str:
    """How many seeds there are and what the bars mean."""
    n = data["n"] if "n" in data else pd.Series(dtype=int)
    if n.empty:
        return ""
    least, most = int(n.min()), int(n.max())
    if most == 1:
        own = data["interval"].astype(str).str.startswith("own").any()
        bars = "bars are the rows' own 95 % intervals, given that one model and data subset; " if own else ""
        return f"One seed: {bars}it is not known how much another seed would differ."
    seeds = f"{least} to {most} seeds" if least < most else f"{most} seeds"
    alone = " Groups with one seed have no interval." if least == 1 else ""
    logged = f", {words} on a log scale" if (words := _logarithmic(curves, data)) else ""
    points = " and the single seeds as small points" if shown and most <= 5 else ""
    shares = "interval" in data and data["interval"].eq("score over seeds").any()
    return (
        f"Means over {seeds}{varied(curves)} with 95 % t intervals over seeds{points}{logged}"
        f"{f', {SCORE}' if shares else ''}; whatever lies outside the frame is cut off.{alone} {common(curves)}"
    ).strip()


def _logarithmic(curves: Curves, data: pd.DataFrame) -> str:
    """The metrics that are averaged on a log scale, in words."""
    metrics = list(data["metric"].unique()) if "metric" in data else []
    metrics = [name for name in metrics if replicates.logarithmic(name, curves.columns)]
    words = [curves.label(name) for name in metrics]
    distances = labels.frechet("") + "s" if any(word.startswith(("Fréchet", "FID")) for word in words) else ""
    return distances or " and ".join(metrics)


def _is_distance(curves: Curves, name: str) -> bool:
    """Whether a metric's label names the study's feature space."""
    return labels.FRECHET in curves.spec(name).label


def varied(curves: Curves) -> str:
    """What differs between seeds, where it is the usual: seeds vary subset and training together."""
    return (
        " (data subset and initialisation varied together)"
        if curves.replicate == "seed"
        else (f" ({curves.replicate} varied)")
    )


def common(curves: Curves) -> str:
    """What all seeds have in common, so that no interval over seeds holds what another draw of it would change."""
    cells = curves.cells
    drawn = {"data.held_out_seed": "held-out images", "sample.seed": "sampler's noise"}
    parts = [what for path, what in drawn.items() if path not in cells or cells[path].nunique() <= 1]
    if "data.held_out" in cells and not cells["data.held_out"].fillna(0).astype(float).any():
        parts = [part for part in parts if part != "held-out images"]
    if not parts:
        return ""
    return f"All seeds share the {' and the '.join(parts)}, which the intervals do not include."


def over_seeds(curves: Curves, metrics: Sequence[str]) -> str:
    """What ±, ×/÷ and [ ] after a mean over seeds mean, in a table."""
    parts = [f"± half a 95 % t interval over up to {curves.seeds} seeds{varied(curves)}"]
    if any(replicates.logarithmic(name, curves.columns) for name in metrics):
        parts.append("×/÷ the same on a log scale")
    if any(replicates.whole(name, curves.columns) for name in metrics):
        parts.append(f"[ ] {SCORE}")
    return " ".join(part for part in [f"{'; '.join(parts)}.", common(curves)] if part)


def counts(curves: Curves, data: pd.DataFrame | None = None) -> str:
    """Samples, reference images and, where `data` has distances, their feature space.

    Differing counts are said: such distances cannot be compared.
    """
    done = curves.done
    parts = []
    stated = {name: spec.label for name, spec in curves.columns.items() if spec.role == "count" and spec.label}
    for column, what in stated.items():
        values = sorted(done[column].dropna().unique()) if column in done else []
        if len(values) == 1:
            parts.append(f"{int(values[0])} {what}")
        elif values:
            parts.append(f"{int(values[0])} to {int(values[-1])} {what} (differing counts: do not compare distances)")
    if curves.features and data is not None and any(_is_distance(curves, name) for name in data["metric"].unique()):
        parts.append(f"Fréchet distances in {curves.features} features")
    return f"{'; '.join(parts)}." if parts else ""


def each(cells: pd.DataFrame, column: str, what: str) -> str:
    """`; 1000 pairs`: a count behind the numbers, or its range; nothing where there is none."""
    values = sorted(cells[column].dropna().unique()) if column in cells else []
    if not values:
        return ""
    first, last = int(values[0]), int(values[-1])
    return f"; {first} {what}" if first == last else f"; {first} to {last} {what}"


def missing(curves: Curves) -> str:
    """How many planned cells have no numbers."""
    words = " and ".join(f"{count} {word}" for word, count in absent_by_state(curves.cells).items())
    return f"Of {len(curves.cells)} planned cells {words}; they are listed in the report." if words else ""


def moving(curves: Curves) -> list[str]:
    """Axes of the grid that move together cannot be told apart."""
    return [
        f"{axis.path} and {', '.join(axis.along)} move together in this grid." for axis in curves.axes if axis.along
    ]


def snapshot(curves: Curves, last: pd.DataFrame) -> str:
    """At which step the last snapshots are, with a note where they differ."""
    steps = sorted(last["step"].dropna().unique()) if "step" in last else []
    if not steps:
        return ""
    if len(steps) == 1:
        planned = curves.cells["step"].max()
        note = f" ({labels.text(planned)} were planned)" if planned > steps[0] else ""
        return f"At {labels.text(steps[0])} training steps{note}."
    return f"Each at its last finished snapshot: {labels.text(steps[0])} to {labels.text(steps[-1])} training steps."


def snapshot_along(curves: Curves, axis: CurveAxis) -> str:
    """At which step cells stand along an axis; nothing along the steps themselves."""
    return "" if axis.path == STEPS else snapshot(curves, curves.along(axis))


def omitted(count: int) -> str:
    """Panels that did not fit."""
    return f"{count} more combinations of settings are in the CSV of this figure." if count else ""


def constant(same: dict[str, float]) -> str:
    """Metrics that are not drawn since they are the same in every cell, with their values where there are few."""
    if not same:
        return ""
    if len(same) > CONSTANTS_MOST:
        return f"{len(same)} more metrics are the same in every cell and not drawn; they are in the CSV."
    values = ", ".join(f"{name} = {labels.number(value)}" for name, value in same.items())
    return f"The same in every cell, and not drawn: {values}."


def meanings(curves: Curves, metrics: Sequence[str]) -> str:
    """What metrics mean that an axis can only call by their column's name."""
    named = [name for name in metrics if not curves.spec(name).label and name not in labels.METRICS]
    words = [f"{name}: {curves.spec(name).meaning}" for name in named if curves.spec(name).meaning]
    return f"{'; '.join(words)}." if words else ""


def names(axes: list[CurveAxis]) -> str:
    """Axes in words."""
    return " and ".join(labels.setting(axis.path) for axis in axes)


def walk_words(axis: CurveAxis) -> str:
    """What grows along a curve."""
    verb = "training" if axis.path == STEPS else labels.setting(axis.path)
    return f"{verb} grows from {axis.levels[0]} to {axis.levels[-1]}"
