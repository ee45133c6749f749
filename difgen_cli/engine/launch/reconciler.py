"""Looking after the submissions of a run directory: what lives, who has died and of what, and what nobody wrote down.

A command that works on a run directory tends it: a receipt that a crash has swallowed is mended, a dead worker's unit
is given free with its cause, a submission of which nothing lives is closed. One that only looks learns the same, and
writes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from difgen_cli.engine.launch import LaunchError, local, slurm
from difgen_cli.engine.launch.slurm.poll import Poll, SlurmQueue
from difgen_cli.engine.launch.submissions import Submission
from difgen_cli.engine.store import failures
from difgen_cli.format import counted


@dataclass(frozen=True)
class SubmissionStatus:
    """How a submission stands."""

    submission: Submission
    known: bool  # False where nobody here can tell: another machine's workers, a controller that is away
    running: int = 0
    pending: int = 0
    reasons: dict[str, int] = field(default_factory=dict)  # why tasks wait, in SLURM's words -> how many

    @property
    def alive(self) -> bool:
        return not self.known or self.running + self.pending > 0

    @property
    def words(self) -> str:
        """For a person: what runs, what waits, and why."""
        if self.submission.launcher != "slurm":
            return counted(self.running, "worker") if self.known else f"on {self.submission.said['owner']['host']}"
        if not self.known:
            return "SLURM does not answer"
        why = ", ".join(f"{count} {reason}" for reason, count in self.reasons.items())
        waiting = (
            f", {self.pending} task{'s wait' if self.pending > 1 else ' waits'}" + (f" ({why})" if why else "")
            if self.pending
            else ""
        )
        return counted(self.running, "worker") + waiting


def cancel(standings: Sequence[SubmissionStatus]) -> list[str]:
    """Ask all workers to save and leave; says of each submission what was done. Raises LaunchError."""
    alive = [s.submission for s in standings if s.alive]
    jobs = [str(s.receipt["job"]) for s in alive if s.launcher == "slurm" and s.receipt]
    if jobs:
        slurm.cancel(jobs)
    said, refused = [], []
    for submission in alive:
        try:
            said.append(f"{submission.name}: {_cancelled(submission)}")
        except LaunchError as error:
            refused.append(str(error))
    if refused and not said:
        raise LaunchError("; ".join(refused))
    return said + refused


def _cancelled(submission: Submission) -> str:
    """What was done to cancel a submission's workers; the scheduler has been told. Raises LaunchError."""
    if submission.launcher == "slurm":
        job = (submission.receipt or {}).get("job")
        return f"job {job} is cancelled" if job else "has no job yet"
    if submission.launcher == "local" and local.stop(submission):
        return "its workers were asked to save and leave"
    return f"runs on {submission.said.get('owner', {}).get('host')}; cancel it there"


Lost = dict[tuple[str, str, int], str]  # folder of a trajectory, unit, attempt -> how it ended


