"""When copying, quality and the gap set in along a training run, and how that moves with the number of images.

An onset is known only to lie between two snapshots: (low, high], and no more than a bound where it came before the
first one or after the last. Copying and the gap set in where they hold at two consecutive snapshots. Quality is near
its best at the first snapshot whose distance is within 10 % of the least: a minimum may well stand alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from difgen_cli.report import spreadsheet
from difgen_cli.report.plotting.labels import text
from difgen_cli.report.study import emm, lognormal
from difgen_cli.report.study.curves import SIZE, STEPS, Curves, per_group

COPIED, NEAR_BEST, GAP, GAP_SIGMA = 0.01, 1.1, 0.1, 0.5  # of tau_mem, tau_gen, tau_gap, and its level in σ_d

# onset -> (the words of its criterion, the columns that it needs)
CRITERIA = {
    "tau_mem": ("memorized share ≥ 0.01 and above the control", ("mem_frac", "mem_frac_lo", "mem_frac_control_hi")),
    "tau_gen": ("first snapshot with a Fréchet distance ≤ 1.1 × its least", ("fd_test",)),
    "tau_gap": ("gap > 0.1 at σ = 0.5 σ_d", ("gap_at_050",)),
}
# what ends the interval of an onset that need not hold twice
FIRST_WITH = {
    "tau_gen": "first snapshot where it holds; missing: that is the last one, and a lower distance may come later"
}
# column of onset.csv -> (unit, meaning)
COLUMNS = {
    "snapshots": ("snapshots", "finished ones, which the onsets lie between"),
    **{
        f"{name}{end}": ("steps", meaning)
        for name, (words, _) in CRITERIA.items()
        for end, meaning in (
            ("", f"onset of: {words}; geometric middle of its ends, missing where one is not known"),
            ("_lo", "last snapshot before it; 0: it came before the first snapshot"),
            ("_hi", FIRST_WITH.get(name, "first of two consecutive snapshots where it holds; missing: it never did")),
        )
    },
    "tau_mem_per_n": ("steps/image", "tau_mem over the distinct training images"),
    "emm": ("images", "largest size with a memorized share of 0.9 at some snapshot; missing: no size has it"),
    "emm_next": (
        "images",
        "next larger size that was measured, where the share stays below 0.9 and mem_power is 0.9 or more, so that "
        "copies would have been seen; missing: there is none, or the rule is blind there",
    ),
    "censored": (
        "",
        "onsets with an unknown end: left (before the first snapshot), right (after the last), unknown; emm left "
        "(below the smallest size), emm right (no larger size was measured), emm blind (mem_power < 0.9 at the next "
        "size: whether that is memorized is not known)",
    ),
}


@dataclass(frozen=True)
class Onset:
    """After step `low` and not after step `high`."""

    low: float
    high: float

    @property
    def censored(self) -> str:
        """Which end is not known: left, right, both (unknown), or none (empty)."""
        if np.isfinite(self.high):
            return "" if self.low > 0 else "left"
        return "right" if self.low > 0 else "unknown"

    @property
    def middle(self) -> float:
        return float(np.sqrt(self.low * self.high)) if not self.censored else np.nan


def crossing(steps: np.ndarray, holds: np.ndarray) -> Onset | None:
    """Where `holds` begins to be true at two consecutive snapshots; steps ascend. None without a snapshot.

    What holds at the last snapshot alone may or may not go on to hold: it is right-censored at the snapshot before.
    """
    if not len(steps):
        return None
    twice = np.flatnonzero(holds[:-1] & holds[1:])
    if len(twice):
        first = int(twice[0])
        return Onset(float(steps[first - 1]) if first else 0.0, float(steps[first]))
    without = np.flatnonzero(~holds)
    return Onset(float(steps[without[-1]]) if len(without) else 0.0, np.inf)


def nearly_best(steps: np.ndarray, distance: np.ndarray) -> Onset | None:
    """The first snapshot whose distance is within 10 % of the least of all; steps ascend. None without a snapshot.

    Where that is the last one, the distance was still falling, and its least may come later: right-censored at the
    snapshot before.
    """
    if not len(steps):
        return None
    first = int(np.flatnonzero(distance <= NEAR_BEST * distance.min())[0])
    low = float(steps[first - 1]) if first else 0.0
    return Onset(low, float(steps[first]) if first < len(steps) - 1 else np.inf)


def onsets(curves: Curves) -> pd.DataFrame:
    """onset.csv: one line per training run (axes but the steps, and seed), with the columns of COLUMNS.

    Empty where no row has a step, or none of the criteria was measured.
    """
    by = [path for path in curves.paths if path != STEPS]
    if "step" not in curves.done:
        return pd.DataFrame()
    cells = curves.done.dropna(subset=["step"])
    cells = cells.assign(gap_at_050=cells["cell"].map(gap_at(curves.tables.get("noise", pd.DataFrame()), GAP_SIGMA)))
    measured = [name for name, (_, needed) in CRITERIA.items() if _all_there(cells, needed)]
    if cells.empty or not measured:
        return pd.DataFrame()
    lines = []
    for key, run in _runs(cells, [*by, "seed"]):
        by_name = {name: _onset(run, name) for name in measured}
        lines.append({**dict(zip([*by, "seed"], key, strict=True)), "snapshots": len(run["step"]), **_values(by_name)})
    frame = pd.DataFrame(lines)
    for path in by:
        frame[path] = pd.Categorical(frame[path], categories=curves.axis(path).levels, ordered=True)
    if SIZE in cells and "tau_mem" in measured:
        sizes = cells.groupby([*by, "seed"], observed=True, sort=False, dropna=False)[SIZE].first()
        images = pd.to_numeric(sizes.astype(str), errors="coerce").to_numpy(float)
        if "train_distinct" in cells:  # repeats are one image
            once = cells.groupby([*by, "seed"], observed=True, sort=False, dropna=False)["train_distinct"].first()
            images = once.fillna(pd.Series(images, once.index)).to_numpy(float)
        frame["tau_mem_per_n"] = frame["tau_mem"] / images
    if SIZE in by and curves.axis(SIZE).numeric:
        frame = emm.with_largest(frame, cells, [path for path in by if path != SIZE])
    ordered = [name for name in COLUMNS if name in frame]
    return frame[[*by, "seed", *ordered]].sort_values([*by, "seed"], ignore_index=True)


@dataclass(frozen=True)
class Onsets:
    """What `onsets` and `slopes` tell of a study."""

    runs: pd.DataFrame
    slopes: pd.DataFrame


def read(curves: Curves) -> Onsets:
    """The onsets of a study's training runs, and their slopes for each level of its axes but steps and size."""
    runs = onsets(curves)
    return Onsets(runs, slopes(runs, [path for path in curves.paths if path not in (STEPS, SIZE)]))


