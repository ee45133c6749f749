"""What worlds are made of: digits without end, and the intervals of a result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np

from difgen_cli.data import scaled
from difgen_cli.data.digits import load

Arrays = dict[str, np.ndarray]
# Name of an estimand -> lower and upper ends of its interval; NaN where a metric says that it has none.
Ends = dict[str, tuple[np.ndarray, np.ndarray]]
POOL = scaled(load().images)


class World(Protocol):
    """`str(world)` says what is in it."""

    def truth(self) -> Arrays:
        """The estimands by name; an array is covered where all its values are."""

    def intervals(self, draw: int) -> Ends:
        """What the metric says of draw number `draw`."""


def ends(values: Mapping[str, object], *names: str, null: bool = False) -> Ends:
    """The intervals of these columns, NaN for a missing one; ValueError where none may be missing."""
    missing = [name for name in names if values[f"{name}_lo"] is None]
    if missing and not null:
        raise ValueError(f"there is no interval for {', '.join(missing)}")
    found = {name: [values[f"{name}_{end}"] for end in ("lo", "hi")] for name in names}
    return {name: (np.array(lower, float), np.array(upper, float)) for name, (lower, upper) in found.items()}


def blurred_digits(count: int, chance: np.random.Generator) -> np.ndarray:
    """Any number of digits, no two alike: (count, 8, 8, 1)."""
    drawn = POOL[chance.integers(len(POOL), size=count)]
    return (drawn + 0.2 * chance.standard_normal(drawn.shape)).astype(np.float32)


def unshared(_: str, compute: Callable[[], Arrays]) -> Arrays:
    return compute()
