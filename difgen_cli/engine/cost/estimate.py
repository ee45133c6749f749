"""What work will cost, from what finished work has cost.

Work takes the median seconds per unit of its size (images of a training; evaluations of the network for sampling;
images that a metric reads) over finished work of the same kind, network and device, of about the same size. Where the
network has not run there, that of the network nearest in FLOPs per image is scaled by the root of the ratio of FLOPs:
halfway between a device that overhead limits and one that arithmetic limits. The range holds what was seen, wider for
each of these steps away from it, and reaches from no growth to growth in proportion to FLOPs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Literal

How = Literal["measured", "scaled", "guess", "unknown"]

NOISE_FACTOR = 1.35  # of the range at least: machines are shared, and others come and go
SIZE_POWER = 0.25  # of the ratio of sizes, by which the range widens: a start-up does not grow with the size
DEVICE_ONLY_FACTOR = 4.0  # of doubt where nothing but the device agrees
NO_FLOPS_FACTOR = 4.0  # of doubt where the FLOPs of a network could not be counted
ALIKE = math.log(2)  # sizes and FLOPs this near to the nearest count as near
TAIL = 0.05  # of what was seen that lies outside the range at each end, where there is much of it


@dataclass(frozen=True)
class Measured:
    """What work of some size took. `like` names its kind, from what matters most to what matters least."""

    size: float
    seconds: float
    like: tuple[str, ...] = ()
    name: str = ""  # what to call it: "mlp width 64"
    network: str = ""  # whose FLOPs it grows with, where it does


@dataclass(frozen=True)
class Seconds:
    """A prediction: with about 95 % certainty between value / factor and value · factor, and how it was obtained."""

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
    """The sum, called as its largest part; errors are taken to agree, as those of one device do.

    Unknown where a part is.
    """
    value = sum(p.value for p in parts)
    largest = next((p for p in parts if p.how == "unknown"), max(parts, key=lambda p: p.value, default=NOTHING))
    if not value:
        return largest
    factor = max(sum(p.high for p in parts) / value, value / sum(p.low for p in parts))
    return replace(largest, value=value, factor=factor)


def predict(
    measured: Sequence[Measured], size: float, like: tuple[str, ...] = (), network: str = "",
    flops: Callable[[], Mapping[str, float]] = dict,
) -> Seconds:  # fmt: skip
    """What work of this size will take, by the measurements most like it; UNKNOWN where there are none.

    `flops`: of an image by network, asked for only where the network is not one of those measured.
    "measured" is work of the very same kind and size; all else is "scaled".
    """
    if not measured:
        return UNKNOWN
    agreeing = max(_common(m.like, like) for m in measured)
    candidates = [m for m in measured if _common(m.like, like) == agreeing]
    counts = {} if all(m.network == network for m in candidates) else flops()
    comparable = [m for m in candidates if m.network == network or {m.network, network} <= counts.keys()]
    used = comparable or candidates
    ratios = [counts[network] / counts[m.network] if comparable and m.network != network else 1.0 for m in used]
    distances = [abs(math.log(size / m.size)) + abs(math.log(r)) for m, r in zip(used, ratios, strict=True)]
    first = distances.index(min(distances))
    nearest, within = used[first], distances[first] + ALIKE
    places = [place for place, distance in enumerate(distances) if distance <= within]
    rates = sorted(used[place].seconds / used[place].size * math.sqrt(ratios[place]) for place in places)
    factor = _spread(rates) * math.exp(abs(math.log(size / nearest.size)) * SIZE_POWER)
    factor *= math.exp(abs(math.log(ratios[first])) / 2)
    factor *= 1.0 if comparable else NO_FLOPS_FACTOR
    factor *= DEVICE_ONLY_FACTOR if like and not agreeing else 1.0
    same = agreeing == len(like) and not distances[first]
    return Seconds(size * median(rates), factor, "measured" if same else "scaled", nearest.name)


def _common(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    """How many labels agree before the first that does not."""
    return next((k for k, (a, b) in enumerate(zip(one, other, strict=True)) if a != b), len(one))


def _spread(rates: Sequence[float]) -> float:
    """How far ascending rates reach from their median, as a factor; a few at each end of many are left out."""
    tail, middle = int(TAIL * len(rates)), median(rates)
    return max(NOISE_FACTOR, rates[-1 - tail] / middle, middle / rates[tail])
