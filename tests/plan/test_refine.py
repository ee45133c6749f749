"""The rule of `refine` on small axes: known answers, and every outcome by brute force."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product

import numpy as np
import pytest

from difgen_cli.engine.plan.refine import (
    ABOVE,
    BELOW,
    UNDECIDED,
    Course,
    Zone,
    course,
    first_values,
    side,
    zone_of,
)
from difgen_cli.engine.plan.rounds import reason

LETTERS = {"+": ABOVE, "-": BELOW, "?": UNDECIDED}


def _sides(word: str) -> dict[int, int]:
    """`+ ? -`: the sides of the values that were run; a dot is one that was not."""
    return {place: LETTERS[letter] for place, letter in enumerate(word.replace(" ", "")) if letter != "."}


def _of(word: str) -> Callable[[int], int]:
    """A response that is known everywhere."""
    sides = _sides(word)
    return lambda place: sides[place]


@pytest.mark.parametrize(
    ("intervals", "expected"),
    [
        ([(0.51, 0.6), (0.7, 0.8), (0.9, 1.0)], ABOVE),
        ([(0.1, 0.2), (0.3, 0.49)], BELOW),
        ([(0.51, 0.6), (0.3, 0.49), (0.7, 0.8)], UNDECIDED),  # seeds disagree
        ([(0.51, 0.6), (0.49, 0.55)], UNDECIDED),  # an interval holds the level
        ([(0.5, 0.6)], UNDECIDED),  # and so does one that begins there
        ([(0.51, 0.6), None, (0.7, 0.8)], ABOVE),  # a failed seed is left out
        ([(0.51, 0.6), None], UNDECIDED),  # unless half of the seeds failed
        ([None, None, None], UNDECIDED),
    ],
)
def test_a_value_is_decided_where_all_seeds_are_on_one_side(
    intervals: list[tuple[float, float] | None], expected: int
) -> None:
    assert side(intervals, 0.5) == expected


@pytest.mark.parametrize(
    ("word", "zone", "following"),
    [
        ("+..+..-..-", Zone(3, 6, None), (4,)),  # one gap, halved
        ("+..++.-..-", Zone(4, 6, None), (5,)),
        ("+..++--..-", Zone(4, 5, None), ()),  # neighbours bracket it
        ("+..?..-..-", Zone(0, 6, (3, 3)), (1, 4)),  # both ends at once
        ("+.??+?-..-", Zone(0, 6, (2, 5)), (1,)),  # above once more within the zone: it counts as undecided
        ("-..-..+..+", Zone(3, 6, None), (4,)),  # rising
        ("+..-..+..+", Zone(0, 6, (3, 3)), (1, 4)),  # leaves the level and comes back
        ("?..?..-..-", Zone(None, 6, (0, 3)), (4,)),  # the first value is undecided: one end alone
        ("?..?..?..?", Zone(None, None, (0, 9)), ()),
        ("+..+..?..?", Zone(3, None, (6, 9)), (4,)),
    ],
)
def test_the_zone_lies_between_what_is_decided_from_both_ends(
    word: str, zone: Zone, following: tuple[int, ...]
) -> None:
    assert zone_of(_sides(word)) == zone
    assert zone.next() == following


def test_there_is_no_zone_where_all_values_are_on_one_side() -> None:
    for letter in "+-":
        done = course(10, 4, _of(letter * 10))
        assert (done.open, len(done.asked), done.least_and_most()) == ((), 4, (4, 4))


def test_the_first_values_are_spread_evenly_with_both_ends() -> None:
    assert first_values(37, 6) == (0, 7, 14, 22, 29, 36)
    assert first_values(9, 3) == (0, 4, 8)
    assert first_values(5, 2) == (0, 4)
    assert first_values(3, 6) == (0, 1, 2)  # a curve of which `skip` has left less
    assert first_values(1, 6) == (0,)


def test_rounds_are_known_answers_on_an_axis_of_nine() -> None:
    done = course(9, 3, _of("++++++---"))
    assert [finished.values for finished in done.rounds] == [(0, 4, 8), (6,), (5,)]
    assert done.rounds[-1].zone == Zone(5, 6, None)
    asked = course(9, 3, _of("++++??---"))
    assert [finished.values for finished in asked.rounds] == [(0, 4, 8), (2, 6), (3, 5)]
    assert asked.rounds[-1].zone == Zone(3, 6, (4, 5))


def test_a_round_waits_for_all_that_it_asked_for_and_what_else_is_there_changes_nothing() -> None:
    sides = _sides("++++++---")
    waiting = course(9, 3, lambda place: sides[place] if place in (0, 4, 5, 6, 7) else None)
    assert (waiting.rounds, waiting.open) == ((), (0, 4, 8))
    assert [waiting.may_ask(place) for place in (1, 5, 0)] == [True, True, False]
    later = course(9, 3, lambda place: sides[place] if place in (0, 4, 8, 1, 2) else None)
    assert (len(later.rounds), later.open, later.asked) == (1, (6,), {0, 4, 6, 8})
    assert [place for place in range(9) if later.may_ask(place)] == [5, 7]  # between 4 and 8 alone


def _outcomes(count: int, first: int, known: dict[int, int]) -> Iterator[Course]:
    """Every course that can come of an axis: all sides of all values that are asked for."""
    now = course(count, first, known.get)
    if not now.open:
        yield now
        return
    for sides in product(LETTERS.values(), repeat=len(now.open)):
        yield from _outcomes(count, first, known | dict(zip(now.open, sides, strict=True)))


@pytest.mark.parametrize(("count", "first"), [(4, 2), (9, 2), (9, 3), (12, 3), (13, 4), (17, 2)])
def test_the_least_and_the_most_values_are_those_of_all_outcomes(count: int, first: int) -> None:
    ends = [len(done.asked) for done in _outcomes(count, first, {})]
    start = course(count, first, lambda _: None)
    least, most = start.least_and_most()
    assert (least, most) == (min(ends), max(ends))
    for sides in product(LETTERS.values(), repeat=len(start.open)):  # and after each first round
        first_sides = dict(zip(start.open, sides, strict=True))
        further = [len(done.asked) for done in _outcomes(count, first, first_sides)]
        assert course(count, first, first_sides.get).least_and_most() == (min(further), max(further))


def test_what_may_be_asked_for_is_what_some_outcome_asks_for() -> None:
    start = course(9, 3, lambda _: None)
    for sides in product(LETTERS.values(), repeat=3):
        first_sides = dict(zip(start.open, sides, strict=True))
        after = course(9, 3, first_sides.get)
        reached = set[int]().union(*(done.asked for done in _outcomes(9, 3, first_sides)))
        assert {place for place in range(9) if after.may_ask(place)} == reached - after.asked


def test_every_end_of_every_outcome_is_bracketed_by_neighbours() -> None:
    for done in _outcomes(13, 4, {}):
        zone = done.rounds[-1].zone
        if zone and zone.inner is None:
            assert zone.left is not None
            assert zone.right == zone.left + 1
        elif zone and zone.inner:
            assert zone.left in (None, zone.inner[0] - 1)
            assert zone.right in (None, zone.inner[1] + 1)


def _arriving(count: int, response: Callable[[int], int], order: int) -> frozenset[int]:
    """The values that are asked for in the end, where their results arrive in a random order."""
    chance, arrived = np.random.default_rng(order), dict[int, int]()
    while running := sorted(course(count, 4, arrived.get).asked - set(arrived)):
        place = running[chance.integers(len(running))]
        arrived[place] = response(place)
    return frozenset(arrived)


def test_one_final_set_whatever_arrives_first() -> None:
    rough = np.random.default_rng(5)
    for _ in range(30):
        response = _of("".join(rough.choice(list("+?-"), size=21)))
        assert {_arriving(21, response, order) for order in range(5)} == {course(21, 4, response).asked}


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("+..+..-..-", "above 0.5 up to 4, below 0.5 from 7 on: 5 next"),
        ("+..++--..-", "above 0.5 up to 5, below 0.5 from 6 on: neighbours on the axis bracket it"),
        ("+.+?-....-", "above 0.5 up to 3, below 0.5 from 5 on, undecided at 4: neighbours on the axis bracket it"),
        ("++??..?..?", "above 0.5 up to 2, undecided at the last value, 10, undecided from 3 to 10: decided at one end "
                       "alone"),
        ("+..+..+..+", "all 4 values are above 0.5: nothing is left to refine"),
        ("?..?..?..?", "undecided at the first value, 1, undecided at the last value, 10, undecided from 1 to 10: no "
                       "end of the axis is decided"),
    ],
)  # fmt: skip
def test_a_decision_says_why(word: str, sentence: str) -> None:
    values: Sequence[float] = range(1, 11)
    sides = _sides(word)
    done = course(10, 2, sides.get).rounds  # what is compared is the sentence on these very sides
    assert reason(tuple(values), type(done[0])(tuple(sides), sides, zone_of(sides)), 0.5) == sentence
