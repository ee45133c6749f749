"""What a worker knows of its job: how much time is left on its own clock, and what a signal means."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from difgen_cli.engine.launch.slurm.inside import JOB_STARTED, SUBMISSION, SlurmAllocation, allocation, scheduled
from difgen_cli.engine.store.processes import SchedulerTask
from difgen_cli.engine.worker.queue import Queue
from difgen_cli.engine.worker.submission_spec import Interrupted, StopFlag
from difgen_cli.engine.worker.worker_record import WorkerRecord

NAME = "difgen-0123456789ab"


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of a task that began 30 seconds ago, on a machine whose wall clock is ten minutes ahead."""
    up = float(Path("/proc/uptime").read_text().split()[0])
    task = {"SLURM_ARRAY_JOB_ID": "12", "SLURM_ARRAY_TASK_ID": "3", SUBMISSION: f"{NAME}@12"}
    for name, value in (task | {JOB_STARTED: str(up - 30)}).items():
        monkeypatch.setenv(name, value)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 600)


def test_outside_a_scheduler_time_has_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in os.environ if n.startswith("SLURM_")]:
        monkeypatch.delenv(name)
    here = allocation(NAME, None, 0.0)
    assert here.left_seconds() == float("inf")
    assert {here.ending(s) for s in (None, signal.SIGTERM, signal.SIGINT)} == {"asked"}


@pytest.mark.usefixtures("job")
def test_the_time_left_is_counted_from_the_jobs_first_line_and_ends_with_the_notice() -> None:
    here = allocation(NAME, 600.0, 120.0)
    assert isinstance(here, SlurmAllocation)
    assert here.job == "12_3"
    assert here.number == 3
    assert here.left_seconds() == pytest.approx(600 - 30 - 120, abs=1)


@pytest.mark.usefixtures("job")
@pytest.mark.parametrize(
    ("submission", "said"),
    [
        (None, f"{NAME}@12"),  # a local or inline worker, started inside difgen's own task
        ("difgen-another", f"{NAME}@12"),
        (NAME, f"{NAME}@11"),  # a job that was submitted from a task, and has its environment
        (NAME, NAME),
        (NAME, ""),  # somebody's own array
    ],
)
def test_in_a_job_of_anybody_else_nothing_is_difgens_to_cancel(
    submission: str | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SUBMISSION, said)
    here = allocation(submission, 600.0, 120.0)
    assert not isinstance(here, SlurmAllocation)
    assert here.task is None
    assert here.left_seconds() == float("inf")
    assert here.ending(signal.SIGUSR1) == "asked"
    assert (scheduled() is not None) == said.endswith("@12")


@pytest.mark.usefixtures("job")
@pytest.mark.parametrize(
    ("walltime_seconds", "number", "ending"),
    [
        (600.0, signal.SIGUSR2, "preempted"),  # told long before its end
        (160.0, signal.SIGUSR2, "time_limit"),
        (160.0, None, "time_limit"),
        (600.0, signal.SIGTERM, "cancelled"),
        (600.0, signal.SIGINT, "asked"),
    ],
)
def test_a_signal_means_what_the_time_left_says(walltime_seconds: float, number: int | None, ending: str) -> None:
    assert allocation(NAME, walltime_seconds, 120.0).ending(number) == ending


def test_without_the_jobs_first_line_the_process_own_age_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "import time; time.sleep(1.5)\n"
        "from difgen_cli.engine.launch.slurm.inside import allocation\n"
        "print(allocation('x', 100.0, 0.0).left_seconds())"
    )
    environment = {k: v for k, v in os.environ.items() if k != JOB_STARTED} | {"SLURM_JOB_ID": "5", SUBMISSION: "x@5"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert 90 < float(done.stdout) < 98.6


def _queue(folder: Path, left_seconds: float) -> Queue:
    from difgen_cli.engine.plan.work import Training
    from difgen_cli.engine.store import Store
    from difgen_cli.engine.store.attempts import Claimant

    here = SlurmAllocation(time.monotonic() + left_seconds, 0.0, 3, task=SchedulerTask(NAME, "12", "3", 0))
    worker_record = WorkerRecord.register(folder / "0.json", "cpu")
    return Queue(Store(folder / "runs"), [Training("0" * 16, "x", (10,), 8)], Claimant(), worker_record, here)


def test_a_worker_begins_what_it_can_save_and_nothing_in_its_last_seconds(tmp_path: Path) -> None:
    assert _queue(tmp_path, 60.0).next(StopFlag()) is not None
    with pytest.raises(Interrupted):
        _queue(tmp_path / "late", 2.0).next(StopFlag())


def test_a_worker_whose_place_was_given_to_another_takes_nothing_more(tmp_path: Path) -> None:
    queue = _queue(tmp_path, 60.0)
    WorkerRecord.register(tmp_path / "0.json", "cpu")  # SLURM has started the task again elsewhere
    assert queue.next(StopFlag()) is None
