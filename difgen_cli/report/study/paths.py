"""Which part of a denoiser's error guidance can take away on the way of its samples (Kaiser et al. 2024), in the plane.

The same parts as in `errors_along`, whose points are all of a grid; here they are where the samples of the cell itself
are, from the metric `paths`. Guidance moves D by w d: a cell of weight w gives d = (D_guided − D)/w at its own points.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from difgen_cli.report import spreadsheet
from difgen_cli.report.study.curves import STEPS, Curves, per_group
from difgen_cli.report.study.errors_along import WEIGHT, parts

TABLE = "paths"
TARGETS = {"train": "train", "train and held out": "all"}  # whose posterior mean D* is, and its columns' first letters
SAMPLES_MIN = 32  # of which the interval over samples was seen to cover .925; with fewer there is none


def read(curves: Curves) -> pd.DataFrame:
    """paths.csv: one line for each setting, seed, noise level and target, as means over the cell's stored samples.

    `error` ‖D − D*‖ of the denoiser that the sampler follows, and `own_error` of the network by itself, as root mean
    squares; where one term of guidance has a weight, also the parts `along` and `across` its direction of own_error,
    `direction`, `optimal_weight` with its 95 % interval over samples, and `left`: see `errors_along.parts`. Empty
    without `paths`.
    """
    table = curves.tables.get(TABLE, pd.DataFrame())
    if table.empty:
        return pd.DataFrame()
    others = [path for path in curves.paths if path != STEPS and path in table]
    lines: list[dict[str, Any]] = []
    for key, group in per_group(table, [*others, "seed", "step"]):
        about = dict(zip([*others, "seed", "step"], key, strict=True))
        lines += [about | line for line in _lines(group, weight_of(group))]
    frame = pd.DataFrame(lines)
    for path in others if lines else []:
        frame[path] = pd.Categorical(frame[path].astype(str), categories=curves.axis(path).levels, ordered=True)
    return frame


def write(frame: pd.DataFrame, out: Path) -> list[Path]:
    """paths.csv into `out`, removed where it has no lines; returns what is there."""
    return spreadsheet.write_each({"paths.csv": frame}, out)


def weight_of(lines: pd.DataFrame) -> float:
    """The weight of guidance in the lines of one cell; 0 where no term has one, or several have different ones."""
    names = [str(name) for name in lines if str(name).startswith("guide.") and str(name).endswith(WEIGHT)]
    weights = pd.to_numeric(lines[names].iloc[0].astype(object), errors="coerce").fillna(0.0).to_numpy(float)
    chosen = set(weights[weights != 0].tolist())
    return float(chosen.pop()) if len(chosen) == 1 else 0.0


def moved(lines: pd.DataFrame, first: str) -> np.ndarray:
    """(n, 2): what one of the estimates moves the points by; `first`: the first letters of its columns."""
    return lines[[f"{first}dx", f"{first}dy"]].to_numpy(float)


def best_weights(error: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """−⟨e, d⟩/‖d‖² of each point, (n,); NaN where d is 0."""
    length = np.square(direction).sum(axis=1)
    product = (error * direction).sum(axis=1)
    return np.asarray(-np.divide(product, length, out=np.full(len(length), np.nan), where=length > 0))


def interval(error: np.ndarray, direction: np.ndarray) -> tuple[float, float]:
    """The 95 % interval of −E⟨e, d⟩/E‖d‖² over points (n, 2): a ratio of means, linearised; NaN for too few."""
    n = len(error)
    if n < SAMPLES_MIN:
        return np.nan, np.nan
    product, length = (error * direction).sum(axis=1), np.square(direction).sum(axis=1)
    weight = -product.mean() / length.mean()
    spread = float((product + weight * length).std(ddof=1)) / length.mean()
    half = float(stdtrit(n - 1, 0.975)) * spread / np.sqrt(n)
    return weight - half, weight + half


def _lines(group: pd.DataFrame, weight: float) -> Iterator[dict[str, Any]]:
    """The lines of one cell, by noise level and target."""
    for sigma, level in group[group["kind_of_point"] == "path"].groupby("sigma", sort=True):
        followed, own = moved(level, ""), moved(level, "own_")
        direction = (followed - own) / weight if weight else np.zeros_like(own)
        for target, first in TARGETS.items():
            if first == "all" and not (group["kind_of_point"] == "held_out").any():
                continue
            best = moved(level, f"{first}_")
            of_each = {"error": followed - best, "own_error": own - best}
            numbers = {name: float(np.sqrt(np.square(e).sum(axis=1).mean())) for name, e in of_each.items()}
            line = {"sigma": sigma, "sigma_rel": level["sigma_rel"].iloc[0], "target": target, "samples": len(level)}
            if direction.any():
                share = np.full(len(level), 1 / len(level))
                split = parts(of_each["own_error"], direction, share)
                low, high = interval(of_each["own_error"], direction)
                numbers |= {name: value for name, value in split.items() if name != "error"}
                numbers |= {"optimal_weight_lo": low, "optimal_weight_hi": high}
            yield line | numbers