@dataclass
class Reconciler:
    """Looks at submissions again and again; the scheduler is asked for all of them at once, when it is time."""

    find: Callable[[], Sequence[Submission]]
    poll: Poll = field(default_factory=Poll)
    last: dict[str, SubmissionStatus] = field(default_factory=dict)  # by the submission's name
    writes: bool = True  # whether what is learnt is written down
    lost: Lost = field(default_factory=dict)  # attempts whose workers were found dead, and nobody has written down

    def look(self) -> list[SubmissionStatus]:
        """How each submission stands now, as far as is known."""
        open_ = self.find()
        remote = [s for s in open_ if s.launcher == "slurm"]
        receipts = {s.name: s.receipt for s in remote}  # before the queue: what is submitted meanwhile is not in it
        queue = self.poll.look([s.job_name for s in remote], min((_day(s) for s in remote), default=""))
        standings = [self._standing(s, queue, receipts.get(s.name)) for s in open_]
        self.last = {standing.submission.name: standing for standing in standings}
        return standings

    def _standing(
        self, submission: Submission, queue: SlurmQueue | None, receipt: dict[str, Any] | None
    ) -> SubmissionStatus:
        if submission.launcher == "slurm":
            if queue is None:
                return self.last.get(submission.name) or SubmissionStatus(submission, known=False)
            return self._in_queue(submission, queue, receipt)
        if submission.launcher == "inline":
            alive: bool | None = not submission.abandoned
        else:
            alive = local.alive(submission)
        if alive is False:
            for worker_record in _working(submission):
                self._record_death(submission, worker_record, "killed", "the next command")
            self._close(submission, "its workers are gone")
        return SubmissionStatus(submission, alive is not None, running=int(submission.said["workers"]) if alive else 0)

    def _in_queue(self, submission: Submission, queue: SlurmQueue, receipt: dict[str, Any] | None) -> SubmissionStatus:
        """A submission to SLURM, with its receipt as it was before the queue was asked, held against the queue."""
        job = str(receipt["job"]) if receipt else self._mended(submission, queue)
        tasks = queue.of(submission.job_name)
        if job is None and not tasks:
            if submission.abandoned:
                self._close(submission, "its writer died before SLURM heard of it")
            return SubmissionStatus(submission, known=submission.abandoned)  # else it may be waiting for sbatch
        for worker_record in _working(submission):
            if _ended(worker_record, queue):
                self._record_death(submission, worker_record, _ending(worker_record, queue), "SLURM")
        pending = [task for task in tasks if task.pending]
        if not tasks:
            self._close(submission, "none of its tasks is in the queue")
        reasons = Counter(task.reason for task in pending if task.reason not in ("", "None", "JobArrayTaskLimit"))
        return SubmissionStatus(submission, True, len(tasks) - len(pending), len(pending), dict(reasons))

    def _mended(self, submission: Submission, queue: SlurmQueue) -> str | None:
        """The job of a submission without a receipt, which is written now: a crash came between sbatch and it."""
        worked = {str(b["owner"]["job"]) for b in submission.worker_records() if b["owner"].get("job")}
        job = queue.names.get(submission.job_name) or next(iter(worked), None)
        if job is not None and self.writes:
            submission.answer({"job": job, "mended": True})
        return job

    def _record_death(self, submission: Submission, worker_record: dict[str, Any], ending: str, by: str) -> None:
        """Give free the unit that a dead worker has left."""
        at = worker_record.get("at")
        if self.writes:
            submission.record_death(worker_record, ending, by)
        elif at:
            self.lost[str(at["home"]), str(at["unit"]), int(at["attempt"])] = ending

    def _close(self, submission: Submission, why: str) -> None:
        if self.writes:
            submission.close(why)


def _working(submission: Submission) -> list[dict[str, Any]]:
    """The badges of workers that have not said that they left."""
    return [b for b in submission.worker_records() if b.get("state") in ("starting", "running")]


def _ended(worker_record: dict[str, Any], queue: SlurmQueue) -> bool:
    """Whether the run of a task that a badge is of has ended: the task is not in the queue, waits, or runs anew."""
    who = worker_record["owner"]
    task = queue.find(*_task(who))
    return task is None or task.pending or task.restarts > int(who["restart"] or 0)


def _ending(worker_record: dict[str, Any], queue: SlurmQueue) -> str:
    """How that run ended, by the accounting's word where there is one."""
    who = worker_record["owner"]
    runs = queue.runs.get(_task(who), [])
    said = runs[int(who["restart"] or 0)] if len(runs) > int(who["restart"] or 0) else ""
    return failures.of_scheduler(said) or "killed"


def _task(who: dict[str, Any]) -> tuple[str, str]:
    """The job and the task of an owner, as the queue has them; a job that is no array has no task."""
    return str(who["job"]), str(who["task"] or "")


def _day(submission: Submission) -> str:
    """The day before a submission, whatever the time zone of the cluster."""
    from datetime import date, timedelta

    return str(date.fromisoformat(str(submission.said["submitted"])[:10]) - timedelta(days=1))
