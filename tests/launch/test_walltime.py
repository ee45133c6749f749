"""The walltime that a job is asked for: what its work needs, within what the partition allows."""

from __future__ import annotations

import pytest

from difgen_cli.engine.cost.estimate import UNKNOWN, Seconds
from difgen_cli.engine.cost.forecast import Forecast, Part
from difgen_cli.engine.launch import LaunchError
from difgen_cli.engine.launch.slurm import profile, walltime
from difgen_cli.engine.plan.work import Work

HOUR = 3600.0


def work(wall: float, longest: float, piece: float = 1.0, factor: float = 1.0) -> Forecast:
    part = Part("training", 1, Seconds(wall, factor))
    return Forecast(Work(), 4, (part,), Seconds(wall, factor), Seconds(longest, factor), Part("gap", 1, Seconds(piece)))


@pytest.mark.parametrize(
    ("found", "minutes"),
    [
        (work(60.0, 10.0), 30),  # no less than half an hour
        (work(1 * HOUR, 0.5 * HOUR), 80),  # all of a worker's share, and a quarter more
        (work(20 * HOUR, 1 * HOUR), 240),  # no more than usual for the sake of the share alone
        (work(20 * HOUR, 6 * HOUR), 450),  # but enough for the longest unit
        (work(20 * HOUR, 6 * HOUR, factor=2.0), 900),  # as long as it may be
        (work(20 * HOUR, 6 * HOUR, factor=9.0), 900),  # but not for a vague estimate's sake
    ],
)
def test_a_profile_without_a_walltime_gets_what_the_work_needs(found: Forecast, minutes: int):
    asked, why = walltime.asked_for(profile.of({"partition": "gpu"}), found)
    assert asked.walltime_minutes == minutes
    assert asked.partition == "gpu"
    assert "longest unit is expected to take" in why


@pytest.mark.parametrize("longest", [0.1, 1.0, 5.0, 30.0, 300.0])
def test_it_is_never_above_the_partitions_limit(longest: float):
    asked, _ = walltime.asked_for(profile.of({}), work(longest * HOUR, longest * HOUR))
    assert asked.within(480, "gpu").walltime_minutes <= 480


def test_a_walltime_in_the_profile_is_kept_and_refused_above_the_limit_as_ever():
    said = profile.of({"walltime_minutes": 600})
    asked, why = walltime.asked_for(said, work(60.0, 10.0))
    assert (asked, why) == (said, "")
    with pytest.raises(LaunchError, match="gpu allows 480 minutes"):
        asked.within(480, "gpu")


def test_where_nothing_is_known_it_is_the_usual_one():
    blind = Forecast(Work(), 4, (Part("training", 1, UNKNOWN),), UNKNOWN, UNKNOWN, Part("", 0, UNKNOWN))
    assert walltime.asked_for(profile.of({}), blind)[0].walltime_minutes == profile.USUAL_MINUTES


def test_only_what_cannot_be_saved_in_the_middle_is_warned_of():
    asked = profile.of({"walltime_minutes": 60})
    assert walltime.note(asked, work(50 * HOUR, 20 * HOUR)) is None, "a training goes on in the next job"
    said = walltime.note(asked, work(50 * HOUR, 20 * HOUR, piece=3 * HOUR))
    assert said == (
        "gap of one cell is expected to take 3h00, and cannot be saved in the middle: 60 minutes will not do; "
        "raise walltime_minutes in the profile"
    )
