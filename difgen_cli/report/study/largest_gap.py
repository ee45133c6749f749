"""The largest gap of the denoising loss, and where it is, without being fooled by having looked for the largest.

The first seed chooses the place (setting and noise level), and the gap is read there from the other seeds, which had no
part in the choice: Student's t of them, of a single other one its row's own interval. With one seed in all, that is
widened as one of as many as were looked at (Bonferroni). Choosing for each seed by the others would use every seed, and
does not hold: without any gap such an interval was above 0 in 7 % of draws, not in 2.5 %.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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
    """gap: L_H / L_T − 1, with its 95 % interval [lo, hi]. settings: the level of each axis. sigma: in σ_d. seeds: that
    it is read from, without the one that chose the place; 0 where a single seed did both. looked: at how many places.
    """

    gap: float
    lo: float
    hi: float
    settings: dict[str, str]
    sigma: float
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
    ends = [pd.to_numeric(lines.get(f"gap_{end}", pd.Series(np.nan, lines.index))) for end in ("lo", "hi")]
    lines = lines.assign(below=np.log1p(ends[0].where(ends[0] > -1)), above=np.log1p(ends[1].where(ends[1] > -1)))
    places = lines.pivot_table(
        index=[*by, LEVEL], columns="seed", values=["height", "below", "above"], observed=True, dropna=False
    )
    heights = places["height"].dropna()  # places that every seed has
    if heights.empty:
        return None
    chosen, values = chosen_and_read(heights.to_numpy(float))
    mean, low, high = seeds.mean_interval(values)
    if len(values) == 1:
        own = _ends(places.loc[heights.index[chosen]], heights.columns[-1])
        wider = 1.0 if heights.shape[1] > 1 else float(np.sqrt(seeds.squared_quantile(len(heights)))) / Z
        low, high = (mean + wider * (end - mean) for end in own)
    if not (np.isfinite(low) and np.isfinite(high) and low <= mean <= high):
        return None
    at = heights.index[[chosen]].to_frame(index=False).iloc[0]
    gap, low, high = (float(np.expm1(number)) for number in (mean, low, high))
    settings = {path: str(at[path]) for path in by}
    return LargestGap(gap, low, high, settings, float(at[LEVEL]), heights.shape[1] - 1, len(heights))


def _ends(place: pd.Series, seed: Any) -> list[float]:
    """The ends of one row's own interval, as log(1 + gap); NaN where it has none."""
    return [float(place.get((end, seed), np.nan)) for end in ("below", "above")]


def chosen_and_read(heights: np.ndarray) -> tuple[int, np.ndarray]:
    """The place where the first seed is highest, and the values of the others there; its own where there is no other.

    heights: (places, seeds).
    """
    chosen = int(heights[:, 0].argmax())
    return chosen, heights[chosen, 1:] if heights.shape[1] > 1 else heights[chosen]
