"""Workers on SLURM: one throttled array through submitit, with spare tasks for those that the cluster takes away."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path

from difgen_cli.engine.launch import LaunchError, worker_environment
from difgen_cli.engine.launch.slurm import cluster
from difgen_cli.engine.launch.slurm.profile import Profile
from difgen_cli.engine.launch.submissions import Submission

SPARES = 4  # tasks of the array for each that may run: who is lost to the cluster is replaced by the next

# sbatch's words where a shorter array may be accepted: reasons such as QOSMaxSubmitJobPerUserLimit, and MaxArraySize.
LIMITS = re.compile(r"SubmitJob|Invalid job array specification")


class Refusal(Exception):  # noqa: N818
    """sbatch's words where it submits nothing."""

    @property
    def names_a_limit(self) -> bool:
        """Whether fewer tasks may be accepted."""
        return LIMITS.search(str(self)) is not None


@dataclass(frozen=True)
class TaskArray:
    """What is asked for: how many tasks, how many of them at a time, and with which profile."""

    profile: Profile
    tasks: int
    workers: int
    refused: str = ""  # sbatch's words where it refused a longer array

    def cut(self, most: int | None) -> TaskArray:
        """With at most so many tasks; None for no limit."""
        if most is None or self.tasks <= most:
            return self
        return replace(self, tasks=most, workers=min(self.workers, most))


def available() -> bool:
    """Whether this machine belongs to a SLURM cluster, up or down; programs without a configuration are not one."""
    if shutil.which("sbatch") is None or shutil.which("scontrol") is None:
        return False
    try:
        asked = subprocess.run(["scontrol", "ping"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return True
    return " is UP" in asked.stdout or " is DOWN" in asked.stdout


def check(folder: Path) -> None:
    """Raise LaunchError for a folder whose name SLURM would take apart."""
    if any(c in str(folder) for c in "%\n\r\\"):
        raise LaunchError(f"{folder}: SLURM writes no logs to a path with %, \\ or line breaks; choose another --runs")


def array(profile: Profile, workers: int, units: int) -> TaskArray:
    """The array to ask for: no longer than MaxArraySize, within the time of its partition.

    Limits of accounts and QOS are for sbatch to name. Raises LaunchError where the controller does not answer.
    """
    facts = cluster.ask()
    partition = facts.partitions.get(profile.partition or "") or facts.default
    if partition is not None:
        profile = profile.within(partition.max_minutes, partition.name)
    workers = min(workers, units)
    return TaskArray(profile, min(units, SPARES * workers), workers).cut(facts.max_tasks)


def start(submission: Submission, wanted: TaskArray, grid: str) -> tuple[str, TaskArray]:
    """Submit the array, halved for as long as sbatch names a limit on tasks; returns its job and what was submitted.

    sbatch takes all tasks of an array or none, so that nothing is submitted twice. A refusal for which there is no
    shorter array, or that names no such limit, is written down; raises LaunchError in sbatch's words.
    """
    array = wanted
    while True:
        try:
            job = _sbatch(submission, array, grid)
        except Refusal as refusal:
            words = " ".join(str(refusal).split())[-300:]
            if array.tasks == 1 or not refusal.names_a_limit:
                submission.answer({"refused": words})
                raise LaunchError(f"SLURM refused: {words}") from refusal
            shutil.rmtree(submission.folder / "log", ignore_errors=True)  # submitit's files of the refused tasks
            array = replace(array.cut(array.tasks // 2), refused=words)
            continue
        submission.answer({"job": job, "tasks": array.tasks, "workers": array.workers})
        return job, array


def _sbatch(submission: Submission, array: TaskArray, grid: str) -> str:
    """Submit through submitit; returns the job. Raises Refusal."""
    import submitit

    from difgen_cli.engine import worker
    from difgen_cli.engine.launch import task

    folder, profile = submission.folder, array.profile
    device = worker.SCHEDULED if profile.gpus else None
    environment = worker_environment(Path(submission.intent["code"]), profile.cpus)
    try:
        # submitit repeats on stderr what sbatch says, which is in the error too
        with _environment(environment), redirect_stderr(StringIO()):
            executor = submitit.AutoExecutor(folder / "log", "slurm", slurm_python=task.command(device))
            executor.update_parameters(**profile.parameters(submission.job_name, grid, array.workers))
            tasks = range(array.tasks)
            jobs = executor.map_array(worker.main, [str(folder)] * len(tasks), tasks, [device] * len(tasks))
    except (subprocess.CalledProcessError, submitit.core.utils.FailedJobError, RuntimeError) as error:
        raise Refusal(str(error)) from error
    return str(jobs[0].job_id).partition("_")[0]


@contextmanager
def _environment(wanted: Mapping[str, str]) -> Iterator[None]:
    """What sbatch hands on to the jobs."""
    before = dict(os.environ)
    os.environ.update(wanted)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def cancel(jobs: list[str]) -> None:
    """End jobs, all in one call. Raises LaunchError with scancel's own words."""
    try:
        done = subprocess.run(["scancel", *jobs], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LaunchError(f"scancel: {error}") from error
    if done.returncode:
        raise LaunchError(f"SLURM refused: {' '.join(done.stderr.split())[-300:]}")
