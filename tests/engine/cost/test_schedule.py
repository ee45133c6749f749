"""Order and makespan: Graham's cases, brute force, and what the order may never do."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from difgen_cli.engine.cost.forecast import ScheduledUnit, Wait, makespan, ranks

SECONDS = st.floats(0.1, 100.0)


def by_rank(tasks: list[ScheduledUnit]) -> list[int]:
    found = ranks(tasks)
    return sorted(range(len(tasks)), key=lambda place: -found[place])


def test_on_two_workers_longest_first_beats_first_come():
    tasks = [ScheduledUnit(s) for s in (1, 1, 1, 1, 4)]
    assert makespan(tasks, range(5), 2) == 6  # the long one begins when half of the others is done
    assert makespan(tasks, by_rank(tasks), 2) == 4


def test_grahams_worst_case_of_longest_first():
    """2m + 1 jobs of 2m − 1, 2m − 1, …, m, m, m take 4m − 1 in place of 3m (Graham 1969)."""
    tasks = [ScheduledUnit(s) for s in (5, 5, 4, 4, 3, 3, 3)]
    assert makespan(tasks, by_rank(tasks), 3) == 11
    assert min(makespan(tasks, order, 3) for order in permutations(range(7))) == 9


@given(st.lists(SECONDS, min_size=1, max_size=6), st.integers(1, 3))
def test_longest_first_is_within_grahams_bound_of_the_best(seconds: list[float], workers: int):
    tasks = [ScheduledUnit(s) for s in seconds]
    best = min(makespan(tasks, order, workers) for order in permutations(range(len(tasks))))
    assert makespan(tasks, by_rank(tasks), workers) <= best * (4 / 3 - 1 / (3 * workers)) + 1e-9
    assert best >= max(max(seconds), sum(seconds) / workers) - 1e-9


def test_a_scoring_begins_as_soon_as_its_snapshot_is_there():
    """Training of 100 with a snapshot at a quarter, whose scoring takes 50: done within the training by another."""
    tasks = [ScheduledUnit(100.0), ScheduledUnit(50.0, (Wait(0, 0.25),)), ScheduledUnit(10.0, (Wait(0),))]
    assert ranks(tasks) == [110.0, 50.0, 10.0]
    assert makespan(tasks, by_rank(tasks), 2) == 110
    assert makespan(tasks, by_rank(tasks), 1) == 160


def test_a_short_training_that_much_waits_for_comes_before_a_longer_one():
    tasks = [ScheduledUnit(60.0), ScheduledUnit(20.0), ScheduledUnit(50.0, (Wait(1),))]
    assert by_rank(tasks) == [1, 0, 2]
    assert makespan(tasks, by_rank(tasks), 2) == 70
    assert makespan(tasks, [0, 1, 2], 2) == 70
    assert makespan([*tasks, ScheduledUnit(60.0)], [0, 3, 1, 2], 2) == 130
    assert makespan([*tasks, ScheduledUnit(60.0)], by_rank([*tasks, ScheduledUnit(60.0)]), 2) == 110


@st.composite
def chains(draw: st.DrawFn) -> list[ScheduledUnit]:
    """Tasks that wait for earlier ones, in any order of places."""
    count = draw(st.integers(1, 12))
    tasks = []
    for place in range(count):
        before = draw(st.lists(st.integers(0, place - 1), max_size=2, unique=True)) if place else []
        tasks.append(
            ScheduledUnit(draw(SECONDS), tuple(Wait(b, draw(st.sampled_from([0.25, 0.5, 1.0]))) for b in before))
        )
    return tasks


@given(chains(), st.integers(1, 4))
def test_what_waits_ranks_below_what_it_waits_for_and_all_is_done_in_time(tasks: list[ScheduledUnit], workers: int):
    found = ranks(tasks)
    for place, task in enumerate(tasks):
        assert all(found[wait.place] > found[place] for wait in task.after)
    took = makespan(tasks, by_rank(tasks), workers)
    work, longest = sum(t.seconds for t in tasks), max(found)
    assert max(longest, work / workers) <= took * (1 + 1e-9)
    assert took <= work / workers + longest + 1e-6  # Graham's bound for list scheduling
    assert makespan(tasks, by_rank(tasks), 1) == pytest.approx(work)  # one worker is never idle


def test_a_circle_is_an_error():
    with pytest.raises(ValueError, match="circle"):
        ranks([ScheduledUnit(1.0, (Wait(1),)), ScheduledUnit(1.0, (Wait(0),))])


def test_nothing_takes_no_time():
    assert makespan([], [], 3) == 0
