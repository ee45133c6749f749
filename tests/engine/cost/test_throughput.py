"""The pace of a training by a clock that the tests turn."""

from __future__ import annotations

import pytest

from difgen_cli.engine.cost.flops import NetworkWork
from difgen_cli.engine.cost.machine import Limits
from difgen_cli.engine.cost.throughput import Pace, Speed


class Clock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def _pace(clock: Clock, work: NetworkWork | None = None, step: int = 0) -> Pace:
    return Pace(step, 10, lambda: work, lambda: Limits(1000.0, 100.0), clock)


def test_the_first_steps_count_in_no_rate() -> None:
    clock = Clock()
    pace = _pace(clock)
    for step, seconds in enumerate((30, 20, 1, 1), start=1):  # two warm up
        clock.seconds += seconds
        pace.done(step)
        assert pace.warming == (step <= 2)
    assert pace.reading().images_per_second == 10
    clock.seconds += 4
    pace.done(5)
    assert pace.reading().images_per_second == 2.5, "since the last reading"
    assert pace.whole().images_per_second == pytest.approx(30 / 6)


def test_where_there_are_no_other_steps_the_first_ones_count() -> None:
    clock = Clock()
    pace = _pace(clock, step=7)
    clock.seconds += 2
    pace.done(8)
    assert pace.reading().images_per_second == pace.whole().images_per_second == 5
    for step in (9, 10):
        clock.seconds += 1
        pace.done(step)
    assert pace.reading().images_per_second == 10


def test_asking_for_the_work_and_the_limits_counts_in_no_rate_and_happens_once() -> None:
    clock, asked = Clock(), []

    def work() -> NetworkWork:
        asked.append(1)
        clock.seconds += 50
        return NetworkWork(20.0, 1.0)

    pace = Pace(0, 10, work, lambda: Limits(1000.0, 100.0), clock)
    for step in (1, 2, 3):
        clock.seconds += 1
        pace.done(step)
    assert pace.reading() == Speed(10.0, 0.2, 0.2)
    assert len(asked) == 1


def test_what_is_not_known_is_none() -> None:
    clock = Clock()
    unknown, unmeasured = _pace(clock), Pace(0, 10, lambda: NetworkWork(1.0, 1.0), lambda: None, clock)
    for pace in (unknown, unmeasured):
        clock.seconds += 1
        pace.done(1)
        speed = pace.reading()
        assert (speed.roofline, speed.mfu) == (None, None)
        assert set(speed.facts) == {"images_per_second", "roofline", "mfu"}
        assert "roofline" not in speed.words


def test_a_log_says_both_shares() -> None:
    assert Speed(31234.4, 0.553, 0.51).words == "31,234 images/s, 55% of the roofline, MFU 51%"
