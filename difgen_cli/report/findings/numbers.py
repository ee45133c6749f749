"""Values of one row as sentences write them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from difgen_cli.report.plotting import labels
from difgen_cli.report.study.verdicts import FEW

if TYPE_CHECKING:
    import pandas as pd


class Row:
    """One row of the tables; a value that is missing or NaN is None."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values

    def __contains__(self, name: str) -> bool:
        """Whether the metric of this column was scored, whatever it found."""
        return name in self.values

    def __getitem__(self, name: str) -> float | None:
        value = self.values.get(name)
        if value is None or type(value).__name__ == "NAType":  # pandas' null is not even unequal to itself
            return None
        return None if math.isnan(value) else float(value)

    def has_values(self, *names: str) -> bool:
        """Whether all of these have a value."""
        return all(self[name] is not None for name in names)

    def number(self, name: str) -> float:
        """A value that is known to be there; ValueError where it is not."""
        value = self[name]
        if value is None:
            raise ValueError(f"the row has no {name}")
        return value

    def above(self, name: str, control: str) -> bool:
        """Whether the interval of one share lies above that of its control; False where an end is not known."""
        lower, upper = self[f"{name}_lo"], self[f"{control}_hi"]
        return lower is not None and upper is not None and lower > upper

    @property
    def few(self) -> bool:
        """Whether the samples are so few distinct images that shares of samples say little."""
        distinct, n = self["sample_distinct"], self["sample.count"]
        return distinct is not None and distinct < FEW and (n is None or n > distinct)

    @property
    def constant(self) -> bool:
        """Whether every sample is of a single colour."""
        constant, n = self["sample_constant"], self["sample.count"]
        if not constant:
            return False
        return constant == n if n is not None else self["train_pref_distinct"] == 0


def percent(share: float) -> str:
    """A share of 1 in per cent: `33.3 %`."""
    return f"{labels.number(100 * share)} %"


def between(shares: pd.Series) -> str:
    """Several shares in per cent, the least to the greatest, those that are known: `0.174 % to 5.38 %`."""
    return " to ".join(dict.fromkeys(percent(float(end)) for end in (shares.min(), shares.max())))


def share(row: Row, name: str, interval: bool = True) -> str:
    """A share in per cent, with its 95 % interval where it has one: `33.3 % [28.2 %, 38.9 %]`."""
    ends = (row[f"{name}_lo"], row[f"{name}_hi"])
    written = percent(row.number(name))
    if not interval or ends[0] is None or ends[1] is None:
        return written
    return f"{written} [{percent(ends[0])}, {percent(ends[1])}]"


def counted(row: Row, name: str, interval: bool = True) -> str:
    """A share of the samples as a count, with its interval rounded outwards: `23 of 10,000 samples [15, 34]`."""
    n = row["sample.count"]
    if n is None:
        return f"{share(row, name, interval)} of the samples"
    written = f"{round(row.number(name) * n):,} of {n:,.0f} samples"
    ends = (row[f"{name}_lo"], row[f"{name}_hi"])
    if not interval or ends[0] is None or ends[1] is None:
        return written
    return f"{written} [{math.floor(ends[0] * n + 1e-9):,}, {math.ceil(ends[1] * n - 1e-9):,}]"


def value(row: Row, name: str) -> str:
    """A number with its 95 % interval where it has one: `0.31 [0.28, 0.34]`."""
    ends = (row[f"{name}_lo"], row[f"{name}_hi"])
    written = labels.number(row.number(name))
    if ends[0] is None or ends[1] is None:
        return written
    return f"{written} [{labels.number(ends[0])}, {labels.number(ends[1])}]"


def count(number: float, one: str, many: str = "") -> str:
    """`1 image`, `1,200 images`."""
    return f"{number:,.0f} {one if number == 1 else many or f'{one}s'}"
