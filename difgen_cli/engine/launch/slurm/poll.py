"""One look at the queue for all jobs: one `squeue` and, where there is accounting, one `sacct`; less and less often.

Neither submitit's own idea of a job nor its pickles are asked: the queue, the accounting and the store know better.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from difgen_cli.engine.launch import LaunchError
from difgen_cli.engine.launch.slurm.cluster import answer

LEAST_SECONDS = 2.0
MOST_SECONDS = 40.0
GROWTH = 1.5  # of the pause between two looks
FIELDS = {"Name": 40, "ArrayJobID": 14, "ArrayTaskID": 14, "State": 16, "RestartCnt": 8, "Reason": 40}
_ENDINGS = {
    "OUT_OF_MEMORY": "out_of_memory",
    "NODE_FAIL": "node_failure",
    "BOOT_FAIL": "node_failure",
    "TIMEOUT": "time_limit",
    "DEADLINE": "time_limit",
    "PREEMPTED": "preempted",
    "CANCELLED": "cancelled",
    "REQUEUED": "cancelled",
    "REVOKED": "cancelled",
}
PENDING = frozenset({"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT"})


@dataclass(frozen=True)
class SlurmTask:
    """One task of an array in the queue."""

    name: str  # of its job
    job: str
    task: str  # empty for a job that is no array
    state: str
    restarts: int
    reason: str

    @property
    def pending(self) -> bool:
        return self.state in PENDING


@dataclass(frozen=True)
class SlurmQueue:
    """What the scheduler says at one moment."""

    tasks: tuple[SlurmTask, ...]
    # (job, task) -> the states of its runs in their order, from the accounting; empty where there is none
    runs: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)  # job name -> job, from both

    def of(self, name: str) -> list[SlurmTask]:
        """The tasks of the job with a name."""
        return [task for task in self.tasks if task.name == name]

    def find(self, job: str, task: str) -> SlurmTask | None:
        """A task that waits or runs."""
        return next((t for t in self.tasks if (t.job, t.task) == (job, task)), None)


@dataclass
class Poll:
    """Asks for all jobs at once when it is time, on its own clock."""

    clock: Callable[[], float] = time.monotonic
    accounting: bool = True  # until it says that there is none
    pause_seconds: float = LEAST_SECONDS
    due: float = float("-inf")

    def look(self, names: Sequence[str], since: str) -> SlurmQueue | None:
        """The queue as it is for jobs of these names; None where it is not time, or the controller does not answer.

        `since`: a day such as 2026-11-21 before which none of them was submitted.
        """
        if not names or self.clock() < self.due:
            return None
        self.due = self.clock() + self.pause_seconds
        self.pause_seconds = min(MOST_SECONDS, GROWTH * self.pause_seconds)
        try:
            tasks = queued(answer("squeue", "--noheader", "--array", f"--name={','.join(names)}",
                                  f"--Format={','.join(f'{n}:{w}' for n, w in FIELDS.items())}"))  # fmt: skip
        except LaunchError:
            return None
        runs, jobs = self._accounted(names, since)
        return SlurmQueue(tuple(tasks), runs, jobs | {task.name: task.job for task in tasks})

    def _accounted(self, names: Sequence[str], since: str) -> tuple[dict[tuple[str, str], list[str]], dict[str, str]]:
        """How runs of these jobs ended; empty where the accounting is away, or there is none."""
        if not self.accounting:
            return {}, {}
        try:
            output = answer("sacct", "--noheader", "--parsable2", "--allocations", "--duplicates", "--allusers",
                          f"--name={','.join(names)}", f"--starttime={since}",
                          "--format=JobName,JobID,State,Start")  # fmt: skip
        except LaunchError as error:
            self.accounting = "disabled" not in str(error)
            return {}, {}
        return accounted(output)


def queued(text: str) -> list[SlurmTask]:
    """From `squeue` in columns of FIELDS."""
    tasks = []
    for line in text.splitlines():
        values, at = [], 0
        for width in FIELDS.values():
            values.append(line[at : at + width].strip())
            at += width
        if values[0]:
            name, job, task, state, restarts, reason = values
            number = task if task.isdigit() else ""  # N/A
            tasks.append(SlurmTask(name, job, number, state, int(restarts) if restarts.isdigit() else 0, reason))
    return tasks


def accounted(text: str) -> tuple[dict[tuple[str, str], list[str]], dict[str, str]]:
    """From `sacct`: the states of each task's runs in the order of their start, and the job of each name."""
    lines = sorted((line.split("|") for line in text.splitlines() if line.count("|") == 3), key=lambda f: f[3])
    runs: dict[tuple[str, str], list[str]] = defaultdict(list)
    names = {}
    for name, job, state, _ in lines:
        array, _, task = job.partition("_")
        runs[array, task].append(state)
        names[name] = array
    return dict(runs), names


def ending_of(state: str) -> str | None:
    """Name the ending of a job's state (`CANCELLED by 1000`, `NODE_FAIL`); None for one that tells of none."""
    return _ENDINGS.get(state.split()[0].rstrip("+")) if state.split() else None
