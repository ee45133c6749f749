"""Means over seeds with their 95 % intervals: Student's t, and for shares one that stays between 0 and 1.

A share near an end is no normal variable: of three seeds, t would reach past the end, or have no width where the seeds
agree. Its interval is Wilson's (1927), which is symmetric on the logit scale, for the samples of all seeds together;
where the seeds differ by more than their samples explain, it is widened as a quasi-binomial score interval with
Student's t. It is never finer than Wilson's of all the samples.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import chdtri, ndtri, stdtrit

from difgen_cli.engine.columns import Columns
from difgen_cli.report.plotting.labels import text

Z2 = 1.959963984540054**2
FEW = 8  # counts of the rarer outcome up to which seeds must differ more than chance does on average to be told apart
SLACK = 1.01  # a single count puts the statistic at its mean, which rounding must not exceed
ALIKE = 1e-12  # of the mean: seeds that differ by less say nothing of how much seeds differ

SECONDARY = ("data.seed", "train.seed", "data.held_out_seed", "sample.seed")  # that may stand in for `seed`, in order
AUROC = re.compile(r"(^|_)(auc|auroc)(_|$)")
DIFFERENCE = re.compile(r"(_excess|_gap|_pref_share)$")  # in units of a share, but not between 0 and 1


# What is averaged ----------------------------------------------------------------------------------------------------


def whole(name: str, columns: Columns) -> float | None:
    """What a metric is at most, where it is a share: 1, or 100 in %; None for everything else.

    A share is at least 0. Differences of shares are none, an AUROC is one. A column of a table (`x`) that is not
    declared has the unit of its levels (`x_050`).
    """
    if DIFFERENCE.search(name):
        return None
    if AUROC.search(name):
        return 1.0
    levels = (spec.unit for column, spec in columns.items() if column.startswith(f"{name}_"))
    unit = columns[name].unit if name in columns else next(levels, "")
    return {"share": 1.0, "%": 100.0}.get(unit)


def logarithmic(name: str, columns: Columns) -> bool:
    """Whether a metric spans decades: averaged on a log scale, or an interval would reach below zero."""
    return name in columns and columns[name].scale in ("log", "ratio")


def medians(most: int) -> list[float | None]:
    """The median of χ²/(K − 1) with K − 1 degrees of freedom, by K up to `most`; none below two seeds."""
    return [None, None, *(float(chdtri(n - 1, 0.5)) / (n - 1) for n in range(2, max(2, most) + 1))]


def named(columns: Iterable[Any]) -> list[str]:
    """The columns that are seeds of some section: those that may stand in for `seed` first, in their order."""
    seed_columns = {str(name) for name in columns if "." in str(name) and str(name).endswith("seed")}
    return [name for name in SECONDARY if name in seed_columns] + sorted(seed_columns - set(SECONDARY))


def of_replicates(cells: pd.DataFrame) -> str:
    """The column that tells replicates apart: `seed`, or where that is the same everywhere the first seed that varies.

    Seeds are no axis. Where several vary by themselves, cells of one replicate are averaged before replicates are.
    """
    if "seed" not in cells or cells["seed"].nunique(dropna=False) > 1:
        return "seed"
    return next((name for name in named(cells.columns) if cells[name].nunique() > 1), "seed")


def over_seeds(frame: pd.DataFrame, by: Sequence[str], metrics: Sequence[str], columns: Columns) -> pd.DataFrame:
    """Mean and 95 % interval over seeds of every metric in every group; positive ones on the scale that they declare.

    Returns one line per group and metric with a value: `by`…, `metric`, `n` (seeds), `mean`, `lo`, `hi`,
    `interval` and the per-seed estimates `seed_<k>`. With one seed there is no interval over seeds: where no
    group has more, the row's own interval (given the model, T and H) stands in and `interval` says so. Shares have a
    score interval (see above), with as many samples as make the rows' own intervals; other metrics Student's t. Where
    all seeds agree and no row has an interval, there is none: that says nothing of how much seeds differ.
    """
    by = list(by)
    held = [name for name in metrics if name in frame.columns]
    tall = pd.concat([_tall(frame, by, name) for name in held], ignore_index=True) if held else pd.DataFrame()
    if tall.empty:
        return pd.DataFrame(columns=[*by, "metric", "n", "mean", "lo", "hi", "interval"])
    keys = [*by, "metric"]
    per_seed = tall.groupby([*keys, "seed"], observed=True, sort=False, dropna=False).mean()
    positive = tall.groupby("metric")["value"].min() > 0
    logged_names = [str(name) for name in positive.index[positive] if logarithmic(str(name), columns)]
    scaled = per_seed.copy()
    logged = scaled.index.get_level_values("metric").isin(logged_names)
    scaled.loc[logged, "value"] = np.log(scaled.loc[logged, "value"])
    top = {str(name): _top(str(name), values, columns) for name, values in tall.groupby("metric")}
    value = _summarised(scaled, keys, {name: at for name, at in top.items() if at})
    seeds = per_seed["value"].unstack("seed")
    seeds.columns = [f"seed_{text(seed)}" for seed in seeds.columns]
    numbers: pd.DataFrame = value.join(seeds).reset_index()
    is_logged = numbers["metric"].isin(logged_names)
    linear = ["mean"] if value["n"].max() == 1 else ["mean", "lo", "hi"]  # a row's own interval was never logged
    numbers.loc[is_logged, linear] = np.exp(numbers.loc[is_logged, linear])
    return numbers


def mean_interval(values: np.ndarray, among: int = 1) -> tuple[float, float, float]:
    """Mean and 95 % t interval of one value per seed, no share; NaN ends for one seed, or where all agree.

    among: of so many intervals all hold together with 95 % (Bonferroni).
    """
    mean, n = float(values.mean()), len(values)
    spread = float(values.std(ddof=1)) if n > 1 else np.nan
    if not spread > ALIKE * abs(mean):
        return mean, np.nan, np.nan
    half = float(stdtrit(n - 1, 1 - 0.025 / among)) * spread / np.sqrt(n)
    return mean, mean - half, mean + half


def _summarised(scaled: pd.DataFrame, keys: list[str], top: dict[str, float]) -> pd.DataFrame:
    """`n`, `mean`, `lo`, `hi` and `interval` by group, from a line per seed with `value`, `lo` and `hi`."""
    groups = scaled.groupby(keys, observed=True, sort=False, dropna=False)
    value = groups["value"].agg(n="count", mean="mean", sd="std")
    if value["n"].max() == 1:
        own = groups[["lo", "hi"]].first()
        summary: pd.DataFrame = value.drop(columns="sd").join(own)
        return summary.assign(interval=np.where(own["lo"].notna(), "own, one seed", ""))
    half = stdtrit(value["n"].clip(lower=2) - 1, 0.975) * value["sd"] / np.sqrt(value["n"])  # null at n = 1
    half = half.where(value["sd"] > ALIKE * value["mean"].abs())
    value = value.assign(lo=value["mean"] - half, hi=value["mean"] + half, interval="t over seeds")
    at = pd.Series(scaled.index.get_level_values("metric").map(top), scaled.index, dtype=float)
    if at.notna().any():
        shares = scaled[at.notna()].div(at.dropna(), axis=0)
        inverse = 1 / counts(*(shares[end].to_numpy(float) for end in ("value", "lo", "hi")))
        mean_inverse = pd.Series(inverse, shares.index).groupby(keys, observed=True, sort=False, dropna=False).mean()
        here = value.loc[mean_inverse.index]
        scale = here.index.get_level_values("metric").map(top).to_numpy(float)
        many, total = here["n"].to_numpy(float), here["n"].to_numpy(float) / mean_inverse.to_numpy(float)
        mean, spread = here["mean"].to_numpy(float) / scale, here["sd"].to_numpy(float) / scale
        ends = score_interval(mean, spread**2, many, total)
        value.loc[here.index, "lo"], value.loc[here.index, "hi"] = (end * scale for end in ends)
        value.loc[here.index, "interval"] = "score over seeds"
    summary = value.drop(columns="sd")
    return summary.assign(interval=summary["interval"].where(summary["lo"].notna(), ""))


def _top(name: str, values: pd.DataFrame, columns: Columns) -> float | None:
    """What a share is at most; None where a value lies outside, and the metric is no share after all."""
    top = whole(name, columns)
    return top if top and values["value"].min() >= 0 and values["value"].max() <= top else None


def _tall(frame: pd.DataFrame, by: list[str], name: str) -> pd.DataFrame:
    columns: dict[str, Any] = {path: frame[path] for path in by} | {"seed": frame["seed"], "metric": name}
    columns["value"] = frame[name].astype("float64")
    for end in ("lo", "hi"):
        columns[end] = frame.get(f"{name}_{end}", np.nan)
    return pd.DataFrame(columns).dropna(subset=["value"])


# Intervals of shares -------------------------------------------------------------------------------------------------


def counts(share: np.ndarray, lo: np.ndarray, hi: np.ndarray) -> np.ndarray:
    """How many independent samples make Wilson's 95 % interval of a share (0 … 1) as wide as [lo, hi]; NaN for none.

    With w the width and u = z²/n, Wilson's is w²(1 + u)² = 4p(1 − p)u + u². Any other interval has an effective count.
    """
    w2 = np.square(np.clip(np.asarray(hi, float) - lo, 0, 1 - 1e-9))
    half = 2 * np.asarray(share, float) * (1 - np.asarray(share, float)) - w2
    u = (np.sqrt(half**2 + (1 - w2) * w2) - half) / (1 - w2)
    with np.errstate(divide="ignore"):
        return np.where(w2 > 0, Z2 / u, np.nan)


def squared_quantile(among: int = 1) -> float:
    """z² of a 95 % interval; of each of so many intervals that hold together with 95 % (Bonferroni)."""
    return Z2 if among == 1 else float(np.square(ndtri(1 - 0.025 / among)))


def exceeds_sampling(dispersion: np.ndarray, seeds: np.ndarray, rare: np.ndarray) -> np.ndarray:
    """Whether seeds differ by more than their samples explain, so that the difference counts.

    dispersion: variance between seeds over what their samples alone explain, 1 on average without any other cause. It
    counts where it exceeds the median of χ²/(K − 1); where few counts decide, its mean: `rare`, how many samples had
    the rarer outcome, since of one count alone the dispersion is 1 whatever the cause.
    """
    freedom = np.maximum(seeds - 1, 1)
    median = chdtri(freedom, 0.5) / freedom
    return np.asarray(dispersion > SLACK * (median + (1 - median) * np.minimum(1, FEW / np.maximum(rare, 1e-9))))


def score_interval(
    share: np.ndarray, variance: np.ndarray, seeds: np.ndarray, total: np.ndarray, among: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """The 95 % interval of a mean share (0 … 1) of so many seeds, with the variance between them.

    total: samples of all seeds together; NaN where it is not known, and the variance between seeds alone counts. NaN
    for a single seed, and where neither is known. among: of so many intervals all hold together with 95 % (Bonferroni).
    """
    binomial, z2 = share * (1 - share), squared_quantile(among)
    with np.errstate(divide="ignore", invalid="ignore"):
        dispersion = np.where(binomial > 0, variance * total / seeds / binomial, 0.0)
        t2 = np.square(stdtrit(np.maximum(seeds - 1, 1), 1 - 0.025 / among))
        wider = exceeds_sampling(dispersion, seeds, total * np.minimum(share, 1 - share))
        from_samples = np.where(wider, np.maximum(z2, t2 * dispersion), z2) / total
        between = t2 * variance / (seeds * binomial)
        alike = np.sqrt(variance) <= ALIKE * share
        u = np.where(np.isfinite(total), from_samples, np.where(alike, np.nan, between))
    return wilson(share, np.where(seeds > 1, u, np.nan))


def wilson(share: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's interval with u = z²/n; exact at the ends, where rounding would leave it beside."""
    centre = (share + u / 2) / (1 + u)
    half = np.sqrt(u * share * (1 - share) + u * u / 4) / (1 + u)
    lo, hi = np.where(share <= 0, 0.0, centre - half), np.where(share >= 1, 1.0, centre + half)
    return np.where(np.isnan(u), np.nan, lo), np.where(np.isnan(u), np.nan, hi)


