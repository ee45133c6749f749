"""Order and makespan: Graham's cases, brute force, and what the order may never do."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from difgen_cli.engine.cost.forecast import makespan, ranks

SECONDS = st.floats(0.1, 100.0)


def apart(seconds: list[float], workers: int) -> float:
    """The makespan of units that wait for nothing, longest first."""
    return makespan(seconds, ranks(seconds, [set()] * len(seconds)), workers)


def test_on_two_workers_longest_first_beats_first_come():
    assert makespan([1, 1, 1, 1, 4], [1, 1, 1, 1, 0], 2) == 6  # the long one begins when half of the others is done
    assert apart([1, 1, 1, 1, 4], 2) == 4


def test_grahams_worst_case_of_longest_first():
    """2m + 1 jobs of 2m − 1, 2m − 1, …, m, m, m take 4m − 1 in place of 3m (Graham 1969)."""
    assert apart([5, 5, 4, 4, 3, 3, 3], 3) == 11


@given(st.lists(SECONDS, min_size=1, max_size=6), st.integers(1, 3))
def test_longest_first_is_within_grahams_bound_of_the_best(seconds: list[float], workers: int):
    def in_order(order: tuple[int, ...]) -> float:
        free = [0.0] * workers
        for place in order:
            free[free.index(min(free))] += seconds[place]
        return max(free)

    best = min(map(in_order, permutations(range(len(seconds)))))
    assert apart(seconds, workers) <= best * (4 / 3 - 1 / (3 * workers)) + 1e-9
    assert apart(seconds, workers) >= best - 1e-9


def test_a_unit_ranks_by_the_longest_chain_that_begins_with_it_and_no_makespan_is_shorter():
    seconds, after = [100.0, 50.0, 10.0], [set[int](), {0}, {1}]
    assert ranks(seconds, after) == [160.0, 60.0, 10.0]
    assert makespan(seconds, ranks(seconds, after), 3) == 160


def test_a_short_training_that_much_waits_for_comes_before_a_longer_one():
    found = ranks([60.0, 20.0, 50.0], [set(), set(), {1}])
    assert found == [60.0, 70.0, 50.0]
    assert makespan([60.0, 20.0, 50.0], found, 2) == 70


@given(st.data())
def test_what_waits_ranks_below_what_it_waits_for_and_one_worker_is_never_idle(data: st.DataObject):
    count = data.draw(st.integers(1, 12))
    seconds = data.draw(st.lists(SECONDS, min_size=count, max_size=count))
    after = [data.draw(st.sets(st.integers(0, place - 1), max_size=2)) if place else set() for place in range(count)]
    found = ranks(seconds, after)
    assert all(found[earlier] > found[place] for place in range(count) for earlier in after[place])
    assert makespan(seconds, found, 1) == pytest.approx(sum(seconds))


def test_a_circle_is_an_error():
    with pytest.raises(ValueError, match="cycle"):
        ranks([1.0, 1.0], [{1}, {0}])


def test_nothing_takes_no_time():
    assert makespan([], [], 3) == 0
