"""Metrics: `measure(<inputs>, *, ...) -> Result`, with the columns declared as literals in each file.

Images are scaled float32 (n, H, W, C), points (n, D). A value that is undefined for its inputs is None, and NaN in a
table; a value is never NaN.

`denoiser` is the network by itself, so that a change of guidance recomputes nothing that needs no samples. A metric
whose settings have `guided` is given the guided denoiser where that is set: its result's key follows from the guidance.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import NormalDist

import numpy as np

from difgen_cli.metrics._bands import Gap, gap_of, null_of, peak
from difgen_cli.metrics._epsilon import epsilon_of, least_gaussian
from difgen_cli.metrics._epsilon import least as least_epsilon
from difgen_cli.metrics._epsilon import most as most_epsilon
from difgen_cli.neighbours import flat, nearest

__all__ = [
    "VERSION", "Gap", "Result", "Shared", "Value", "epsilon_of", "flat", "gap_of", "least_epsilon", "least_gaussian",
    "most_epsilon", "nearest",
    "null_of", "peak", "wilson",
]  # fmt: skip

VERSION = 1

Value = float | int | str | bool | None
Shared = Callable[[str, Callable[[], dict[str, np.ndarray]]], dict[str, np.ndarray]]
"""`shared(name, compute)`: what `compute()` gives, kept for all snapshots that share the subset and the settings."""


@dataclass(frozen=True)
class Result:
    """values: exactly the metric's COLUMNS; tables: exactly its TABLES, as name -> column -> values."""

    values: dict[str, Value]
    tables: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)


def wilson(count: float, total: float, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval (1927) for a share of `count` in `total` independent draws; (0, 1) for none."""
    if total == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + level) / 2)
    share, weight = count / total, z * z / total
    centre = (share + weight / 2) / (1 + weight)
    half_width = z / (1 + weight) * float(np.sqrt(share * (1 - share) / total + weight / (4 * total)))
    # At the ends the bound is exact; rounding would leave it beside.
    return 0.0 if count == 0 else centre - half_width, 1.0 if count == total else centre + half_width