def difference_interval(
    a: np.ndarray,
    b: np.ndarray,
    variance: np.ndarray,
    seeds: np.ndarray,
    totals: tuple[np.ndarray, np.ndarray],
    among: int = 1,
) -> tuple[np.ndarray, np.ndarray]:
    """The 95 % interval of the difference b − a of two mean shares over paired seeds, between −1 and 1.

    variance: of the difference between seeds. Newcombe's (1998, method 10) of two Wilson intervals for all samples;
    where the differences vary by more than samples explain, at least as wide as Student's t of them. NaN for a single
    pair, and where a total is not known. among: as in `score_interval`.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        explained = seeds * (a * (1 - a) / totals[0] + b * (1 - b) / totals[1])
        dispersion = np.where(explained > 0, variance / explained, 0.0)
        rare = totals[0] * np.minimum(a, 1 - a) + totals[1] * np.minimum(b, 1 - b)
        half = stdtrit(np.maximum(seeds - 1, 1), 1 - 0.025 / among) * np.sqrt(variance / seeds)
        half = np.where(exceeds_sampling(dispersion, seeds, rare), half, 0.0)
        z2 = np.where(seeds > 1, squared_quantile(among), np.nan)
        lo, hi = joined(a, wilson(a, z2 / totals[0]), b, wilson(b, z2 / totals[1]))
    return np.maximum(np.minimum(lo, b - a - half), -1.0), np.minimum(np.maximum(hi, b - a + half), 1.0)


def joined(
    a: np.ndarray, ends_a: tuple[np.ndarray, np.ndarray], b: np.ndarray, ends_b: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """The interval of b − a from those of two independent shares: their distances to the ends, squared and added."""
    below, above = np.hypot(b - ends_b[0], ends_a[1] - a), np.hypot(ends_b[1] - b, a - ends_a[0])
    return b - a - below, b - a + above
