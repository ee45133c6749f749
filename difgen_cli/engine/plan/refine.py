"""The rule of `refine`: which of an axis's declared values are run, from the rounds that are finished alone.

A value is above the level, or below it, where the intervals of all its seeds are; else it is undecided. From each end
of the axis runs a stretch of values that are all on the same side as that end. Between the two stretches lies the
zone, and a round halves the gaps at its ends, until values that stand side by side on the axis bracket it from both
sides. Values are counted along the axis, so that it is the grid that says how far apart they are.

Where no value is undecided the zone is one gap, and is halved until two neighbours are left. Where all values are on
one side there is no zone, and nothing to refine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

ABOVE, UNDECIDED, BELOW = 1, 0, -1
Interval = tuple[float, float]
Gap = tuple[int, int]  # the values that stand at its ends


def side(intervals: Sequence[Interval | None], level: float) -> int:
    """On which side of a level all seeds of one value lie. None: a seed that failed, or whose column has no value.

    Such seeds are left out, unless half of the seeds or more are such: then the value is undecided.
    """
    measured = [interval for interval in intervals if interval is not None]
    if 2 * len(measured) <= len(intervals):
        return UNDECIDED
    if all(low > level for low, _ in measured):
        return ABOVE
    return BELOW if all(high < level for _, high in measured) else UNDECIDED


def first_values(count: int, first: int) -> tuple[int, ...]:
    """Places of the values of the first round: evenly along an axis of `count` values, with both of its ends."""
    first = min(first, count)
    return tuple(round(k * (count - 1) / (first - 1)) for k in range(first)) if first > 1 else tuple(range(count))


@dataclass(frozen=True)
class Zone:
    """What lies between the two decided stretches, in places along the axis.

    left, right: the last value of the stretch from the left end, the first of that from the right end; None: that end
    is undecided itself. inner: the first and the last value in between that were run; None: none was.
    """

    left: int | None
    right: int | None
    inner: tuple[int, int] | None

    @property
    def gaps(self) -> list[Gap]:
        """The stretches at the ends of the zone in which values are left: between which values they lie."""
        pairs: list[tuple[int | None, int | None]]
        if self.inner is None:
            pairs = [(self.left, self.right)]
        else:
            pairs = [(self.left, self.inner[0]), (self.inner[1], self.right)]
        return [(a, b) for a, b in pairs if a is not None and b is not None and b - a > 1]

    def next(self) -> tuple[int, ...]:
        """The values of the next round: the middle of each gap. Empty: the zone is as narrow as the axis allows."""
        return tuple((a + b) // 2 for a, b in self.gaps)

    def holds(self, place: int) -> bool:
        """Whether a value that was not run may still be asked for."""
        return any(a < place < b for a, b in self.gaps)


def zone_of(sides: Mapping[int, int]) -> Zone | None:
    """The zone of the values that were run, place -> side; None where all lie on one side of the level."""
    places = sorted(sides)
    length_left, length_right = _stretch(places, sides), _stretch(places[::-1], sides)
    if length_left == len(places):
        return None
    left = places[length_left - 1] if length_left else None
    right = places[-length_right] if length_right else None
    between = places[length_left : len(places) - length_right]
    return Zone(left, right, (between[0], between[-1]) if between else None)


def _stretch(places: Sequence[int], sides: Mapping[int, int]) -> int:
    """How many values from the first on are decided as the first is."""
    end = sides[places[0]]
    if end == UNDECIDED:
        return 0
    return next((k for k, place in enumerate(places) if sides[place] != end), len(places))


@dataclass(frozen=True)
class Round:
    """One finished round: which values were run for it, on which side all values that were run so far lie, and the
    zone that follows."""

    values: tuple[int, ...]
    sides: dict[int, int]
    zone: Zone | None


@dataclass(frozen=True)
class Course:
    """How far one curve is refined: the finished rounds, and the values of the one that is open (none: it is over)."""

    count: int  # values of the axis
    first: int
    rounds: tuple[Round, ...]
    open: tuple[int, ...]

    @property
    def asked(self) -> frozenset[int]:
        """The places of all values that are needed so far."""
        return frozenset(self.open).union(*(r.values for r in self.rounds))

    def may_ask(self, place: int) -> bool:
        """Whether a value that is not needed so far may be needed later."""
        if place in self.asked or not self.open:
            return False
        zone = self.rounds[-1].zone if self.rounds else None
        return not self.rounds or (zone is not None and zone.holds(place))

    def least_and_most(self) -> tuple[int, int]:
        """How many values will have been run at the end, at least and at most, whatever the results are."""
        run = sum(len(r.values) for r in self.rounds)
        if self.rounds:
            zone = self.rounds[-1].zone
            least, most = _of_zone(zone) if zone else (0, 0)
            return run + least, run + most
        starts = first_values(self.count, self.first)
        gaps = [b - a - 1 for a, b in pairwise(starts)]
        ends = sorted(_of_end(gap)[1] for gap in gaps)[-2:]
        most = max([sum(ends), *(_of_one(gap)[1] for gap in gaps)], default=0)
        return len(starts), len(starts) + most


def course(count: int, first: int, read: Callable[[int], int | None]) -> Course:
    """The course of one curve. `read`: place -> the side of that value; None while its seeds are not all done or
    failed. It is asked for values of this course alone, so that whatever else is in the store changes nothing."""
    rounds: list[Round] = []
    sides: dict[int, int] = {}
    values = first_values(count, first)
    while values:
        new = {place: read(place) for place in values}
        if None in new.values():
            break
        sides = sides | {place: int(s or 0) for place, s in new.items()}
        zone = zone_of(sides)
        rounds.append(Round(values, sides, zone))
        values = zone.next() if zone else ()
    return Course(count, first, tuple(rounds), values)


# How many values can follow, at least and at most: each outcome of each round is looked at.


def _of_zone(zone: Zone) -> tuple[int, int]:
    inside = [b - a - 1 for a, b in zone.gaps]
    if zone.inner is None:
        return _of_one(inside[0]) if inside else (0, 0)
    parts = [_of_end(gap) for gap in inside]
    return sum(least for least, _ in parts), sum(most for _, most in parts)


def _halves(inside: int) -> tuple[int, int]:
    return (inside - 1) // 2, inside - 1 - (inside - 1) // 2


@cache
def _of_end(inside: int) -> tuple[int, int]:
    """Of a gap between a stretch and an undecided value, with so many values inside."""
    if not inside:
        return 0, 0
    parts = [_of_end(half) for half in _halves(inside)]
    return 1 + min(least for least, _ in parts), 1 + max(most for _, most in parts)


@cache
def _of_one(inside: int) -> tuple[int, int]:
    """Of the one gap between two stretches: an undecided value in its middle leaves two gaps at the ends of a zone."""
    if not inside:
        return 0, 0
    halves = _halves(inside)
    ends, ones = [_of_end(half) for half in halves], [_of_one(half) for half in halves]
    least = min(sum(part[0] for part in ends), *(part[0] for part in ones))
    return 1 + least, 1 + max(sum(part[1] for part in ends), *(part[1] for part in ones))
