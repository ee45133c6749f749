"""The largest gap of the denoising loss, and where it is, without being fooled by having looked for the largest.

Over seeds: for each seed the place (setting and noise level) is the one where the *other* seeds have their largest gap,
and the gap is this seed's there. So no seed's chance chooses what is read of it. With one seed, the row's own interval
is widened as one of as many as were looked at (Bonferroni).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.special import ndtri

from difgen_cli.report.study import seeds
from difgen_cli.report.study.curves import STEPS, last_snapshot

if TYPE_CHECKING:
    from difgen_cli.report.study.curves import Curves

LEVEL = "sigma_rel"
Z = float(ndtri(0.975))


@dataclass(frozen=True)
class LargestGap:
    """gap: L_H / L_T − 1, with its 95 % interval [lo, hi]. settings: by axis the levels where the seeds have it, those
    alone on which they agree. sigma: least and largest of the noise levels, in σ_d. looked: at how many places.
    """

    gap: float
    lo: float
    hi: float
    settings: dict[str, str]
    sigma: tuple[float, float]
    seeds: int
    looked: int


def read(curves: Curves) -> LargestGap | None:
    """At the last snapshots; None where there is no interval, or gap and its table were not scored."""
    table = curves.tables.get("noise", pd.DataFrame())
    if table.empty or not {"gap", LEVEL, "cell", "seed"} <= set(table.columns):
        return None
    last = last_snapshot(curves.cells, curves.paths)
    lines = table[table["cell"].isin(last["cell"])].dropna(subset=["gap"])
    lines = lines[lines["gap"] > -1].drop_duplicates(["cell", LEVEL])  # both splits carry it
    if lines.empty:
        return None
    by = [path for path in curves.paths if path != STEPS]
    lines = lines.assign(height=np.log1p(lines["gap"].astype(float)))
    heights = lines.pivot_table(index=[*by, LEVEL], columns="seed", values="height", observed=True)
    heights = heights.dropna()  # places that every seed has
    if heights.empty:
        return None
    return _one_seed(lines, by, len(heights)) if heights.shape[1] == 1 else _several(heights, by)


def _several(heights: pd.DataFrame, by: list[str]) -> LargestGap | None:
    """The gap of each seed where the mean of the others is largest."""
    array = heights.to_numpy(float)
    others = array.sum(axis=1, keepdims=True) - array
    chosen = others.argmax(axis=0)
    mean, low, high = seeds.mean_interval(array[chosen, np.arange(array.shape[1])])
    if not np.isfinite(low):
        return None
    places = heights.index[np.unique(chosen)].to_frame(index=False)
    gap, low, high = (float(np.expm1(number)) for number in (mean, low, high))
    return LargestGap(gap, low, high, _agreed(places, by), _span(places), array.shape[1], len(array))


def _one_seed(lines: pd.DataFrame, by: list[str], looked: int) -> LargestGap | None:
    """The largest of one seed, with its own interval as wide as one of so many."""
    if not {"gap_lo", "gap_hi"} <= set(lines.columns):
        return None
    lines = lines.dropna(subset=["gap_lo", "gap_hi"])
    lines = lines[(lines["gap_lo"] > -1) & (lines["gap_hi"] >= lines["gap"]) & (lines["gap"] >= lines["gap_lo"])]
    if lines.empty:
        return None
    top = lines.loc[lines["height"].idxmax()]
    wider = float(np.sqrt(seeds.squared_quantile(looked))) / Z
    low, high = (
        float(np.expm1(top["height"] + wider * (np.log1p(float(top[f"gap_{end}"])) - top["height"])))
        for end in ("lo", "hi")
    )
    places = lines.loc[[top.name]]
    return LargestGap(float(top["gap"]), low, high, _agreed(places, by), _span(places), 1, looked)


def _agreed(places: pd.DataFrame, by: list[str]) -> dict[str, str]:
    return {path: str(places[path].iloc[0]) for path in by if places[path].nunique() == 1}


def _span(places: pd.DataFrame) -> tuple[float, float]:
    return float(places[LEVEL].min()), float(places[LEVEL].max())
