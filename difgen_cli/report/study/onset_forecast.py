"""How long one may train before copying sets in, at a place where nothing was trained: from the onsets of a study.

The onset tau_mem of each finished training (see `onset`) is regressed on the logarithms of the numbers that vary among
them (see `censored`). What cannot be answered is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from difgen_cli.engine.grid.document import GridError, suggest
from difgen_cli.engine.grid.values import number
from difgen_cli.format import counted
from difgen_cli.report.plotting.labels import text
from difgen_cli.report.study import censored
from difgen_cli.report.study.curves import STEPS, CurveAxis, Curves

if TYPE_CHECKING:
    from difgen_cli.report import Study

REACH = 4.0  # how far beyond the data a forecast may be, as a factor
SPARE = 2  # settings with a known onset that there must be beyond the coefficients
CONFIDENCE = 0.95
TRAINED = ("data", "condition", "model", "objective", "train")  # sections whose settings make another training
COPYING, SHOWN = "tau_mem", 8


@dataclass(frozen=True)
class OnsetForecast:
    """What is known of tau_mem, in training steps, of a new training at a place."""

    grid: str
    at: dict[str, float]
    risk: float
    steps: int  # the longest training with P(copying has set in) ≤ risk; 0: none is that short
    confidence: float  # posterior probability that the share which copies by then is at most the risk
    steps_confident: int  # the longest one with a confidence of CONFIDENCE
    median: float
    low: float  # ends of the 95 % prediction interval
    high: float
    exponents: dict[str, tuple[float, float, float]]  # of each variable: median and 95 % interval
    scatter: tuple[float, float]  # standard deviations of log tau_mem: of settings, and of seeds within one
    data: dict[str, tuple[float, float]]  # of each variable: least and largest value with a known onset
    settings: int
    trajectories: list[dict[str, Any]]  # each that was used: name, key, variables, low, high, censored
    uninformative: int  # trajectories that tell nothing
    snapshots: tuple[float, float]  # the first and the last that any trajectory has

    def censored(self, kind: str) -> int:
        """How many of the trajectories have their onset before the first snapshot (left) or none yet (right)."""
        return sum(one["censored"] == kind for one in self.trajectories)

    def outside(self) -> dict[str, float]:
        """The variables that lie outside the data, each with the factor by which they do."""
        factors = {path: _factor(value, self.data[path]) for path, value in self.at.items()}
        return {path: factor for path, factor in factors.items() if factor > 1}


def read(study: Study, at: Mapping[str, str], risk: float, seed: int = 0) -> OnsetForecast:
    """The forecast of a study at a place. `at`: values by dotted path, as a person types them.

    risk: above 0 and below 1. Raises GridError in one sentence where the data do not answer.
    """
    if not 0 < risk < 1:
        raise GridError(f"--risk {risk:g}: write a probability above 0 and below 1, such as 0.05")
    curves, where = study.curves, f"grid {study.name}"
    runs = curves.onsets.runs
    if f"{COPYING}_lo" not in runs or runs[f"{COPYING}_lo"].isna().all():
        raise GridError(
            f"{where}: no finished cell has mem_frac with its control, from which the onset of copying is read; score "
            "memorization, and finish some cells"
        )
    runs = runs.dropna(subset=[f"{COPYING}_lo"]).reset_index(drop=True)
    low, high = runs[f"{COPYING}_lo"].to_numpy(float), runs[f"{COPYING}_hi"].fillna(np.inf).to_numpy(float)
    axes = [axis for axis in curves.axes if axis.path != STEPS and runs[axis.path].nunique(dropna=False) > 1]
    variables = _variables(axes, runs, where)
    place = _place(at, variables, axes, curves)
    informative = (low > 0) | np.isfinite(high)
    used = runs[informative].reset_index(drop=True)
    values = {path: used[path].astype(str).astype(float).to_numpy() for path in variables}
    times = _times(values, low[informative], high[informative])
    _check_enough(times, variables, where, len(runs))
    data = {path: _range(own[np.isfinite(times.high)]) for path, own in values.items()}
    _check_reach(place, data, where)
    posterior = censored.draws(times, seed)
    logs = np.log([place[path] for path in variables])
    steps, confident = posterior.quantile(risk, logs), posterior.with_confidence(risk, CONFIDENCE, logs)
    slopes = np.quantile(posterior.coefficients[:, 1:], [0.5, 0.025, 0.975], axis=0).T
    return OnsetForecast(
        grid=study.name,
        at=place,
        risk=risk,
        steps=int(steps),
        confidence=float((posterior.share_before(max(int(steps), 1), logs) <= risk).mean()),
        steps_confident=int(confident),
        median=posterior.quantile(0.5, logs),
        low=posterior.quantile(0.025, logs),
        high=posterior.quantile(0.975, logs),
        exponents={path: (float(a), float(b), float(c)) for path, (a, b, c) in zip(variables, slopes, strict=True)},
        scatter=(float(np.median(posterior.between)), float(np.median(posterior.within))),
        data=data,
        settings=len(times.logs),
        trajectories=_named(used, curves, values, times),
        uninformative=int((~informative).sum()),
        snapshots=_range(curves.done["step"].dropna().to_numpy(float)),
    )


def _variables(axes: list[CurveAxis], runs: pd.DataFrame, where: str) -> list[str]:
    """The paths of the axes, all of them numbers; GridError for one that is not, and so must be chosen."""
    for axis in axes:
        levels = [word for word in axis.levels if word in set(runs[axis.path].astype(str))]
        choose = f"choose one with --only {axis.path}={levels[0]}"
        shown = ", ".join(levels[:SHOWN])
        if axis.path.partition(".")[0] not in TRAINED:
            raise GridError(f"{where}: {axis.path} differs ({shown}), and the trainings are the same; {choose}")
        if not all(_is_positive(word) for word in levels):
            raise GridError(f"{where}: {axis.path} differs ({shown}), and not all are numbers above 0; {choose}")
    return [axis.path for axis in axes]


def _place(at: Mapping[str, str], variables: list[str], axes: list[CurveAxis], curves: Curves) -> dict[str, float]:
    """The value of each variable; GridError where one is missing, or something else is named."""
    place = {}
    for path, word in at.items():
        value = number(word)
        if not _is_positive(value):
            raise GridError(f"--at {path}={word}: write a number above 0")
        joined = next((axis.path for axis in axes if path in axis.along), None)
        if joined:
            raise GridError(f"--at {path}={word}: {path} moves together with {joined}; name {joined} alone")
        if path in variables:
            place[path] = float(value)
        elif path not in curves.done:
            raise GridError(f"--at {path}: no cell has this setting{suggest(path, map(str, curves.cells.columns))}")
        elif (only := {text(one) for one in curves.done[path]}) != {text(float(value))}:
            raise GridError(
                f"--at {path}={word}: {path} does not vary in the finished cells ({', '.join(sorted(only)[:SHOWN])}), "
                "so that its effect is not known; leave it out, or sweep other values"
            )
    for path in variables:
        if path not in place:
            levels = ", ".join(curves.axis(path).levels[:SHOWN])
            raise GridError(f"--at: {path} varies ({levels}); name its value with --at {path}={levels.split(', ')[0]}")
    return place


def _times(values: Mapping[str, np.ndarray], low: np.ndarray, high: np.ndarray) -> censored.Times:
    """The onsets of trajectories, those with the same variables as one setting."""
    table = np.log(np.column_stack([*values.values()])) if values else np.zeros((len(low), 0))
    logs, setting = np.unique(table, axis=0, return_inverse=True)
    return censored.Times(logs, np.asarray(setting).reshape(-1), low, high)


def _check_enough(times: censored.Times, variables: list[str], where: str, trajectories: int) -> None:
    """GridError where so few settings have an onset that a prediction would be made of nothing."""
    seen = np.unique(times.setting[(times.low > 0) & np.isfinite(times.high)])
    design = np.column_stack([np.ones(len(seen)), times.logs[seen]])
    needed = design.shape[1] + SPARE
    if len(seen) < needed:
        none_yet = int(np.isinf(times.high).sum())
        raise GridError(
            f"{where}: settings with an onset of copying between two snapshots: {len(seen)}, and {needed} are needed "
            f"({counted(trajectories, 'trajectory', 'trajectories')}, {none_yet} without an onset until their last "
            "snapshot); finish more settings, or more and longer snapshots"
        )
    if not variables:
        raise GridError(f"{where}: no number varies among the finished cells; sweep several values of data.size")
    if np.linalg.matrix_rank(design - [0, *times.logs[seen].mean(axis=0)], tol=1e-8) < design.shape[1]:
        raise GridError(
            f"{where}: among the settings with an onset of copying, {' and '.join(variables)} do not vary one without "
            "the other; choose with --only, or sweep their combinations"
        )


def _check_reach(place: Mapping[str, float], data: Mapping[str, tuple[float, float]], where: str) -> None:
    for path, value in place.items():
        if (factor := _factor(value, data[path])) > REACH:
            low, high = (text(end) for end in data[path])
            raise GridError(
                f"--at {path}={text(value)}: in {where} an onset of copying was seen for {low} to {high}, a factor of "
                f"{factor:.3g} away, and a forecast reaches a factor of {REACH:g}; sweep nearer values"
            )


def _named(
    used: pd.DataFrame, curves: Curves, values: Mapping[str, np.ndarray], times: censored.Times
) -> list[dict[str, Any]]:
    """The trajectories that were used, with what each says."""
    by = [path for path in curves.paths if path != STEPS]
    rows = curves.done.drop_duplicates([*by, "seed"])[[*by, "seed", "slug", "trajectory"]]
    names = used[[*by, "seed"]].merge(rows, on=[*by, "seed"], how="left")
    return [
        {
            "name": str(names["slug"][i]),
            "trajectory": str(names["trajectory"][i]),
            **{path: float(own[i]) for path, own in values.items()},
            "low": float(times.low[i]),
            "high": float(times.high[i]) if np.isfinite(times.high[i]) else None,
            "censored": "right" if np.isinf(times.high[i]) else "" if times.low[i] > 0 else "left",
        }
        for i in range(len(used))
    ]


def _range(values: np.ndarray) -> tuple[float, float]:
    return float(values.min()), float(values.max())


def _factor(value: float, ends: tuple[float, float]) -> float:
    """How far a value lies outside; 1 inside."""
    return max(value / ends[1], ends[0] / value, 1.0)


def _is_positive(value: Any) -> bool:
    try:
        return 0 < float(value) < float("inf")
    except (TypeError, ValueError):
        return False
