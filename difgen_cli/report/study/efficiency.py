"""How many images a condition saves: the images until it is as good as the unconditional model ever is.

Sample efficiency after Adaloglou et al. 2025. Each seed's unconditional run has a least Fréchet distance, after so many
images; the conditional run of the same seed reaches that distance somewhere between two snapshots, which is read off
linearly in the logs of images and distance. Where it never does, or does before its first snapshot, it is censored.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from difgen_cli.engine.columns import ColumnSpec
from difgen_cli.report import spreadsheet
from difgen_cli.report.study.curves import STEPS, Curves, over_seeds, per_group
from difgen_cli.report.study.matched import DISTANCE

CONDITION = "condition."
# axis -> its level that tells the network nothing, in the order in which they are looked for
UNCONDITIONAL = {"condition.name": "none", "condition.clusters": "1"}
IMAGES, RATIO = "images_seen", "sample_efficiency"
SPEC = ColumnSpec("", "images of the unconditional run over those of this one", "sample efficiency", "ratio")


@dataclass(frozen=True)
class Efficiency:
    """runs: a line per conditional training run (`per_run`). over_seeds: one per setting (`summary`)."""

    runs: pd.DataFrame
    over_seeds: pd.DataFrame


def read(curves: Curves) -> Efficiency:
    """The sample efficiency of a study; no lines where no axis has an unconditional level, or steps do not vary."""
    runs = per_run(curves)
    return Efficiency(runs, summary(curves, runs) if len(runs) else pd.DataFrame())


def axis_of(curves: Curves) -> str | None:
    """The axis that has the unconditional level; None without one."""
    return next((p for p, level in UNCONDITIONAL.items() if p in curves.paths and level in curves.axis(p).levels), None)


def per_run(curves: Curves) -> pd.DataFrame:
    """efficiency_runs.csv: one line per conditional training run (axes but the steps, and seed).

    `distance`: the least of the unconditional run of the same seed and settings, reached after `images_unconditional`
    (`at_end`: that is its last snapshot, so that it may still fall); `images` until this run is there, missing where it
    is censored: `right` (it never is), `left` (it is at its first snapshot); `sample_efficiency`: the ratio of both.
    """
    path = axis_of(curves)
    needed = {DISTANCE, IMAGES, "step"}
    if path is None or STEPS not in curves.paths or not needed <= set(curves.done.columns):
        return pd.DataFrame()
    by = [axis for axis in curves.paths if axis != STEPS]
    cells = curves.done.dropna(subset=[*needed])
    cells = cells[(cells[DISTANCE] > 0) & (cells[IMAGES] > 0)]
    means = cells.groupby([*by, "seed", "step"], observed=True, dropna=False)[[DISTANCE, IMAGES]].mean().reset_index()
    conditions = [axis for axis in by if axis.startswith(CONDITION)]
    others = [axis for axis in by if axis not in conditions]
    lines: list[dict[str, Any]] = []
    for key, group in per_group(means, [*others, "seed"]):
        # The other axes of the condition, such as a number of clusters, mean nothing where there is none.
        plain = group[group[path] == UNCONDITIONAL[path]].drop_duplicates("step").sort_values("step")
        if plain.empty:
            continue
        place = int(plain[DISTANCE].to_numpy().argmin())
        best, images = float(plain[DISTANCE].iloc[place]), float(plain[IMAGES].iloc[place])
        about = dict(zip([*others, "seed"], key, strict=True))
        about |= {"distance": best, "images_unconditional": images, "at_end": place == len(plain) - 1}
        for own, run in per_group(group[group[path] != UNCONDITIONAL[path]], conditions):
            run = run.sort_values("step")
            taken, censored = reached(run[DISTANCE].to_numpy(float), run[IMAGES].to_numpy(float), best)
            levels = dict(zip(conditions, own, strict=True))
            lines.append(about | levels | {"images": taken, "censored": censored, RATIO: images / taken})
    frame = pd.DataFrame(lines, columns=[*by, "seed", "distance", "images_unconditional", "at_end", "images",
                                         "censored", RATIO])  # fmt: skip
    for axis in by:
        frame[axis] = pd.Categorical(frame[axis], categories=curves.axis(axis).levels, ordered=True)
    return frame.sort_values([*by, "seed"], ignore_index=True)


def summary(curves: Curves, runs: pd.DataFrame) -> pd.DataFrame:
    """efficiency.csv: one line per conditional setting, over seeds.

    `seeds`; `inside` (those that reach the distance between two snapshots), `left`, `right` (censored), `at_end` (those
    whose unconditional run is best at its end); and where all are inside, the geometric mean of `sample_efficiency`
    with its 95 % t interval over seeds on a log scale. Of fewer there is none: they would be chosen by the result.
    """
    by = [axis for axis in curves.paths if axis != STEPS]
    groups = runs.groupby(by, observed=True, sort=False)
    counted = groups.agg(
        seeds=("seed", "nunique"), inside=("images", "count"),
        left=("censored", lambda words: int((words == "left").sum())),
        right=("censored", lambda words: int((words == "right").sum())), at_end=("at_end", "sum"),
    ).reset_index()  # fmt: skip
    numbers = averaged(curves, runs)
    wide = numbers.rename(columns={"mean": RATIO, "lo": f"{RATIO}_lo", "hi": f"{RATIO}_hi"})
    kept = [name for name in (RATIO, f"{RATIO}_lo", f"{RATIO}_hi") if name in wide]
    return counted.merge(wide[[*by, *kept]], on=by, how="left") if len(wide) else counted.assign(**{RATIO: np.nan})


def averaged(curves: Curves, runs: pd.DataFrame) -> pd.DataFrame:
    """The ratio over seeds as figures have it, of settings in which each seed is inside."""
    by = [axis for axis in curves.paths if axis != STEPS]
    groups = runs.groupby(by, observed=True, sort=False)
    whole = runs[groups["images"].transform("count") == groups["seed"].transform("nunique")]
    return over_seeds(whole, by, [RATIO], {RATIO: SPEC})


def reached(distance: np.ndarray, images: np.ndarray, target: float) -> tuple[float, str]:
    """The images until a run's distances (n,), of ascending snapshots, first are at `target`; why it is not known.

    NaN with `left` where the first snapshot is there already, or with `right` where none is.
    """
    reaching = np.flatnonzero(distance <= target)
    if not len(reaching):
        return float("nan"), "right"
    k = int(reaching[0])
    if k == 0:
        return float("nan"), "left"
    before, after = np.log(distance[k - 1]), np.log(distance[k])
    share = (before - np.log(target)) / (before - after)
    return float(np.exp(np.log(images[k - 1]) + share * (np.log(images[k]) - np.log(images[k - 1])))), ""


def write(tables: Efficiency, out: Path) -> list[Path]:
    """efficiency.csv and efficiency_runs.csv into `out`, removed where they have no lines; returns what is there."""
    return spreadsheet.write_each({"efficiency.csv": tables.over_seeds, "efficiency_runs.csv": tables.runs}, out)
