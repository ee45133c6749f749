"""The largest training set that is memorized (effective model memorization, Gu et al. 2023), as far as a grid tells."""

from __future__ import annotations

import numpy as np
import pandas as pd

from difgen_cli.report.study.curves import SIZE, per_group

MEMORIZED = 0.9  # share of samples that makes a size memorized
POWER = 0.9  # from which the rule would have seen it


def with_largest(frame: pd.DataFrame, cells: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """`emm` and `emm_next` on all lines of a group and seed, and in `censored` what is not known of them."""
    if "mem_frac" not in cells or cells["mem_frac"].isna().all():
        return frame
    cells = cells.assign(mem_power=cells.get("mem_power", np.nan))
    peaks = cells.groupby([*by, "seed", SIZE], observed=True, sort=True)[["mem_frac", "mem_power"]].max()
    lines = [
        (*key, *_largest_memorized(group))
        for key, group in per_group(peaks.dropna(subset="mem_frac").reset_index(), [*by, "seed"])
    ]
    largest = pd.DataFrame(lines, columns=[*by, "seed", "emm", "emm_next", "unknown"])
    for path in by:
        largest[path] = largest[path].astype(frame[path].dtype)
    frame = frame.merge(largest.astype({"seed": frame["seed"].dtype}), on=[*by, "seed"], how="left")
    words = frame[["censored", "unknown"]].fillna("").to_numpy(str)
    frame["censored"] = [", ".join(filter(None, line)) for line in words]
    return frame.drop(columns="unknown")


def _largest_memorized(group: pd.DataFrame) -> tuple[float, float, str]:
    """The largest memorized of the sizes, which ascend; the next one where it is known not to be; else why not.

    That a size is memorized was seen, whatever the rule's power there. That the next one is not takes power.
    """
    reached = np.flatnonzero(group["mem_frac"] >= MEMORIZED)
    after = int(reached[-1]) + 1 if len(reached) else 0
    largest = float(group[SIZE].iloc[after - 1]) if after else np.nan
    if after == len(group):
        return largest, np.nan, "emm right"
    if not group["mem_power"].iloc[after] >= POWER:  # null as well
        return largest, np.nan, "emm blind"
    return largest, float(group[SIZE].iloc[after]), "" if after else "emm left"
