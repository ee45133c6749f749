"""Two run directories side by side: the same cells by their settings, and what became of each metric."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from difgen_cli.report import Study, curves
from difgen_cli.report.curves import LOGARITHMIC, SECTIONS, Axis, Curves

VALUES = ["a", "b", "mean", "lo", "hi"]
COLUMNS = ["metric", "scale", "n_a", "n_b", "pairs", *VALUES, "interval"]
MADE = (
    "difgen",
    "git_commit",
    "git_dirty",
    "torch",
    "device",
    "train_way",
    "sample_way",
)  # of the provenance, that may explain a change
ABSENT_MOST = 6  # settings and metrics that a sentence lists


@dataclass(frozen=True)
class Side:
    """One of the two: what it is called, its study, and its cells ready for drawing."""

    name: str
    study: Study
    read: Curves


@dataclass(frozen=True)
class Comparison:
    """changes: one line per group of cells that both have and metric: the axes, `metric`, `scale` (difference B − A, or
    ratio B / A for what is averaged on a log scale), `n_a`, `n_b`, `pairs` (seeds that both have), `a`, `b`, `mean`,
    `lo`, `hi` (95 % t interval over paired seeds, else Welch's over both; null with a single seed), `interval`.
    """

    a: Side
    b: Side
    axes: tuple[Axis, ...]
    changes: pd.DataFrame
    matched: int  # cells that both have finished
    notes: tuple[str, ...]  # what only one has


def compare(a: tuple[str, Study], b: tuple[str, Study]) -> Comparison:
    """Match the cells of two studies by their settings, seed and step, and take the change of every metric.

    Settings that only one of them knows (new ones, of a newer version) cannot tell cells apart, and are named.
    """
    sides = [Side(name, study, curves.read(study)) for name, study in (a, b)]
    settings = [_settings(side.study.rows) for side in sides]
    shared = [name for name in settings[0] if name in settings[1]]
    cells = [_identified(side.study.rows, shared) for side in sides]
    both = cells[0].merge(cells[1][["identity"]], on="identity")["identity"]
    axes = curves.found_axes(pd.concat([frame[shared] for frame in cells], ignore_index=True), _said(sides, shared))
    metrics = [m for m in sides[0].read.metrics if m in sides[1].read.metrics]
    frames = [curves.coded(frame[frame["identity"].isin(both)], axes) for frame in cells]
    changes = _changes(frames, [axis.path for axis in axes], metrics)
    return Comparison(sides[0], sides[1], axes, changes, len(both), tuple(_notes(sides, settings, cells, set(both))))


def _settings(rows: pd.DataFrame) -> list[str]:
    """Columns that say what a cell is, but for seeds: those vary together and stand in a column of their own."""
    named = [str(name) for name in rows.columns]
    return [n for n in named if n.partition(".")[0] in SECTIONS and "." in n and not n.endswith("seed")]


def _said(sides: Sequence[Side], shared: Sequence[str]) -> dict[str, list[Any]]:
    said: dict[str, list[Any]] = {}
    for side in sides:
        for path, values in side.study.axes.items():
            if path in shared:
                said[path] = list(dict.fromkeys([*said.get(path, []), *values]))
    return said


def _identified(rows: pd.DataFrame, shared: Sequence[str]) -> pd.DataFrame:
    """The finished model cells with `identity`: their shared settings, seed and step as words; each once."""
    done = rows[(rows["kind"] == "model") & (rows["state"] == "done")].reset_index(drop=True)
    names = [*shared, "seed", *(["step"] if "step" in done else [])]
    parts = [curves.worded(done[name]) for name in names]
    identity = ["\0".join(words) for words in zip(*parts, strict=True)]
    return done.assign(identity=identity).drop_duplicates("identity")


def _changes(frames: Sequence[pd.DataFrame], paths: list[str], metrics: Sequence[str]) -> pd.DataFrame:
    """The change of every metric in every group of cells: over the seeds that both have, else between the means."""
    by = [*paths, "seed"]
    left, right = (frame.groupby(by, observed=True, dropna=False)[list(metrics)].mean() for frame in frames)
    ratios = [m for m in metrics if m in LOGARITHMIC and (left[m].min() > 0) and (right[m].min() > 0)]
    parts = []
    for metric in metrics:
        a, b = (frame[metric].dropna().astype("float64") for frame in (left, right))
        if metric in ratios:
            a, b = a.map(math.log), b.map(math.log)
        part = changed(a.rename("a").reset_index(), b.rename("b").reset_index(), paths)
        scale = "ratio" if metric in ratios else "difference"
        if metric in ratios:
            part[VALUES] = np.exp(part[VALUES])
        parts.append(part.assign(metric=metric, scale=scale))
    whole = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[*paths, *COLUMNS])
    return whole[[*paths, *COLUMNS]]


def changed(a: pd.DataFrame, b: pd.DataFrame, paths: Sequence[str]) -> pd.DataFrame:
    """B against A in each group of `paths`, from lines with `seed` and a value each (`a`, `b`).

    Paired by seed where both have one or more seeds in common; else Welch's interval for the difference of the means.
    A single pair, or a single seed on one side, has no interval.
    """
    keys: list[str] = list(paths) or ["#"]
    a, b = (frame if paths else frame.assign(**{"#": 0}) for frame in (a, b))
    pairs = a.merge(b, on=[*keys, "seed"])
    groups = pairs.assign(moved=pairs["b"] - pairs["a"]).groupby(keys, observed=True, dropna=False)
    paired = groups.agg(pairs=("moved", "size"), a=("a", "mean"), b=("b", "mean"), mean=("moved", "mean"),
                        sd=("moved", "std")).reset_index()  # fmt: skip
    half = _t_half(paired["sd"] / np.sqrt(paired["pairs"]), paired["pairs"] - 1)
    paired["interval"] = np.where(paired["pairs"] > 1, "t over paired seeds", "")
    sides = [f.groupby(keys, observed=True, dropna=False)[n].agg(["size", "mean", "var"]).add_suffix(f"_{n}")
             for f, n in ((a, "a"), (b, "b"))]  # fmt: skip
    both = sides[0].join(sides[1], how="inner").reset_index()
    paired = paired.assign(half=half).drop(columns="sd")
    rest = both.merge(paired[keys], on=keys, how="left", indicator=True)
    whole = pd.concat([paired, _unpaired(rest[rest["_merge"] == "left_only"], keys)], ignore_index=True)
    whole = whole.merge(both[[*keys, "size_a", "size_b"]].rename(columns={"size_a": "n_a", "size_b": "n_b"}), on=keys)
    return whole.assign(lo=whole["mean"] - whole["half"], hi=whole["mean"] + whole["half"])


def _unpaired(both: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """The difference of the means where no seed is shared, with unequal variances (Welch 1947)."""
    x, y = both["var_a"] / both["size_a"], both["var_b"] / both["size_b"]  # null for a single seed
    freedom = (x + y) ** 2 / (x**2 / (both["size_a"] - 1) + y**2 / (both["size_b"] - 1))
    half = _t_half(np.sqrt(x + y), freedom)
    values = {"a": both["mean_a"], "b": both["mean_b"], "mean": both["mean_b"] - both["mean_a"], "half": half}
    return both[keys].assign(pairs=0, interval=np.where(half.notna(), "Welch t over seeds", ""), **values)


def _t_half(error: pd.Series, freedom: pd.Series) -> pd.Series:
    """Half of a 95 % t interval; null where there is no degree of freedom."""
    return pd.Series(stdtrit(freedom.where(freedom > 0), 0.975) * error, index=error.index)


# What only one has ---------------------------------------------------------------------------------------------------


def _notes(
    sides: Sequence[Side], settings: Sequence[list[str]], cells: Sequence[pd.DataFrame], both: set[str]
) -> list[str]:
    """What only one of them has: cells, settings, metrics; and what made each."""
    notes = []
    for at, side in enumerate(sides):
        other = sides[1 - at]
        alone = cells[at][~cells[at]["identity"].isin(both)]
        if len(alone):
            notes.append(f"only {side.name} has {len(alone):,} finished cells{_spread(alone, side)}")
        for what, mine, theirs in (
            ("settings", settings[at], settings[1 - at]),
            ("metrics", list(side.read.metrics), list(other.read.metrics)),
        ):
            extra = [name for name in mine if name not in theirs]
            if extra:
                more = f" and {len(extra) - ABSENT_MOST} more" if len(extra) > ABSENT_MOST else ""
                notes.append(f"only {side.name} has the {what} {', '.join(extra[:ABSENT_MOST])}{more}")
    made = [{k: v for k, v in side.study.provenance.items() if k in MADE} for side in sides]
    for name in MADE:
        values = [side.get(name) for side in made]
        if values[0] != values[1]:
            notes.append(f"{name}: {values[0] or 'not known'} in {sides[0].name}, {values[1] or 'not known'} in "
                         f"{sides[1].name}")  # fmt: skip
    return notes


def _spread(alone: pd.DataFrame, side: Side) -> str:
    """Where cells stand that only one has: the levels of each axis, where few."""
    parts = []
    for path in side.study.axes:
        if path in alone:
            levels = list(dict.fromkeys(curves.worded(alone[path])))
            parts.append(f"{path} {', '.join(levels[:4])}{' …' if len(levels) > 4 else ''}")
    return f" ({'; '.join(parts)})" if parts else ""
