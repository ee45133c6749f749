"""The interval of a column in one row, widened where a model was chosen among several, and its bad end."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from difgen_cli.gate.columns import DeclaredColumn
from difgen_cli.gate.policy import Rule
from difgen_cli.report.plotting import labels

LEVEL = 0.95  # of the intervals that rows hold


@dataclass(frozen=True)
class JudgedInterval:
    """A value with the ends of its interval; both None where it has none. used: the bad end."""

    value: float
    lower: float | None
    upper: float | None
    level: float | None
    used: str

    def beyond(self, rule: Rule, *, good: bool) -> str:
        """Which limit the good or the bad end is beyond, as the middle of a sentence; empty where it is not."""
        lower = self.value if self.lower is None else self.lower
        upper = self.value if self.upper is None else self.upper
        high, low = (lower, upper) if good else (upper, lower)
        if rule.at_most is not None and not high <= rule.at_most:
            return f"above {rule.at_most:g}"
        if rule.at_least is not None and not low >= rule.at_least:
            return f"below {rule.at_least:g}"
        return ""


def number(value: Any) -> float | None:
    """A finite number, or None."""
    if value is None or isinstance(value, str | bool):
        return None
    try:
        real = float(value)
    except (TypeError, ValueError):
        return None
    return real if math.isfinite(real) else None


def of(
    rule: Rule, declared: DeclaredColumn | None, row: Mapping[str, Any], chances: int
) -> tuple[JudgedInterval | None, str]:
    """The interval, or None and why there is none, the end of a sentence. chances: models that it is corrected for."""
    value = number(row.get(rule.column))
    if value is None:
        return None, "has no value"
    used = "hi" if rule.at_most is not None else "lo"
    if rule.at_most is not None and rule.at_least is not None and rule.bound != "value":
        used = "both"
    if rule.bound == "value":
        if chances > 1:
            return None, f"has no interval that could be corrected for {chances} models"
        return JudgedInterval(value, None, None, None, "value"), ""
    ends = declared.ends if declared else None
    lower, upper = (number(row.get(end)) for end in ends) if ends else (None, None)
    if lower is None or upper is None:
        return None, f"is {labels.number(value)} without an interval"
    if not lower <= value <= upper:
        return None, f"is {labels.number(value)}, outside of its own interval"
    share = declared is not None and declared.is_share
    lower, upper = widened(value, lower, upper, chances, share)
    return JudgedInterval(value, lower, upper, 1 - (1 - LEVEL) / chances, used), ""


def widened(value: float, lower: float, upper: float, chances: int, share: bool) -> tuple[float, float]:
    """A 95 % interval made one of 1 − 0.05/chances (Bonferroni), by no less than that needs.

    Each side grows by the square of the ratio of the normal quantiles. A normal interval needs the ratio alone; near 0
    those of shares (Wilson, Clopper–Pearson) grow with up to its square.
    """
    if chances <= 1:
        return lower, upper
    wanted, given = (NormalDist().inv_cdf(1 - (1 - LEVEL) / (2 * k)) for k in (chances, 1))
    factor = (wanted / given) ** 2
    low, high = value - factor * (value - lower), value + factor * (upper - value)
    return (max(0.0, low), min(1.0, high)) if share else (low, high)
