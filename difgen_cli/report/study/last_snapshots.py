"""The last snapshots, over seeds, as a frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from difgen_cli.engine.plan.rounds import NOT_NEEDED
from difgen_cli.report.study.curves import STEPS, last_snapshot
from difgen_cli.report.study.seeds import over_seeds

if TYPE_CHECKING:
    from difgen_cli.report.study.curves import Curves


def read(curves: Curves) -> pd.DataFrame:
    """One line per planned group that is needed: axes, `step`, `seeds` and every metric with `_lo`, `_hi` over seeds.

    Groups without a finished cell keep their line, with nothing in it. `floors` is fd_test / fd_floor.
    """
    by = [path for path in curves.paths if path != STEPS]
    finished = last_snapshot(curves.cells, curves.paths)
    needed = curves.cells[curves.cells["state"] != NOT_NEEDED]
    planned = needed[by].drop_duplicates() if by else pd.DataFrame(index=[0])
    numbers = pd.DataFrame()
    if "step" in finished:
        numbers = over_seeds(finished, [*by, "step"], curves.metrics, curves.columns)
    counts = (
        finished.groupby([*by, "step"], observed=True, dropna=False)["seed"].nunique().rename("seeds").reset_index()
    )
    wide = counts
    for end, suffix in (("mean", ""), ("lo", "_lo"), ("hi", "_hi")):
        if numbers.empty:
            break
        part = numbers.pivot(index=[*by, "step"], columns="metric", values=end).add_suffix(suffix)  # a null step stays
        wide = wide.merge(part.dropna(axis=1, how="all").reset_index(), on=[*by, "step"], how="left")
    if {"fd_test", "fd_floor"} <= set(wide.columns):
        wide["floors"] = wide["fd_test"] / wide["fd_floor"]
    lines = planned.merge(wide, on=by, how="left").sort_values(by) if by else wide
    return lines.reset_index(drop=True).assign(seeds=lambda frame: frame["seeds"].fillna(0).astype(int))
