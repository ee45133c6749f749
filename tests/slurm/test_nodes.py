"""Machines that die, and machines that only seem to: what their workers did is not lost, and nothing is done twice."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from comparing import Content

from slurm.cluster import Lab, await_that
from slurm.study import Study

NewStudy = Callable[..., Study]


@pytest.mark.slow
def test_a_node_that_dies_loses_no_more_than_since_the_last_checkpoint(
    new_study: NewStudy, lab: Lab, calm: Content
) -> None:
    study = new_study(PACE_SECONDS="0.05", DIFGEN_LEASE_SECONDS="120")  # the scheduler is to know it first
    study.begin()
    host = study.await_training()[0]["owner"]["host"]
    victims = [a for a in study.in_training() if a["owner"]["host"] == host]
    lab.node("kill", host)
    study.finish()
    lab.up()
    study.assert_whole(calm, lost=len(victims))
    found = study.endings()
    assert found == ["node_failure"] * len(found)


@pytest.mark.slow
def test_a_job_that_runs_twice_at_once_does_no_harm(new_study: NewStudy, lab: Lab, calm: Content) -> None:
    study = new_study(PACE_SECONDS="0.2")
    study.begin(workers=2)
    victim = study.await_training(2)[0]
    task, host = victim["owner"]["task"], victim["owner"]["host"]

    def hosts() -> set[str]:
        at_work = [p.environment for p in study.workers()]
        return {e["SLURMD_NODENAME"] for e in at_work if e["SLURM_ARRAY_TASK_ID"] == task}

    lab.run("scancel", "--state=PENDING", victim["owner"]["job"])  # spare tasks would go before its second run
    lab.node("lose", host)
    await_that(lambda: len(hosts()) == 2, 90, f"task {task} runs on two nodes at once")
    study.finish()
    lab.up()
    study.assert_whole(calm, lost=2)
