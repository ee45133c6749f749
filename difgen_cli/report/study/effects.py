"""What each axis does: one level against another at the last snapshots, paired by seed, averaged over all other axes.

Where it surely raises a metric at one level of another axis and surely lowers it at another one, the average says
nothing of either: the effect then names both (`Opposite`).

Which levels are compared follows from the grid alone, never from what was measured: of numbers the largest against the
smallest, of words each against the first. So every interval holds by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from difgen_cli.report.study import seeds, verdicts
from difgen_cli.report.study.curves import STEPS, CurveAxis, last_snapshot

if TYPE_CHECKING:
    from difgen_cli.report.study.curves import Curves

METRICS = ("mem_frac", "fd_test")


@dataclass(frozen=True)
class AtLevel:
    """The change at one level of another axis, with its interval."""

    level: str
    mean: float
    lo: float
    hi: float


@dataclass(frozen=True)
class Opposite:
    """Levels of another axis at which the change is surely up, and surely down: those where it is largest.

    looked: levels of all other axes that were looked at; the intervals hold for all of them together.
    """

    axis: str
    up: AtLevel
    down: AtLevel
    looked: int


@dataclass(frozen=True)
class Effect:
    """The change of a metric from level `against` to `level` of an axis.

    mean: of a share the difference, of what is averaged as a ratio the ratio; lo, hi: its 95 % interval; NaN where
    there is none. seeds: that are paired. settings: of the other axes that the change is averaged over. spread:
    deviation of the change between seeds (of a ratio: of its logarithm); NaN for one seed. opposite: None where the
    change has no two signs.
    """

    axis: str
    level: str
    against: str
    metric: str
    ratio: bool
    mean: float
    lo: float
    hi: float
    seeds: int
    settings: int
    spread: float
    opposite: Opposite | None = None

    @property
    def neutral(self) -> float:
        """The value that means no change."""
        return 1.0 if self.ratio else 0.0

    @property
    def has_interval(self) -> bool:
        """Whether there is an interval."""
        return bool(np.isfinite(self.lo) and np.isfinite(self.hi))

    @property
    def decided(self) -> bool:
        """Whether the interval leaves the value out that means no change."""
        return self.has_interval and not self.lo <= self.neutral <= self.hi


def read(curves: Curves) -> list[Effect]:
    """The effects of every axis of models but the steps, in the order of the grid. Cells whose copies the ratio rule
    cannot see, or of too few distinct images, are not compared: see `verdicts.py`."""
    cells = verdicts.seen(curves, last_snapshot(curves.cells, curves.paths))
    cells = cells.assign(step=cells["step"].fillna(-1)) if "step" in cells else cells.assign(step=-1)
    effects = []
    for axis in (axis for axis in curves.axes if axis.of_models and axis.path != STEPS):
        others = [path for path in curves.paths if path not in (STEPS, axis.path)]
        for against, level in _levels(axis, cells):
            for metric in (name for name in METRICS if name in curves.metrics):
                effect = _effect(curves, cells, others, (axis.path, level, against), metric)
                effects += [] if effect is None else [effect]
    return effects


def _levels(axis: CurveAxis, cells: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """The pairs that are compared, of the levels that may be: of numbers the ends, of words each with the first."""
    present = [level for level in axis.levels if (cells[axis.path] == level).any()]
    if len(present) < 2:
        return
    for level in present[-1:] if axis.numeric else present[1:]:
        yield present[0], level


def _effect(
    curves: Curves, cells: pd.DataFrame, others: list[str], compared: tuple[str, str, str], metric: str
) -> Effect | None:
    """None where no seed has both levels at the same setting and step."""
    axis, level, against = compared
    ratio = seeds.logarithmic(metric, curves.columns)
    keys = [*others, "step", "seed"]
    sides = [_side(cells[cells[axis] == one], keys, metric, ratio) for one in (against, level)]
    pairs = _balanced(sides[0].merge(sides[1], left_index=True, right_index=True, suffixes=("_a", "_b")))
    if pairs.empty:
        return None
    n = pairs.index.get_level_values("seed").nunique()
    share = not ratio and seeds.whole(metric, curves.columns) == 1
    mean, low, high, spread = _change(pairs, ratio, share)
    opposite = _opposite(pairs, others, ratio, share)
    return Effect(axis, level, against, metric, ratio, mean, low, high, n, len(pairs) // n, spread, opposite)


def _change(pairs: pd.DataFrame, ratio: bool, share: bool, among: int = 1) -> tuple[float, float, float, float]:
    """The mean change over balanced pairs with its interval, which holds for `among` of them together, and spread."""
    moved = (pairs["value_b"] - pairs["value_a"]).groupby(level="seed").mean()
    n = len(moved)
    mean, low, high = seeds.mean_interval(moved.to_numpy(float), among)
    spread = float(moved.std(ddof=1)) if n > 1 else np.nan
    if share and n > 1:
        low, high = _of_shares(pairs, spread, n, (low, high), among)
    if ratio:
        mean, low, high = (float(np.exp(number)) for number in (mean, low, high))
    return mean, low, high, spread


def _opposite(pairs: pd.DataFrame, others: list[str], ratio: bool, share: bool) -> Opposite | None:
    """Of the first of the other axes at whose levels the change has two sure signs."""
    levels = {path: list(pairs.index.unique(path)) for path in others}
    levels = {path: own for path, own in levels.items() if len(own) > 1}
    looked, neutral = sum(map(len, levels.values())), 1.0 if ratio else 0.0
    for path, own in levels.items():
        at = [
            AtLevel(level, *_change(pairs[pairs.index.get_level_values(path) == level], ratio, share, looked)[:3])
            for level in own
        ]
        up, down = [one for one in at if one.lo > neutral], [one for one in at if one.hi < neutral]
        if up and down:
            most = max(up, key=lambda one: one.mean), min(down, key=lambda one: one.mean)
            return Opposite(path, *most, looked)
    return None


def _side(cells: pd.DataFrame, keys: list[str], metric: str, ratio: bool) -> pd.DataFrame:
    """The mean `value` of the cells of each setting and seed, and `inverse`, one over its samples where known."""
    values = pd.to_numeric(cells[metric], errors="coerce").astype(float)
    ends = [pd.to_numeric(cells.get(f"{metric}_{end}", pd.Series(np.nan, cells.index))) for end in ("lo", "hi")]
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = 1 / seeds.counts(values.to_numpy(), *(end.to_numpy(float) for end in ends))
        frame = cells[keys].assign(value=np.log(values.where(values > 0)) if ratio else values, inverse=inverse)
    return frame.dropna(subset=["value"]).groupby(keys, observed=True, dropna=False)[["value", "inverse"]].mean()


def _balanced(pairs: pd.DataFrame) -> pd.DataFrame:
    """The settings that all paired seeds have: else seeds would be compared that were averaged over other settings."""
    if pairs.empty:
        return pairs
    names = [name for name in pairs.index.names if name != "seed"]
    count = pairs.groupby(level=names, observed=True, dropna=False)["value_a"].transform("size")
    return pairs[count == pairs.index.get_level_values("seed").nunique()]


def _of_shares(pairs: pd.DataFrame, spread: float, n: int, t: tuple[float, float], among: int) -> tuple[float, float]:
    """Never finer than the samples of both levels allow; Student's t where their number is not known."""
    a, b = (float(pairs[f"value_{side}"].mean()) for side in "ab")
    total_a, total_b = (np.array([len(pairs) / float(pairs[f"inverse_{side}"].mean())]) for side in "ab")
    variance, many = np.array([spread**2]), np.array([float(n)])
    ends = seeds.difference_interval(np.array([a]), np.array([b]), variance, many, (total_a, total_b), among)
    low, high = (float(end[0]) for end in ends)
    if np.isfinite(low) and np.isfinite(high):
        return low, high
    return max(t[0], -1.0), min(t[1], 1.0)
