"""Two run directories side by side: the same cells by their settings, and what became of each metric."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from difgen_cli.engine.columns import Columns
from difgen_cli.engine.plugins import COLUMN_SECTIONS
from difgen_cli.report import Study
from difgen_cli.report.study import curves, seeds
from difgen_cli.report.study.curves import CurveAxis, Curves

VALUES = ["a", "b", "mean", "lo", "hi"]
COLUMNS = ["metric", "scale", "n_a", "n_b", "pairs", *VALUES, "interval"]
PROVENANCE = (
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
    `lo`, `hi` (95 % interval over paired seeds, else over both; null with a single seed), `interval` (what it is: t or
    Welch's, and for shares Newcombe's of two score intervals, which stays between −1 and 1).
    """

    a: Side
    b: Side
    axes: tuple[CurveAxis, ...]
    changes: pd.DataFrame
    matched: int  # cells that both have finished
    notes: tuple[str, ...]  # what only one has


def compare(a: tuple[str, Study], b: tuple[str, Study]) -> Comparison:
    """Match the cells of two studies by their settings, seed and step, and take the change of every metric.

    Settings that only one of them knows (new ones, of a newer version) cannot tell cells apart, and are named. Cells
    that differ in a seed alone are replicates, and pair with the same seed.
    """
    sides = [Side(name, study, study.curves) for name, study in (a, b)]
    settings = [_settings(side.study.rows) for side in sides]
    shared = [name for name in settings[0] if name in settings[1]]
    cells = [_identified(side.study.rows, shared, _replicates(sides)) for side in sides]
    both = cells[0].merge(cells[1][["identity"]], on="identity")["identity"]
    axes = curves.found_axes(pd.concat([frame[shared] for frame in cells], ignore_index=True), _levels(sides, shared))
    metrics = [m for m in sides[0].read.metrics if m in sides[1].read.metrics]
    frames = [curves.coded(frame[frame["identity"].isin(both)], axes) for frame in cells]
    declared = {**sides[0].read.columns, **sides[1].read.columns}
    changes = _changes(frames, [axis.path for axis in axes], metrics, declared)
    return Comparison(sides[0], sides[1], axes, changes, len(both), tuple(_notes(sides, settings, cells, set(both))))


def _settings(rows: pd.DataFrame) -> list[str]:
    """Columns that say what a cell is, but for seeds: those vary together and stand in a column of their own."""
    named = [str(name) for name in rows.columns]
    return [n for n in named if n.partition(".")[0] in COLUMN_SECTIONS and "." in n and not n.endswith("seed")]


def _levels(sides: Sequence[Side], shared: Sequence[str]) -> dict[str, list[Any]]:
    values_by_path: dict[str, list[Any]] = {}
    for side in sides:
        for path, values in side.study.axes.items():
            if path in shared:
                values_by_path[path] = list(dict.fromkeys([*values_by_path.get(path, []), *values]))
    return values_by_path


def _replicates(sides: Sequence[Side]) -> list[str]:
    """The columns of both by which cells pair: `seed` first, and the seeds that vary within it on either side."""
    cells = [side.study.rows[side.study.rows["kind"] == "model"] for side in sides]
    shared = [name for name in seeds.named(cells[0].columns) if name in cells[1]]
    varied = [n for n in shared if any((rows.groupby("seed")[n].nunique() > 1).any() for rows in cells)]
    return ["seed", *varied]


def _identified(rows: pd.DataFrame, shared: Sequence[str], replicates: Sequence[str]) -> pd.DataFrame:
    """The finished model cells with `identity`: their shared settings, seeds and step as words; each once.

    `seed` becomes the seed that tells replicates apart.
    """
    done = rows[(rows["kind"] == "model") & (rows["state"] == "done")].reset_index(drop=True)
    names = [*shared, *replicates, *(["step"] if "step" in done else [])]
    parts = [curves.worded(done[name]) for name in names]
    identity = ["\0".join(words) for words in zip(*parts, strict=True)]
    own = "seed" if done["seed"].nunique() > 1 else replicates[min(1, len(replicates) - 1)]
    return done.assign(identity=identity, seed=done[own]).drop_duplicates("identity")