def write(tables: Onsets, out: Path) -> list[Path]:
    """onset.csv, slopes.csv and onset.txt (what the columns are) into `out`; returns what is there.

    What has no lines is removed.
    """
    files = []
    for frame, name in ((tables.runs, "onset.csv"), (tables.slopes, "slopes.csv")):
        if len(frame):
            spreadsheet.write(frame, out / name)
            files.append(out / name)
        else:
            (out / name).unlink(missing_ok=True)
    about = [f"{name} ({unit}): {words}" if unit else f"{name}: {words}" for name, (unit, words) in COLUMNS.items()]
    if len(tables.runs):
        (out / "onset.txt").write_text("\n".join(about) + "\n", encoding="utf-8")
        files.append(out / "onset.txt")
    else:
        (out / "onset.txt").unlink(missing_ok=True)
    return files


def slopes(runs: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Slope of log τ on log N: fitted per seed, then the mean and 95 % t interval over seeds, per group of `by`.

    The interval is at least what the snapshots resolve (± 1.96 `Line.resolution`): where all seeds cross between the
    same snapshots they do not differ, and yet where in between they cross is not known.

    Columns: `by`…, `onset`, `n` (seeds with a slope), `slope`, `slope_lo`, `slope_hi`, `intercept` (of log τ in steps,
    natural logarithms), `sizes` (least number with both ends known), `seed_<k>`. No line where no seed has a slope.
    """
    lines = []
    for name in CRITERIA:
        if f"{name}_lo" not in runs or SIZE not in runs:
            continue
        for key, group in per_group(runs, by):
            lines += _slope({**dict(zip(by, key, strict=True)), "onset": name}, group, name)
    frame = pd.DataFrame(lines)
    return frame[sorted(frame, key=lambda name: str(name).startswith("seed_"))] if lines else frame


def gap_at(noise: pd.DataFrame, level: float) -> pd.Series:
    """The gap of each cell at a noise level in σ_d: log(1 + gap) between its nearest levels, linear in log σ."""
    if noise.empty or not {"cell", "sigma_rel", "gap"} <= set(noise.columns):
        return pd.Series(dtype=float)
    gaps = noise.dropna(subset=["gap"]).drop_duplicates(["cell", "sigma_rel"])  # both splits carry it
    places = pd.DataFrame(
        {"cell": gaps["cell"], "place": np.log(gaps["sigma_rel"] / level), "height": np.log1p(gaps["gap"])}
    ).sort_values("place")
    below = places[places["place"] <= 0].groupby("cell").last()
    above = places[places["place"] >= 0].groupby("cell").first()
    both = below.merge(above, on="cell", suffixes=("_below", "_above"))
    reach = both["place_above"] - both["place_below"]
    share = (-both["place_below"] / reach.where(reach > 0)).fillna(0.0)
    height = both["height_below"] + share * (both["height_above"] - both["height_below"])
    return pd.Series(np.expm1(height.to_numpy(float)), index=both.index)


def _all_there(cells: pd.DataFrame, needed: tuple[str, ...]) -> bool:
    return all(name in cells and cells[name].notna().any() for name in needed)


def _runs(cells: pd.DataFrame, by: list[str]) -> Iterator[tuple[tuple[Any, ...], dict[str, np.ndarray]]]:
    """Each training run's snapshots as arrays, in their order; cells of one run and step are averaged."""
    needed = [name for _, names in CRITERIA.values() for name in names if name in cells]
    means = cells.groupby([*by, "step"], observed=True, sort=False, dropna=False)[needed].mean().reset_index()
    means = means.sort_values("step", kind="stable", ignore_index=True)
    arrays = {name: means[name].to_numpy(float) for name in ["step", *needed]}
    for key, places in means.groupby(by, observed=True, sort=False, dropna=False).indices.items():
        yield (key if isinstance(key, tuple) else (key,)), {name: array[places] for name, array in arrays.items()}


def _onset(run: dict[str, np.ndarray], name: str) -> Onset | None:
    """The onset from the snapshots that have everything that its criterion needs."""
    needed = CRITERIA[name][1]
    complete = np.all([np.isfinite(run[column]) for column in needed], axis=0)
    steps, *values = (run[column][complete] for column in ("step", *needed))
    if name == "tau_gen":
        return nearly_best(steps, values[0])
    if name == "tau_mem":
        share, lower, control = values
        return crossing(steps, (share >= COPIED) & (lower > control))
    return crossing(steps, values[0] > GAP)


def _values(by_name: dict[str, Onset | None]) -> dict[str, float | str]:
    values: dict[str, float | str] = {}
    for name, onset in by_name.items():
        ends = (np.nan, np.nan) if onset is None else (onset.low, onset.high)
        values[name] = np.nan if onset is None else onset.middle
        values[f"{name}_lo"], values[f"{name}_hi"] = ends[0], ends[1] if np.isfinite(ends[1]) else np.nan
    words = [f"{name} {onset.censored}" for name, onset in by_name.items() if onset is not None and onset.censored]
    return values | {"censored": ", ".join(words)}


def _slope(about: dict[str, Any], group: pd.DataFrame, name: str) -> list[dict[str, Any]]:
    lines: dict[str, lognormal.FittedLine] = {}
    counts = []
    for seed, run in group.dropna(subset=[f"{name}_lo"]).groupby("seed"):
        run = run.assign(images=pd.to_numeric(run[SIZE].astype(str), errors="coerce")).dropna(subset=["images"])
        sizes = run["images"].to_numpy(float)
        low, high = run[f"{name}_lo"].to_numpy(float), run[f"{name}_hi"].fillna(np.inf).to_numpy(float)
        line = lognormal.fit(sizes, low, high)
        if line is not None:
            lines[f"seed_{text(seed)}"] = line
            counts.append(int(run[name].notna().sum()))
    if not lines:
        return []
    slope = np.array([line.slope for line in lines.values()])
    n = len(slope)
    resolved = 1.96 * float(np.mean([line.resolution for line in lines.values()]))
    half = max(float(stdtrit(n - 1, 0.975) * slope.std(ddof=1) / np.sqrt(n)), resolved) if n > 1 else np.nan
    mean, height = float(slope.mean()), float(np.mean([line.intercept for line in lines.values()]))
    numbers = {"n": n, "slope": mean, "slope_lo": mean - half, "slope_hi": mean + half, "intercept": height}
    return [{**about, **numbers, "sizes": min(counts), **{seed: line.slope for seed, line in lines.items()}}]
