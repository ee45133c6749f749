"""What a scheduler has given a worker: until when it may run, why it is told to stop, and how it comes back.

Time is counted on this machine's own clock from the start of the job: clocks of different machines are never compared.
"""

from __future__ import annotations

import math
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from difgen_cli.engine.store.processes import scheduled

JOB_STARTED = "DIFGEN_JOB_STARTED"  # seconds since boot at the job's first line: the profile's set-up lines take time
LOOK_SECONDS = 30.0  # how often SLURM looks at time limits: its signal may come so much earlier
LINGER_SECONDS = 600.0
REQUEUE_TRIES = 5


@dataclass(frozen=True)
class Allocation:
    """The job of a worker; outside a scheduler it has no end."""

    job: str | None = None  # 12, or 12_3 for a task of an array
    ends_at: float = math.inf  # on time.monotonic()
    notice_seconds: float = 0.0  # how long before its end it is told

    @staticmethod
    def here(submission: str | None, walltime_seconds: float | None, notice_seconds: float) -> Allocation:
        """That of this process, where it is a task of a scheduler's job for this submission; none in any other job."""
        task = scheduled()
        if submission is None or task is None or task.submission != submission:
            return Allocation()
        job = task.job if task.task is None else f"{task.job}_{task.task}"
        if walltime_seconds is None:
            return Allocation(job)
        return Allocation(job, time.monotonic() + walltime_seconds - _age_seconds(), notice_seconds)

    def left_seconds(self) -> float:
        """Seconds of work until the scheduler's notice may come."""
        return self.ends_at - self.notice_seconds - time.monotonic()

    def ending(self, number: int | None) -> str:
        """Why a signal came, by name; None for no signal: the worker's own look at the time."""
        if self.job is None or number == signal.SIGINT:
            return "asked"
        if number is None or (number in NOTICES and self.left_seconds() < LOOK_SECONDS):
            return "time_limit"
        return "preempted" if number in NOTICES else "cancelled"

    def come_back(self, ending: str) -> None:
        """After all is saved: get back into the queue, or wait for the end that the scheduler has announced.

        A task that left by itself would count as finished: one that is being preempted or requeued would not return.
        """
        if self.job is None:
            return
        if ending in ("time_limit", "preempted"):
            self._requeue(self.job)
        elif ending == "cancelled":
            time.sleep(min(LINGER_SECONDS, max(0.0, self.ends_at - time.monotonic())))

    def _requeue(self, job: str) -> None:
        for pause_seconds in (2.0**k for k in range(REQUEUE_TRIES)):
            if _call("scontrol", "requeue", job):
                time.sleep(LINGER_SECONDS / 10)  # until SLURM ends this process
                return
            time.sleep(pause_seconds)  # the controller may be away for a moment

    def cancel_spares(self) -> None:
        """Take back the array's tasks that still wait: there is nothing left for them."""
        if self.job is not None and "_" in self.job:
            _call("scancel", "--state=PENDING", self.job.partition("_")[0])


NOTICES = frozenset({signal.SIGUSR1, signal.SIGUSR2})  # what SLURM was asked to send before it ends a job


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
