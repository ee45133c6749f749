"""What metrics declare of their columns, as a policy needs it: the interval, how much was measured, the power."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from difgen_cli.engine.columns import ColumnSpec, declared
from difgen_cli.engine.plan import controls
from difgen_cli.engine.plugins import Library
from difgen_cli.report.findings.numbers import Row, count
from difgen_cli.report.study import blind

NUMBERS = ("float64", "int64")
ENDS = ("_lo", "_hi")
PERMUTED = "cal_control_permuted"  # of membership that is calibrated by other seeds, where all subsets are drawn again


@dataclass(frozen=True)
class DeclaredColumn:
    """One column of the rows.

    ends: the columns of its interval, or None. foreign: whether it takes held-out images for what training images could
    have been. tables: of the metric, that have the same column group by group. of_samples: whether it is a number of
    samples, and not of the network alone.
    """

    metric: str
    spec: ColumnSpec
    numeric: bool
    ends: tuple[str, str] | None = None
    foreign: bool = False
    tables: tuple[str, ...] = ()
    of_samples: bool = False

    @property
    def is_share(self) -> bool:
        """Whether it lies between 0 and 1."""
        return self.spec.unit == "share"

    def few_samples(self, row: Mapping[str, Any]) -> str:
        """Why the samples of a row show nothing of how often it is so, the end of a sentence; empty where they do."""
        samples = Row(row)
        if not self.of_samples or not (samples.few or samples.constant):
            return ""
        if samples.constant:
            return "all samples are of a single colour, which shows nothing of how often it is so"
        distinct = count(samples.number("sample_distinct"), "distinct image")
        return f"the samples are only {distinct}, which shows nothing of how often it is so"


def of_library(library: Library) -> dict[str, DeclaredColumn]:
    """Every column of every metric at hand, by name: read from their files, which are not run."""
    every: dict[str, DeclaredColumn] = {}
    for metric in library.names("score"):
        signature = library.signature("score", metric)
        constants = signature.constants
        entries, tables = constants.get("COLUMNS", {}), constants.get("TABLES", {})
        foreign = set(blind.claims(entries, constants.get(controls.CLAIMS, ())))
        for name, spec in declared(entries).items():
            lower, upper = (f"{name}{end}" for end in ENDS)
            every[name] = DeclaredColumn(
                metric, spec, entries[name][0] in NUMBERS,
                (lower, upper) if lower in entries and upper in entries else None, name in foreign,
                tuple(table for table, columns in tables.items() if name in columns), "samples" in signature.inputs,
            )  # fmt: skip
    return {name: _of_end(name, column, every) for name, column in every.items()}


def attacks(library: Library) -> dict[str, tuple[str, ...]]:
    """The attack classes that a metric's columns answer for, by metric; those that answer for none are left out."""
    of_metric = {name: library.signature("score", name).constants.get("ATTACKS", ()) for name in library.names("score")}
    return {name: tuple(classes) for name, classes in of_metric.items() if classes}


def _of_end(name: str, column: DeclaredColumn, every: dict[str, DeclaredColumn]) -> DeclaredColumn:
    """An end of an interval is estimated from as much as its column."""
    base = every.get(name[: -len(ENDS[0])]) if name.endswith(ENDS) else None
    if base is None or base.ends is None or name not in base.ends:
        return column
    spec = replace(column.spec, n=base.spec.n, power=base.spec.power, control=base.spec.control)
    return replace(column, spec=spec, foreign=base.foreign)