def _changes(
    frames: Sequence[pd.DataFrame], paths: list[str], metrics: Sequence[str], columns: Columns
) -> pd.DataFrame:
    """The change of every metric in every group of cells: over the seeds that both have, else between the means."""
    by = [*paths, "seed"]
    needed = [name for metric in metrics for name in (metric, f"{metric}_lo", f"{metric}_hi")]
    left, right = (
        frame.reindex(columns=[*by, *needed]).groupby(by, observed=True, dropna=False).mean() for frame in frames
    )
    logged = [metric for metric in metrics if seeds.logarithmic(metric, columns)]
    ratios = [metric for metric in logged if left[metric].min() > 0 and right[metric].min() > 0]
    parts = []
    for metric in metrics:
        a, b = (_values(frame, metric, name) for frame, name in ((left, "a"), (right, "b")))
        top = seeds.whole(metric, columns)
        if metric in ratios:
            a["a"], b["b"] = np.log(a["a"]), np.log(b["b"])
        part = changed(a, b, paths, top if top and _within(a["a"], top) and _within(b["b"], top) else None)
        if metric in ratios:
            part[VALUES] = np.exp(part[VALUES])
        parts.append(part.assign(metric=metric, scale="ratio" if metric in ratios else "difference"))
    whole = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[*paths, *COLUMNS])
    return whole[[*paths, *COLUMNS]]


def _values(frame: pd.DataFrame, metric: str, name: str) -> pd.DataFrame:
    """Lines with the value of a metric, called `name`, and the ends of its own interval, `<name>_lo` and `_hi`."""
    columns = {metric: name, f"{metric}_lo": f"{name}_lo", f"{metric}_hi": f"{name}_hi"}
    values = frame[list(columns)].rename(columns=columns).astype("float64")
    return values.dropna(subset=name).reset_index()


def _within(values: pd.Series, top: float) -> bool:
    return bool(values.between(0, top).all())


def changed(a: pd.DataFrame, b: pd.DataFrame, paths: Sequence[str], top: float | None = None) -> pd.DataFrame:
    """B against A in each group of `paths`, from lines with `seed` and a value each (`a`, `b`).

    Paired by seed where both have one or more seeds in common; else an interval for the difference of the means: t, or
    Welch's. A single pair, or a single seed on one side, has none. top: what a share is at most; its interval is
    Newcombe's (1998) of the two score intervals, from as many samples as make the rows' own (`a_lo`, `a_hi`, …).
    """
    keys: list[str] = list(paths) or ["#"]
    a, b = (frame if paths else frame.assign(**{"#": 0}) for frame in (a, b))
    a, b = (_counted(frame, name, top) for frame, name in ((a, "a"), (b, "b")))
    paired = _paired(a, b, keys, top)
    sides = [_side(frame, name, keys) for frame, name in ((a, "a"), (b, "b"))]
    both = sides[0].join(sides[1], how="inner").reset_index()
    rest = both.merge(paired[keys], on=keys, how="left", indicator=True)
    whole = pd.concat([paired, _unpaired(rest[rest["_merge"] == "left_only"], keys, top)], ignore_index=True)
    return whole.merge(both[[*keys, "n_a", "n_b"]], on=keys)


def _counted(frame: pd.DataFrame, name: str, top: float | None) -> pd.DataFrame:
    """With `inverse_<name>`: one over the samples that make the row's own interval of a share; null where not known."""
    if top is None or f"{name}_lo" not in frame:
        return frame.assign(**{f"inverse_{name}": np.nan})
    ends = (frame[column].to_numpy(float) / top for column in (name, f"{name}_lo", f"{name}_hi"))
    return frame.assign(**{f"inverse_{name}": 1 / seeds.counts(*ends)})


