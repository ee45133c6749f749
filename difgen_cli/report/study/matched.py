"""Models compared at equal quality: the preference for training images against the Fréchet distance.

At equal steps one model may be both nearer to the data and nearer to its training set merely since it learns faster. So
each seed's training is read as a curve of preference over distance, and curves are compared where they have the same
distance.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from difgen_cli.report import spreadsheet
from difgen_cli.report.study import seeds
from difgen_cli.report.study.curves import STEPS, CurveAxis, Curves, per_group

DISTANCE = "fd_test"
PREFERENCES = ("train_pref_share", "train_pref_excess")  # the first that was measured
POINTS = 5  # distances at which two curves are compared, evenly spaced on a log scale over their overlap
LINES = ["axis", "level", "against", "metric", "distance", "n", "a", "b", "difference", "lo", "hi", "interval"]

Branch = tuple[np.ndarray, np.ndarray]  # log distance, ascending, and the preference there


def compared(curves: Curves) -> pd.DataFrame:
    """matched.csv: each level of each axis but the steps against the axis' first one, at equal distance.

    One line per axis, level, levels of the other axes, and distance: `axis`, `level`, `against`, the other axes,
    `metric` (the preference), `distance`, `n` (seeds that have both curves there), `a` (mean of `against`), `b` (of
    `level`), `difference` (b − a), `lo`, `hi` (95 % t interval over these seeds; null for one) and `interval`. Where no
    distance is common to the curves, one line without numbers. Empty where steps do not vary or either is not measured.
    """
    metric = preference(curves)
    if metric is None or STEPS not in curves.paths:
        return pd.DataFrame()
    paths = [path for path in curves.paths if path != STEPS]
    cells = curves.done.dropna(subset=[DISTANCE, metric, "step"])
    cells = cells[cells[DISTANCE] > 0]
    means = cells.groupby([*paths, "seed", "step"], observed=True, dropna=False)[[DISTANCE, metric]].mean()
    runs = means.reset_index().sort_values("step", kind="stable")
    lines: list[dict[str, Any]] = []
    for axis in (curves.axis(path) for path in paths):
        others = [path for path in paths if path != axis.path]
        for key, group in per_group(runs, others):
            about = {"axis": axis.path, **dict(zip(others, key, strict=True)), "metric": metric}
            lines += [about | line for line in _levels(group, axis, metric)]
    frame = pd.DataFrame(lines, columns=[*LINES[:3], *paths, *LINES[3:]])
    for path in paths:
        frame[path] = pd.Categorical(frame[path], categories=curves.axis(path).levels, ordered=True)
    return frame


def preference(curves: Curves) -> str | None:
    """The column of the preference for training images; None where that or the distance is not measured."""
    measured = set(curves.metrics)
    return next((name for name in PREFERENCES if name in measured), None) if DISTANCE in measured else None


def branch(distance: np.ndarray, value: np.ndarray) -> Branch:
    """A training run as a curve over log distance: the snapshots that are better than all before, best first.

    Past its best snapshot a run may come back to the same distance with another preference; that part is left out.
    """
    best = np.minimum.accumulate(distance)
    better = np.concatenate([[True], distance[1:] < best[:-1]]) if len(distance) else np.zeros(0, bool)
    return np.log(distance[better])[::-1], value[better][::-1]


def at_equal_distance(pairs: list[tuple[Branch, Branch]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distances common to all pairs of curves that overlap, and the values of both there, (pairs, distances).

    Each curve is linear in log distance between its snapshots. Empty where no distance is common.
    """
    spans = [(max(a[0][0], b[0][0]), min(a[0][-1], b[0][-1])) for a, b in pairs if len(a[0]) and len(b[0])]
    kept = [pair for pair, (low, high) in zip(pairs, spans, strict=True) if low < high] if spans else []
    spans = [(low, high) for low, high in spans if low < high]
    if not kept or max(low for low, _ in spans) >= min(high for _, high in spans):
        return np.zeros(0), np.zeros((0, 0)), np.zeros((0, 0))
    places = np.linspace(max(low for low, _ in spans), min(high for _, high in spans), POINTS)
    both = [np.array([np.interp(places, *pair[side]) for pair in kept]) for side in (0, 1)]
    return np.exp(places), both[0], both[1]


def write(differences: pd.DataFrame, out: Path) -> list[Path]:
    """matched.csv into `out`; returns it. Without lines it is removed."""
    path = out / "matched.csv"
    if differences.empty:
        path.unlink(missing_ok=True)
        return []
    spreadsheet.write(differences, path)
    return [path]


def _levels(group: pd.DataFrame, axis: CurveAxis, metric: str) -> Iterator[dict[str, Any]]:
    """The lines of each level against the first that is there, of runs that agree in all else."""
    branches = {
        (str(level), seed): branch(run[DISTANCE].to_numpy(float), run[metric].to_numpy(float))
        for (level, seed), run in group.groupby([axis.path, "seed"], observed=True, sort=False)
    }
    levels = [level for level in axis.levels if any(branch_level == level for branch_level, _ in branches)]
    for level in levels[1:]:
        common = [seed for branch_level, seed in branches if branch_level == level and (levels[0], seed) in branches]
        pairs = [(branches[levels[0], seed], branches[level, seed]) for seed in common]
        distances, a, b = at_equal_distance(pairs)
        about = {axis.path: level, "level": level, "against": levels[0]}
        if not len(distances):
            yield about | {"n": 0, "interval": ""}
        for k, distance in enumerate(distances):
            mean, low, high = seeds.mean_interval(b[:, k] - a[:, k])
            yield about | {
                "distance": distance, "n": len(a), "a": a[:, k].mean(), "b": b[:, k].mean(), "difference": mean,
                "lo": low, "hi": high, "interval": "t over paired seeds" if np.isfinite(low) else "",
            }  # fmt: skip
