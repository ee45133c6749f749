"""What work will cost, from what work has cost: pure arithmetic on sizes and seconds.

Seconds are a sum of terms, each a product of some of the sizes that the work grows with and of a coefficient that is
not negative: a start-up, so much an image, so much an image and operation. The coefficients are fitted to what was
measured of the same kind of work, with the nearest sizes counting most. What measurements leave open (one width says
nothing of another) is shared evenly among the terms.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

How = Literal["measured", "scaled", "guess", "unknown"]
Sizes = Mapping[str, float]
Terms = Sequence[tuple[str, ...]]

RIDGE = 1e-3  # how strongly what is left open is shared evenly; relative errors of 3 % are about as heavy
SWEEPS = 2000  # of coordinate descent
CONVERGED = 1e-9  # change of a coefficient, as a share of the prediction
NOISE = 0.15  # deviation of the log of a time that was measured once: machines are shared, and others come and go
DRIFT = 0.15  # deviation that is added for each factor e between what is known and what is asked
APART = 0.9  # deviation that is added where nothing but the device agrees
STUDENT = 2.0  # deviations of a 95 % interval


@dataclass(frozen=True)
class Measured:
    """What work of some sizes took. `like` names its kind, from what matters most to what matters least."""

    sizes: Sizes
    seconds: float
    like: tuple[str, ...] = ()
    name: str = ""  # what to call it: "mlp width 64"
    network: str = ""  # whose FLOPs it grows with, where it does


@dataclass(frozen=True)
class Seconds:
    """A prediction: with 95 % certainty between value / factor and value · factor, and how it was obtained."""

    value: float
    factor: float = 1.0
    how: How = "measured"
    source: str = ""  # of a scaled one: the nearest work that was measured

    @property
    def low(self) -> float:
        return self.value / self.factor

    @property
    def high(self) -> float:
        return self.value * self.factor

    def times(self, factor: float) -> Seconds:
        """So many times as much."""
        return replace(self, value=self.value * factor)


NOTHING = Seconds(0.0)
UNKNOWN = Seconds(0.0, how="unknown")


def total(parts: Sequence[Seconds]) -> Seconds:
    """The sum, called as its largest part; errors are taken to agree, as those of one law do.

    Unknown where a part is.
    """
    value = sum(p.value for p in parts)
    largest = next((p for p in parts if p.how == "unknown"), max(parts, key=lambda p: p.value, default=NOTHING))
    if not value:
        return largest
    factor = max(sum(p.high for p in parts) / value, value / sum(p.low for p in parts))
    return replace(largest, value=value, factor=factor)


def products(names: Sequence[str]) -> Terms:
    """Every product of some of these sizes, the empty one first: all ways in which a cost can grow with them."""
    return [chosen for count in range(len(names) + 1) for chosen in combinations(names, count)]


def predict(
    known: Sequence[Measured], terms: Terms, sizes: Sizes, like: tuple[str, ...] = (), noise: float = NOISE
) -> Seconds:
    """What work of these sizes will take, by the measurements that are most like it; UNKNOWN where there are none.

    `sizes` are positive; `noise` is how much the log of a time varies by itself.
    "measured" is work of the very same kind and sizes; all else is "scaled".
    """
    if not known:
        return UNKNOWN
    alike = max(_common(m.like, like) for m in known)
    chosen = [m for m in known if _common(m.like, like) == alike]
    distances = [_distance(m.sizes, sizes) for m in chosen]
    nearest = chosen[distances.index(min(distances))]
    value, error = _fit(chosen, [1 / (1 + d**2) for d in distances], terms, sizes, nearest)
    drift = math.hypot(*(DRIFT * math.log(sizes[k] / nearest.sizes[k]) for k in sizes))
    apart = APART if like and not alike else 0.0
    factor = math.exp(STUDENT * math.sqrt(error**2 + drift**2 + apart**2 + noise**2))
    same = alike == len(like) and not min(distances)
    return Seconds(value, factor, "measured" if same else "scaled", nearest.name)


def _common(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    """How many labels agree before the first that does not."""
    return next((k for k, (a, b) in enumerate(zip(one, other, strict=True)) if a != b), len(one))


def _distance(one: Sizes, other: Sizes) -> float:
    return math.hypot(*(math.log(one[k] / other[k]) for k in other))


def _fit(
    known: Sequence[Measured], weights: Sequence[float], terms: Terms, sizes: Sizes, nearest: Measured
) -> tuple[float, float]:
    """The sum of terms at `sizes`, and the deviation of the logs of what was measured about it.

    Least squares of relative errors with coefficients ≥ 0, in units of each term's share of the nearest measurement.
    """

    def share(term: tuple[str, ...], at: Sizes) -> float:
        return math.prod(at[k] / nearest.sizes[k] for k in term)

    rows = [[nearest.seconds / m.seconds * share(term, m.sizes) for term in terms] for m in known]
    coefficients = _least_squares(rows, weights)
    value = nearest.seconds * sum(c * share(t, sizes) for c, t in zip(coefficients, terms, strict=True))
    errors = [math.log(max(sum(c * x for c, x in zip(coefficients, row, strict=True)), 1e-9)) for row in rows]
    square = sum(w * e**2 for w, e in zip(weights, errors, strict=True)) / sum(weights)
    return value, math.sqrt(square)


def _least_squares(rows: Sequence[Sequence[float]], weights: Sequence[float]) -> list[float]:
    """b ≥ 0 of least Σ wᵢ (Σₖ bₖ aᵢₖ − 1)² + RIDGE Σ bₖ², by coordinate descent: the problem is strictly convex."""
    count, scale = len(rows[0]), sum(weights)
    gram = [
        [sum(w * r[j] * r[k] for w, r in zip(weights, rows, strict=True)) / scale for k in range(count)]
        for j in range(count)
    ]
    right = [sum(w * r[j] for w, r in zip(weights, rows, strict=True)) / scale for j in range(count)]
    found = [0.0] * count
    for _ in range(SWEEPS):
        moved = 0.0
        for k in range(count):
            others = sum(gram[k][j] * found[j] for j in range(count)) - gram[k][k] * found[k]
            best = max(0.0, (right[k] - others) / (gram[k][k] + RIDGE))
            moved, found[k] = max(moved, abs(best - found[k])), best
        if moved < CONVERGED:
            break
    return found
