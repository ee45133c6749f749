"""What should not be compared: cells of one curve that differ in what nobody varied on purpose.

Cells are in one curve where a line joins them or seeds are averaged over: those that agree on every axis but the one
along which the line runs. An axis of the grid is varied on purpose: what follows from it alone is no fault.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd

from difgen_cli.format import counted
from difgen_cli.report.plotting import labels
from difgen_cli.report.study.curves import CurveAxis, Curves, per_group, worded

SEEDS = "seeds"  # a column made here: which seeds of a point are done
NAMED_MOST = 5  # cells that a sentence names
VALUES_MOST = 4


@dataclass(frozen=True)
class Quantity:
    """What must agree within a curve: whose columns these are, and which axes change it on purpose."""

    name: str
    columns: Callable[[str], bool]
    purpose: Callable[[str], bool] = lambda path: False


QUANTITIES = (
    Quantity(
        "sample counts",
        lambda column: column.endswith(("n_gen", "n_ref", "coverage_n")),
        lambda path: path in ("sample.count", "data.held_out"),
    ),
    Quantity("feature spaces", lambda column: column.endswith("_features"), lambda path: path.endswith(".features")),
    Quantity(
        "samplers",
        lambda column: column.startswith("sample.") and column not in ("sample.count", "sample.seed"),
        lambda path: path.startswith("sample."),
    ),
    Quantity("seeds", lambda column: column == SEEDS),
    Quantity("code versions", lambda column: column in ("difgen", "git_commit", "git_dirty")),
)


@dataclass(frozen=True)
class Difference:
    """One column that differs within a curve: how many cells have which value, and the cells that stand apart."""

    what: str
    column: str
    values: dict[str, int]  # the commonest first
    cells: list[str]

    @property
    def sentence(self) -> str:
        """`differing sample counts in one curve: n_gen is 1000 in 20 cells and 500 in 4 cells (…)`."""
        values = [f"{value} in {counted(count, 'cell')}" for value, count in self.values.items()]
        shown = values[:VALUES_MOST] + ([f"{len(values) - VALUES_MOST} more values"] if values[VALUES_MOST:] else [])
        more = f" and {len(self.cells) - NAMED_MOST:,} more" if len(self.cells) > NAMED_MOST else ""
        where = "; ".join(self.cells[:NAMED_MOST])
        return f"differing {self.what} in one curve: {self.column} is {', '.join(shown)}; apart: {where}{more}"


def differences(curves: Curves, along: Sequence[CurveAxis] | None = None) -> list[Difference]:
    """What differs within the curves that run along these axes; default: every axis whose levels a figure can join."""
    done = _with_seeds(curves)
    if along is None:
        along = [axis for axis in curves.axes if axis.numeric]
    differing = []
    for quantity in QUANTITIES:
        for column in (str(name) for name in done.columns if quantity.columns(str(name))):
            apart = _apart(curves, done, along, quantity, column)
            if apart:
                differing.append(_difference(curves, done, quantity, column, sorted(apart)))
    return differing


def _with_seeds(curves: Curves) -> pd.DataFrame:
    """The finished cells, each with the seeds that its point is averaged over: where these differ along a curve, it
    bends though no seed has changed."""
    done = curves.done.reset_index(drop=True)
    seed_words = pd.Series("", index=done.index)
    for _, group in per_group(done, curves.paths):
        seed_words[group.index] = " ".join(labels.text(seed) for seed in sorted(group["seed"].unique()))
    return done.assign(**{SEEDS: seed_words})


def _apart(curves: Curves, done: pd.DataFrame, along: Sequence[CurveAxis], quantity: Quantity, column: str) -> set[int]:
    """Places of the cells that have another value than most of their curve."""
    with_value = done[done[column].notna()]
    value = worded(with_value[column])
    if value.nunique() < 2:
        return set()
    apart: set[int] = set()
    for axis in along or (None,):
        paths = [path for path in curves.paths if axis is None or path != axis.path]
        moved = [path for a in curves.axes if a.path not in paths for path in (a.path, *a.along)]
        if any(path == column or quantity.purpose(path) for path in moved):
            continue  # varied on purpose along this axis
        frame = with_value[paths].assign(value=value)
        groups = frame.groupby(paths, observed=True, sort=False, dropna=False) if paths else [((), frame)]
        for _, group in groups:
            counts = group["value"].value_counts()
            if len(counts) > 1:
                apart |= set(group.index[group["value"] != counts.index[0]])
    return apart


def _difference(curves: Curves, done: pd.DataFrame, quantity: Quantity, column: str, places: list[int]) -> Difference:
    counts = worded(done[column].dropna()).value_counts()
    named = [_name(curves, line) for _, line in done.loc[places].iterrows()]
    return Difference(quantity.name, column, {str(v): int(n) for v, n in counts.items()}, named)


def _name(curves: Curves, row: pd.Series) -> str:
    """A cell as `difgen show` takes it."""
    at = [f"{axis.path}={row[axis.path]}" for axis in curves.axes]
    return " ".join([*at, f"seed={labels.text(row['seed'])}"])
