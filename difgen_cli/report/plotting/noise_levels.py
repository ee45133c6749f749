"""Metrics over noise levels: from a table with a line for each level, or from columns that bear a level's name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from difgen_cli.report.plotting import facets
from difgen_cli.report.study.curves import STEPS, CurveAxis, Curves, last_snapshot, over_seeds


def axis_of(levels: Iterable[str]) -> CurveAxis:
    """The axis of these noise levels, given in words."""
    words = tuple(levels)
    return CurveAxis("sigma_rel", words, tuple(map(float, words)), True)


def by_sigma(curves: Curves, table: pd.DataFrame, metrics: Sequence[str]) -> tuple[pd.DataFrame, CurveAxis] | None:
    """Metrics of a table over its noise levels at the last snapshots, over seeds, and the axis of the levels."""
    present = [name for name in metrics if name in table and table[name].notna().any()]
    if not present or "sigma_rel" not in table:
        return None
    paths = [path for path in curves.paths if path != STEPS and path in table]
    last = last_snapshot(table, paths).drop_duplicates(["cell", "seed", "sigma_rel"])
    last = last.assign(sigma_rel=last["sigma_rel"].round(9))
    numbers = over_seeds(last, [*paths, "sigma_rel"], present, curves.columns)
    levels = sorted(numbers["sigma_rel"].unique())
    return numbers.assign(sigma_rel=numbers["sigma_rel"].map(str)), axis_of(map(str, levels))


def at_named(
    curves: Curves, x: CurveAxis, names: Sequence[str], named: dict[str, str]
) -> tuple[pd.DataFrame, facets.FacetPlan, pd.DataFrame] | None:
    """Columns `name_050` … against `x`, as the metric `name` with a column `sigma_rel` of the level's words.

    named: ending -> noise level. Returns the numbers over seeds, the plan with a column per level, and the cells; None
    where none of the columns was measured.
    """
    planned = facets.plan(curves, x, axis_of(named.values()))
    cells = facets.held(curves.along(x), planned)
    by = [axis.path for axis in (planned.x, planned.colour) if axis]
    parts = []
    for ending, level in named.items():
        numbers = over_seeds(cells, by, [f"{name}_{ending}" for name in names], curves.columns)
        if len(numbers):
            metric = numbers["metric"].astype(str).str.removesuffix(f"_{ending}")
            parts.append(numbers.assign(metric=metric, sigma_rel=level))
    return (pd.concat(parts, ignore_index=True), planned, cells) if parts else None