def _paired(a: pd.DataFrame, b: pd.DataFrame, keys: list[str], top: float | None) -> pd.DataFrame:
    """The differences of the pairs, which have a seed in common."""
    pairs = a.merge(b, on=[*keys, "seed"])
    groups = pairs.assign(moved=pairs["b"] - pairs["a"]).groupby(keys, observed=True, dropna=False)
    changes = groups.agg(
        pairs=("moved", "size"), a=("a", "mean"), b=("b", "mean"), mean=("moved", "mean"), sd=("moved", "std"),
        inverse_a=("inverse_a", "mean"), inverse_b=("inverse_b", "mean"),
    ).reset_index()  # fmt: skip
    half = _t_half(changes["sd"] / np.sqrt(changes["pairs"]), changes["pairs"] - 1)
    alike = (changes["sd"] <= seeds.ALIKE * changes["mean"].abs()) & (changes["mean"] != 0)
    half = half.mask(alike)  # the same change to the last digit says nothing of how much changes vary
    changes = changes.assign(lo=changes["mean"] - half, hi=changes["mean"] + half)
    changes["interval"] = np.where(half.notna(), "t over paired seeds", "")
    if top is not None:
        totals = [(changes["pairs"] / changes[f"inverse_{name}"]).to_numpy(float) for name in ("a", "b")]
        shares = [(changes[name] / top).to_numpy(float) for name in ("a", "b")]
        many, spread = changes["pairs"].to_numpy(float), (changes["sd"] / top).to_numpy(float)
        ends = seeds.difference_interval(shares[0], shares[1], spread**2, many, (totals[0], totals[1]))
        changes = _score(changes, ends, top, "score over paired seeds")
    return changes.drop(columns=["sd", "inverse_a", "inverse_b"])


def _side(frame: pd.DataFrame, name: str, keys: list[str]) -> pd.DataFrame:
    groups = frame.groupby(keys, observed=True, dropna=False)
    ways = {"n": (name, "size"), "mean": (name, "mean"), "var": (name, "var"), "inverse": (f"inverse_{name}", "mean")}
    return groups.agg(**ways).add_suffix(f"_{name}")


def _unpaired(both: pd.DataFrame, keys: list[str], top: float | None) -> pd.DataFrame:
    """The difference of the means where no seed is shared, with unequal variances (Welch 1947)."""
    x, y = both["var_a"] / both["n_a"], both["var_b"] / both["n_b"]  # null for a single seed
    freedom = (x + y) ** 2 / (x**2 / (both["n_a"] - 1) + y**2 / (both["n_b"] - 1))
    half = _t_half(np.sqrt(x + y), freedom)
    mean = both["mean_b"] - both["mean_a"]
    values = {"a": both["mean_a"], "b": both["mean_b"], "mean": mean, "lo": mean - half, "hi": mean + half}
    changes = both[keys].assign(pairs=0, interval=np.where(half.notna(), "Welch t over seeds", ""), **values)
    if top is None:
        return changes
    shares, ends = [], []
    for name in ("a", "b"):
        many, share = both[f"n_{name}"].to_numpy(float), (both[f"mean_{name}"] / top).to_numpy(float)
        variance, total = both[f"var_{name}"].to_numpy(float) / top**2, many / both[f"inverse_{name}"].to_numpy(float)
        shares.append(share)
        ends.append(seeds.score_interval(share, variance, many, total))
    return _score(changes, seeds.joined(shares[0], ends[0], shares[1], ends[1]), top, "score over seeds")


def _score(changes: pd.DataFrame, ends: tuple[np.ndarray, np.ndarray], top: float, name: str) -> pd.DataFrame:
    """With the ends of a score interval of shares where there are any; t's elsewhere, within the range of a change."""
    has_ends = np.isfinite(ends[0] + ends[1])
    lo, hi = (changes[column].clip(-top, top) for column in ("lo", "hi"))
    bounds = {"lo": np.where(has_ends, ends[0] * top, lo), "hi": np.where(has_ends, ends[1] * top, hi)}
    return changes.assign(**bounds, interval=np.where(has_ends, name, changes["interval"]))


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
    provenances = [{k: v for k, v in side.study.provenance.items() if k in PROVENANCE} for side in sides]
    for name in PROVENANCE:
        values = [side.get(name) for side in provenances]
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
