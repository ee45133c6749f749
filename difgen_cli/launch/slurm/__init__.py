"""Workers on SLURM: one throttled array through submitit, with spare tasks for those that the cluster takes away."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from difgen_cli.launch import LaunchError, worker_environment
from difgen_cli.launch.slurm import cluster
from difgen_cli.launch.slurm.cluster import Cluster
from difgen_cli.launch.slurm.profile import Profile
from difgen_cli.launch.submissions import Submission

SPARES = 4  # tasks of the array for each that may run: who is lost to the cluster is replaced by the next


@dataclass(frozen=True)
class Size:
    """An array: how many tasks, how many of them at a time, and what has limited it."""

    tasks: int
    workers: int
    why: str = ""


def available() -> bool:
    """Whether this machine belongs to a SLURM cluster, up or down; programs without a configuration are not one."""
    if shutil.which("sbatch") is None or shutil.which("scontrol") is None:
        return False
    try:
        asked = subprocess.run(["scontrol", "ping"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return True
    return " is UP" in asked.stdout or " is DOWN" in asked.stdout


def size(profile: Profile, workers: int, units: int) -> Size:
    """The array that the cluster allows. Raises LaunchError where it allows none, or does not answer."""
    facts = cluster.ask()
    workers = min(workers, units)
    asked = Size(min(units, SPARES * workers), workers)
    return _within_queue(profile, facts, _within_array(facts, asked))


def _within_array(facts: Cluster, asked: Size) -> Size:
    if facts.max_array is None or asked.tasks <= facts.max_array:
        return asked
    if facts.max_array == 0:
        raise LaunchError(f"SLURM: the cluster {facts.name} has no job arrays (MaxArraySize): ask its administrators")
    why = f"MaxArraySize {facts.max_array}"
    return Size(facts.max_array, min(asked.workers, facts.max_array), why)


def _within_queue(profile: Profile, facts: Cluster, asked: Size) -> Size:
    room = cluster.room(profile.partition, profile.account, profile.qos, facts)
    if room is None or asked.tasks <= room.left:
        return asked
    if room.left == 0:
        raise LaunchError(
            f"SLURM: no more jobs may be submitted ({room.why}, {room.queued} in the queue); wait for some to end, or "
            "name another qos in the profile"
        )
    return Size(room.left, min(asked.workers, room.left), f"{room.why}, {room.queued} in the queue")


def start(submission: Submission, profile: Profile, array: Size, grid: str) -> str:
    """Submit the array; returns its job. A refusal is written down, and LaunchError in sbatch's words."""
    import submitit

    from difgen_cli import worker

    folder = submission.folder
    if any(c in str(folder) for c in "%\n\r\\"):
        raise LaunchError(
            f"{folder}: SLURM cannot write logs to a path with %, \\ or line breaks; choose another --runs"
        )
    device = worker.SCHEDULED if profile.gpus else None
    try:
        with _environment(worker_environment(Path(submission.said["code"]), profile.cpus)):
            executor = submitit.AutoExecutor(folder=folder / "log", cluster="slurm")
            executor.update_parameters(**profile.parameters(submission.job_name, grid, array.workers))
            tasks = range(array.tasks)
            jobs = executor.map_array(worker.main, [str(folder)] * len(tasks), tasks, [device] * len(tasks))
    except (subprocess.CalledProcessError, submitit.core.utils.FailedJobError, RuntimeError) as error:
        words = " ".join(str(error).split())[-300:]
        submission.answer({"refused": words})
        raise LaunchError(f"SLURM refused: {words}") from error
    job = str(jobs[0].job_id).partition("_")[0]
    submission.answer({"job": job, "tasks": array.tasks, "workers": array.workers})
    return job


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
