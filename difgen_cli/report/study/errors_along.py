"""Which part of a denoiser's error guidance can take away (Kaiser et al. 2024), for points in the plane.

Guidance moves D by w d, where d = D − D_neg. Of the error e = D − D* the part along d can be taken away, the part
across cannot; over all points at a noise level the error is least at the weight −⟨e, d⟩/‖d‖². D comes from the metric
`field` with `guided: true` at weight 0, d from the cell of another weight, and D* is closed: the posterior mean over
the training points, which copies them, or over training and held-out points, which does not prefer any.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from difgen_cli.report import spreadsheet
from difgen_cli.report.study.curves import STEPS, CurveAxis, Curves, per_group

TABLE = "field"
WEIGHT = "weight"
TARGETS = {"train": ("train",), "train and held out": ("train", "held_out")}  # whose posterior mean D* is
PLACE = ["sigma", "x", "y"]
MOVED = ("dx_moved", "dy_moved")


def read(curves: Curves) -> pd.DataFrame:
    """errors_along.csv: one line for each setting but the weight, seed, noise level and target.

    `sigma`, `sigma_rel`; `target`: the points that D* is made of; root mean squares over noisy training points x of
    `error` ‖e‖, of its parts `along` and `across` d (whose root sum of squares it is), and of `direction` ‖d‖;
    `optimal_weight` −E⟨e, d⟩/E‖d‖², and `left`: the error that remains there, over `error`. Means over x ~ p(x; σ) are
    sums over the grid of the metric, weighted by that density. Empty without `field` at weight 0 and at another one.
    """
    axis, table = weight_axis(curves), curves.tables.get(TABLE, pd.DataFrame())
    if axis is None or not {*PLACE, "dx", "dy", "kind_of_point", axis.path} <= set(table.columns):
        return pd.DataFrame()
    others = [path for path in curves.paths if path not in (axis.path, STEPS) and path in table]
    weights = dict(zip(axis.levels, axis.values, strict=True))
    lines: list[dict[str, Any]] = []
    for key, group in per_group(table, [*others, "seed"]):
        about = dict(zip([*others, "seed"], key, strict=True))
        levels = [level for level in group[axis.path].astype(str).unique() if weights.get(level)]
        plain = group[group[axis.path].astype(str).map(weights) == 0]
        if levels and len(plain):
            chosen = max(levels, key=lambda level: abs(weights[level]))
            moved = group[group[axis.path].astype(str) == chosen]
            lines += [about | line for line in _lines(plain, moved, weights[chosen])]
    frame = pd.DataFrame(lines)
    for path in others if lines else []:
        frame[path] = pd.Categorical(frame[path].astype(str), categories=curves.axis(path).levels, ordered=True)
    return frame


def weight_axis(curves: Curves) -> CurveAxis | None:
    """The axis of the weight of guidance, if 0 is among its levels."""
    axes = (axis for axis in curves.axes if axis.path.startswith("guide.") and axis.path.endswith(WEIGHT))
    return next((axis for axis in axes if axis.numeric and 0 in axis.values), None)


def write(frame: pd.DataFrame, out: Path) -> list[Path]:
    """errors_along.csv into `out`, removed where it has no lines; returns what is there."""
    return spreadsheet.write_each({"errors_along.csv": frame}, out)


def parts(error: np.ndarray, direction: np.ndarray, density: np.ndarray) -> dict[str, float]:
    """Of errors and directions (n, 2) with weights (n,) that add up to 1: what `read` says of them."""
    product, length = (error * direction).sum(axis=1), np.square(direction).sum(axis=1)
    along = np.divide(product**2, length, out=np.zeros_like(length), where=length > 0)
    square = density @ np.square(error).sum(axis=1)
    weight = -(density @ product) / (density @ length)
    rest = density @ np.square(error + weight * direction).sum(axis=1)
    return {
        "error": float(np.sqrt(square)),
        "along": float(np.sqrt(density @ along)),
        "across": float(np.sqrt(max(0.0, square - density @ along))),
        "direction": float(np.sqrt(density @ length)),
        "optimal_weight": float(weight),
        "left": float(np.sqrt(rest / square)) if square > 0 else np.nan,
    }


def posterior_mean(x: np.ndarray, points: np.ndarray, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """D*(x; σ) over equally likely points (N, 2), (n, 2), and the density of x = point + σn up to a factor, (n,)."""
    logits = -np.square(x[:, None] - points[None]).sum(axis=2) / (2 * sigma**2)
    top = logits.max(axis=1, keepdims=True)
    weights = np.exp(logits - top)
    total = weights.sum(axis=1, keepdims=True)
    return weights / total @ points, np.exp(logits).sum(axis=1)


def _lines(plain: pd.DataFrame, moved: pd.DataFrame, weight: float) -> Iterator[dict[str, Any]]:
    """The lines of one pair of cells, by noise level and target; none at a level where guidance moves nothing."""
    both = plain.drop_duplicates([*PLACE, "kind_of_point"]).merge(
        moved.drop_duplicates([*PLACE, "kind_of_point"])[[*PLACE, "kind_of_point", "dx", "dy"]],
        on=[*PLACE, "kind_of_point"], suffixes=("", "_moved"),
    )  # fmt: skip
    for sigma, level in both.groupby("sigma", sort=True):
        grid = level[level["kind_of_point"] == "grid"]
        x, step, other = (grid[list(names)].to_numpy(float) for names in (("x", "y"), ("dx", "dy"), MOVED))
        direction = (other - step) / weight
        _, density = posterior_mean(x, _points(level, TARGETS["train"]), float(str(sigma)))
        if not np.isfinite(direction).all() or not density.sum() or not direction.any():
            continue
        for target, kinds in TARGETS.items():
            if not level["kind_of_point"].isin(kinds[-1:]).any():  # without held-out points both would be the same
                continue
            best, _ = posterior_mean(x, _points(level, kinds), float(str(sigma)))
            numbers = parts(x + step - best, direction, density / density.sum())
            yield {"sigma": sigma, "sigma_rel": grid["sigma_rel"].iloc[0], "target": target, **numbers}


def _points(level: pd.DataFrame, kinds: tuple[str, ...]) -> np.ndarray:
    return level.loc[level["kind_of_point"].isin(kinds), ["x", "y"]].to_numpy(float)
