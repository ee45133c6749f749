"""SLURM as a launcher: submits one array, observes it in the queue, and tells a worker of its task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any

from difgen_cli.engine.launch import slurm
from difgen_cli.engine.launch.launcher import Death, LaunchRequest, SubmissionStatus
from difgen_cli.engine.launch.slurm import inside, profile, walltime
from difgen_cli.engine.launch.slurm.poll import Poll, SlurmQueue, ending_of
from difgen_cli.engine.launch.submissions import Submission
from difgen_cli.engine.launch.worker_pool import WorkerPool
from difgen_cli.engine.store import submission_file
from difgen_cli.engine.worker.allocation import Allocation
from difgen_cli.engine.worker.submission_spec import SubmissionSpec
from difgen_cli.format import counted

WORKERS = 8  # where nobody says how many
SILENT = "SLURM does not answer"


@dataclass
class SlurmLauncher:
    """Workers are tasks of an array; the queue is asked for all submissions at once, when it is time."""

    queue: Poll = field(default_factory=Poll)
    last: dict[str, SubmissionStatus] = field(default_factory=dict)  # by the submission's name
    here: bool = False
    foreground: bool = False

    def available(self) -> bool:
        return slurm.available()

    def pool(self, workers: int | None, jobs_per_gpu: int, settings: Mapping[str, Any]) -> WorkerPool:
        asked = profile.of(dict(settings))
        return WorkerPool("slurm", workers or WORKERS, asked.cpus, "cuda" if asked.gpus else "cpu", None)

    def submit(self, request: LaunchRequest) -> Submission:
        slurm.check(request.folder)
        if request.jobs_per_gpu != 1:
            request.print(
                "note: --jobs-per-gpu is for the GPUs of this machine; each SLURM task is one worker", style="yellow"
            )
        wanted, why = walltime.asked_for(profile.of(dict(request.profile)), request.forecast)
        array = slurm.array(wanted, request.forecast.workers, len(request.forecast.todo))
        asked = array.profile
        seconds = asked.walltime_minutes * 60.0
        submission = request.write(
            "slurm", array.workers, asked.cpus, walltime_seconds=seconds, notice_seconds=float(asked.notice_seconds)
        )
        asked_for = array.tasks
        job, array = slurm.start(submission, array, request.grid)
        if array.refused:
            request.print(f"note: SLURM refused {counted(asked_for, 'task')} and took {array.tasks}: {array.refused}",
                          style="yellow")  # fmt: skip
        request.print(
            f"submitted job {job}: {counted(array.tasks, 'task')}, {array.workers} at a time, "
            f"{counted(asked.walltime_minutes, 'minute')} each{why}",
        )
        if note := walltime.note(asked, request.forecast):
            request.print(f"note: {note}", style="yellow")
        return submission

    def poll(self, submissions: Sequence[Submission]) -> list[SubmissionStatus]:
        receipts = [s.receipt for s in submissions]  # before the queue: what is submitted meanwhile is not in it
        queue = self.queue.look([s.job_name for s in submissions], min((_day(s) for s in submissions), default=""))
        if queue is None:
            return [self.last.get(s.name) or _unknown(s) for s in submissions]
        statuses = [_status(s, queue, receipt) for s, receipt in zip(submissions, receipts, strict=True)]
        # What it told is written down by now, and is not told again.
        self.last = {s.submission.name: replace(s, deaths=(), receipt=None, over=None) for s in statuses}
        return statuses

    def cancel(self, submissions: Sequence[Submission]) -> list[str]:
        jobs = {s.name: str(s.receipt["job"]) for s in submissions if s.receipt}
        if jobs:
            slurm.cancel(list(jobs.values()))
        return [
            f"{s.name}: " + (f"job {jobs[s.name]} is cancelled" if s.name in jobs else "has no job yet")
            for s in submissions
        ]

    def inside(self, spec: SubmissionSpec) -> Allocation:
        return inside.allocation(spec.job_name, spec.walltime_seconds, spec.notice_seconds)


LAUNCHER = SlurmLauncher


def _unknown(submission: Submission) -> SubmissionStatus:
    return SubmissionStatus(submission, is_known=False, unknown_because=SILENT)


def _status(submission: Submission, queue: SlurmQueue, receipt: dict[str, Any] | None) -> SubmissionStatus:
    """Hold a submission, with its receipt as it was before the queue was asked, against the queue."""
    job = str(receipt["job"]) if receipt else _job(submission, queue)
    tasks = queue.of(submission.job_name)
    if job is None and not tasks:
        if submission.abandoned:
            return SubmissionStatus(submission, is_known=True, over="its writer died before SLURM heard of it")
        return _unknown(submission)  # it may be waiting for sbatch
    mended = {"job": job, "mended": True} if receipt is None and job is not None else None
    working = submission_file.working(submission.folder)
    deaths = [Death(r, _ending(r, queue), "SLURM") for r in working if _ended(r, queue)]
    pending = [task for task in tasks if task.pending]
    reasons = Counter(task.reason for task in pending if task.reason not in ("", "None", "JobArrayTaskLimit"))
    return SubmissionStatus(
        submission, True, len(tasks) - len(pending), len(pending), dict(reasons), deaths=deaths, receipt=mended,
        over=None if tasks else "none of its tasks is in the queue",
    )  # fmt: skip


def _job(submission: Submission, queue: SlurmQueue) -> str | None:
    """Find the job of a submission without a receipt: a crash came between sbatch and it."""
    worked = {str(r["owner"]["job"]) for r in submission.worker_records() if r["owner"].get("job")}
    return queue.names.get(submission.job_name) or next(iter(worked), None)


def _ended(worker_record: dict[str, Any], queue: SlurmQueue) -> bool:
    """Tell whether a worker's run of its task has ended: the task is not in the queue, waits, or runs anew."""
    who = worker_record["owner"]
    task = queue.find(*_task(who))
    return task is None or task.pending or task.restarts > int(who["restart"] or 0)


def _ending(worker_record: dict[str, Any], queue: SlurmQueue) -> str:
    """Name how that run ended, by the accounting's word where there is one."""
    who = worker_record["owner"]
    runs = queue.runs.get(_task(who), [])
    state = runs[int(who["restart"] or 0)] if len(runs) > int(who["restart"] or 0) else ""
    return ending_of(state) or "killed"


def _task(who: dict[str, Any]) -> tuple[str, str]:
    """The job and the task of an owner, as the queue has them; a job that is no array has no task."""
    return str(who["job"]), str(who["task"] or "")


def _day(submission: Submission) -> str:
    """The day before a submission, whatever the time zone of the cluster."""
    return str(date.fromisoformat(str(submission.intent["submitted"])[:10]) - timedelta(days=1))
