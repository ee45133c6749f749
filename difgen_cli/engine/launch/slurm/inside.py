"""What SLURM has given a worker: which task it is, until when it may run, why it is told to stop, how it returns."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from difgen_cli.engine.store.processes import SchedulerTask
from difgen_cli.engine.worker.allocation import Allocation

SUBMISSION = "DIFGEN_SUBMISSION"  # set by the first line of a job of difgen's own: name of the submission @ job
JOB_STARTED = "DIFGEN_JOB_STARTED"  # seconds since boot at the job's first line: the profile's set-up lines take time
LOOK_SECONDS = 30.0  # how often SLURM looks at time limits: its signal may come so much earlier
LINGER_SECONDS = 600.0
REQUEUE_TRIES = 5
NOTICES = frozenset({signal.SIGUSR1, signal.SIGUSR2})  # what SLURM was asked to send before it ends a job


def scheduled() -> SchedulerTask | None:
    """The task that this process is; None in a job of anybody else, whatever SLURM's variables say.

    A person's own job may run difgen too, and a job that is submitted from a task inherits its environment: only the
    job whose first line has named a submission together with this very job is difgen's to requeue or to cancel.
    """
    submission, _, named = os.environ.get(SUBMISSION, "").rpartition("@")
    job = os.environ.get("SLURM_ARRAY_JOB_ID") or os.environ.get("SLURM_JOB_ID")
    if not submission or not job or named != job:
        return None
    restart = int(os.environ.get("SLURM_RESTART_COUNT") or 0)
    return SchedulerTask(submission, job, os.environ.get("SLURM_ARRAY_TASK_ID"), restart)


def allocation(submission: str | None, walltime_seconds: float | None, notice_seconds: float) -> Allocation:
    """That of this process, where it is a task of SLURM's job for this submission; none in any other job."""
    number = int(os.environ.get("SLURM_ARRAY_TASK_ID", "0"))  # a single task is no array
    task = scheduled()
    if submission is None or task is None or task.submission != submission:
        return Allocation(number=number)
    if walltime_seconds is None:
        return SlurmAllocation(number=number, task=task)
    ends_at = time.monotonic() + walltime_seconds - _age_seconds()
    return SlurmAllocation(ends_at, notice_seconds, number, task=task)


@dataclass(frozen=True)
class SlurmAllocation(Allocation):
    """A task of an array of difgen's own."""

    @property
    def job(self) -> str:
        """The task as SLURM's commands name it: 12, or 12_3 for a task of an array."""
        return "_".join(part for part in (self.task.job, self.task.task) if part) if self.task else ""

    def ending(self, number: int | None) -> str:
        if number == signal.SIGINT:
            return "asked"
        if number is None or (number in NOTICES and self.left_seconds() < LOOK_SECONDS):
            return "time_limit"
        return "preempted" if number in NOTICES else "cancelled"

    def come_back(self, ending: str) -> None:
        """Get back into the queue, or wait for the end that SLURM has announced.

        A task that left by itself would count as finished: one that is being preempted or requeued would not return.
        """
        if ending in ("time_limit", "preempted"):
            self._requeue()
        elif ending == "cancelled":
            left_seconds = self.ends_at - time.monotonic() if self.ends_at < math.inf else LINGER_SECONDS
            time.sleep(min(LINGER_SECONDS, max(0.0, left_seconds)))

    def _requeue(self) -> None:
        for pause_seconds in (2.0**k for k in range(REQUEUE_TRIES)):
            if _call("scontrol", "requeue", self.job):
                time.sleep(LINGER_SECONDS / 10)  # until SLURM ends this process
                return
            time.sleep(pause_seconds)  # the controller may be away for a moment

    def cancel_spares(self) -> None:
        job, _, task = self.job.partition("_")
        if task:
            _call("scancel", "--state=PENDING", job)


def _age_seconds() -> float:
    """Seconds since the job's first line, or since this process began where that is not told."""
    up = float(Path("/proc/uptime").read_text().split()[0])
    try:
        return max(0.0, up - float(os.environ[JOB_STARTED]))
    except (KeyError, ValueError):
        ticks = float(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        return up - ticks / os.sysconf("SC_CLK_TCK")


def _call(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False
