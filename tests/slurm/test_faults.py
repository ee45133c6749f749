"""What clusters do to jobs: afterwards the tables are those of an undisturbed run, and nothing is left behind."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from comparing import Content, assert_equal_content

from slurm.cluster import Lab, LabError, await_that
from slurm.study import PACE_SECONDS, TRAJECTORIES, Study

NewStudy = Callable[..., Study]
PACE = str(PACE_SECONDS)


def test_a_cancelled_task_is_replaced_and_a_requeued_one_goes_on(new_study: NewStudy, lab: Lab, calm: Content) -> None:
    study = new_study(PACE_SECONDS=PACE)
    study.begin()
    cancelled, requeued, *_ = study.await_training()
    lab.run("scancel", study.task_of(cancelled))
    lab.run("scontrol", "requeue", study.task_of(requeued))
    study.finish()
    study.assert_whole(calm, lost=2)
    study.assert_goes_on()
    assert study.endings() == ["cancelled"] * 2


def test_preempted_workers_save_and_go_on_after_the_other_job(new_study: NewStudy, lab: Lab, calm: Content) -> None:
    study = new_study(profile={"partition": "scavenge"}, PACE_SECONDS=PACE)
    study.begin()
    study.await_training()
    with lab.crowded() as other:
        await_that(lambda: lab.state_of(other) == "RUNNING", 60, "the other job has the nodes")
        assert not study.workers()
    study.finish()
    study.assert_whole(calm, lost=TRAJECTORIES)
    assert study.endings() == ["preempted"] * TRAJECTORIES
    study.assert_goes_on()


@pytest.mark.slow
def test_the_controller_may_be_restarted(new_study: NewStudy, lab: Lab, calm: Content) -> None:
    study, late = new_study(PACE_SECONDS="0.05"), new_study("late")
    study.begin()
    study.await_training()
    lab.stop("slurmctld")
    refused = late.sweep()
    lab.up()
    assert refused.returncode == 3, refused.stderr
    study.finish()
    study.assert_whole(calm)


@pytest.mark.slow
def test_accounting_may_go_and_come_back(new_study: NewStudy, lab: Lab, calm: Content) -> None:
    study = new_study(PACE_SECONDS=PACE)
    study.begin()
    victim = study.await_training()[0]
    lab.stop("slurmdbd")
    lab.run("scancel", study.task_of(victim))
    study.finish()
    lab.up()
    study.assert_whole(calm, lost=1)


@pytest.fixture
def strict_lab() -> Iterator[Lab]:
    """A cluster of one node without accounting, so that sacct always fails, where tasks are killed for their memory."""
    try:
        cluster = Lab.start(1, LAB_ACCOUNTING="0", LAB_OVERMEM="1")
    except LabError as why:
        pytest.skip(str(why))
    yield cluster
    cluster.wipe()


@pytest.mark.slow
def test_a_cluster_without_accounting_is_as_good(strict_lab: Lab, tmp_path: Path, calm: Content) -> None:
    with closing(Study.at(tmp_path / "study", strict_lab, profile={"memory_gb": 0.9}, PACE_SECONDS=PACE)) as study:
        study.begin()
        victim = study.await_training()[0]
        strict_lab.run("scancel", study.task_of(victim))
        study.finish()
        study.assert_whole(calm, lost=1)


@pytest.mark.slow
def test_out_of_memory_has_a_name_and_a_remedy_and_is_retried_when_asked(
    strict_lab: Lab, tmp_path: Path, calm: Content
) -> None:
    pace = {"PACE_SECONDS": PACE, "DIFGEN_CHECKPOINT_SECONDS": "60"}  # none gets further between two deaths
    with closing(Study.at(tmp_path / "study", strict_lab, profile={"memory_gb": 0.9}, **pace)) as study:
        study.environment["HUNGER_BYTES"] = str(2**30)
        done = study.sweep()
        assert done.returncode == 1, done.stderr + study.story()
        assert set(study.endings()) == {"out_of_memory"}
        said = study.difgen("status").stdout
        assert said.count("out of memory") == TRAJECTORIES, said
        assert said.count("memory_gb") == TRAJECTORIES, said
        del study.environment["HUNGER_BYTES"]
        done = study.sweep("--retry", "failed")
        assert done.returncode == 0, done.stderr
        assert_equal_content(study.runs, calm)
        study.assert_nothing_left()


def test_a_worker_killed_while_it_writes_leaves_nothing_half_done(new_study: NewStudy, calm: Content) -> None:
    study = new_study(PACE_SECONDS=PACE, DIFGEN_CHECKPOINT_SECONDS="0.1")
    study.begin()
    torn: list[Path] = []
    for victim in study.await_training():
        torn.append(kill_while_it_writes(study, victim))
        if torn[-1].exists():  # else it was faster, and died between two writes
            break
    study.finish()
    assert torn[-1].exists(), f"none of {len(torn)} workers was caught while it wrote"
    study.assert_whole(calm, lost=len(torn))
    assert study.endings() == ["killed"] * len(torn)


def kill_while_it_writes(study: Study, attempt: dict[str, Any]) -> Path:
    """SIGKILL the owner of an attempt as soon as there is an unfinished checkpoint; returns that file's path."""
    process, folder = study.worker_of(attempt), attempt["file"].parents[1] / "checkpoints"
    deadline = time.monotonic() + 10
    while not (unfinished := [name for name in os.listdir(folder) if name.endswith(".tmp")]):
        assert time.monotonic() < deadline, f"no checkpoint was written: {study.story()}"
    process.kill()
    await_that(lambda: process.pid not in [p.pid for p in study.workers()], 10, "it is dead")
    return folder / unfinished[0]
