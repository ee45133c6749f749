"""A time limit shorter than the work: it is done in as many pieces as it takes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from comparing import Content

from slurm.study import TRAJECTORIES, Study

NewStudy = Callable[..., Study]


@pytest.mark.slow
def test_trajectories_longer_than_the_time_limit_progress_over_several_attempts(
    new_study: NewStudy, calm: Content
) -> None:
    study = new_study(profile={"walltime_minutes": 1}, PACE_SECONDS="0.25")
    study.begin()
    study.finish(timeout=500)
    attempts = study.attempts("train.*")
    assert len(attempts) >= 2 * TRAJECTORIES, "no trajectory was longer than the time limit"
    study.assert_whole(calm, lost=len(attempts) - TRAJECTORIES)
    study.assert_goes_on()
    assert set(study.endings()) == {"time_limit"}
