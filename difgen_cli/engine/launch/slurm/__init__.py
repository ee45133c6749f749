"""Workers on SLURM: one throttled array through submitit, with spare tasks for those that the cluster takes away."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path

from difgen_cli.engine.launch import LaunchError, worker_environment
from difgen_cli.engine.launch.slurm import cluster
from difgen_cli.engine.launch.slurm.cluster import Cluster
from difgen_cli.engine.launch.slurm.profile import Profile
from difgen_cli.engine.launch.submissions import Submission

SPARES = 4  # tasks of the array for each that may run: who is lost to the cluster is replaced by the next


@dataclass(frozen=True)
class TaskArray:
    """What is asked for: how many tasks, how many of them at a time, with which profile, and what has limited it."""

    profile: Profile
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


def check(folder: Path) -> None:
    """Raise LaunchError for a folder whose name SLURM would take apart."""
    if any(c in str(folder) for c in "%\n\r\\"):
        raise LaunchError(f"{folder}: SLURM writes no logs to a path with %, \\ or line breaks; choose another --runs")


def array(profile: Profile, workers: int, units: int) -> TaskArray:
    """The array that the cluster allows. Raises LaunchError where it allows none, or does not answer."""
    facts = cluster.ask()
    place = facts.partitions.get(profile.partition or "") or facts.default
    if place is not None:
        profile = profile.within(place.max_minutes, place.name)
    workers = min(workers, units)
    asked = TaskArray(profile, min(units, SPARES * workers), workers)
    return _within_queue(facts, _within_array(facts, asked))


def _within_array(facts: Cluster, asked: TaskArray) -> TaskArray:
    if facts.max_array is None or asked.tasks <= facts.max_array:
        return asked
    if facts.max_array == 0:
        raise LaunchError(f"SLURM: the cluster {facts.name} has no job arrays (MaxArraySize): ask its administrators")
    return _cut(asked, facts.max_array, f"MaxArraySize {facts.max_array}")


def _within_queue(facts: Cluster, asked: TaskArray) -> TaskArray:
    profile = asked.profile
    room = cluster.room(profile.partition, profile.account, profile.qos, facts)
    if room is None or asked.tasks <= room.left:
        return asked
    said = f"{room.why}, {room.queued} in the queue"
    if room.left == 0:
        raise LaunchError(
            f"SLURM: no more jobs may be submitted ({said}); wait for some to end, or name another qos in the profile"
        )
    return _cut(asked, room.left, said)


def _cut(asked: TaskArray, most: int, why: str) -> TaskArray:
    return replace(asked, tasks=most, workers=min(asked.workers, most), why=why)


def start(submission: Submission, wanted: TaskArray, grid: str) -> str:
    """Submit the array; returns its job. A refusal is written down, and LaunchError in sbatch's words."""
    import submitit

    from difgen_cli.engine import worker
    from difgen_cli.engine.launch import task

    folder, profile = submission.folder, wanted.profile
    device = worker.SCHEDULED if profile.gpus else None
    try:
        # submitit repeats on stderr what sbatch says, which is in the error too
        with _environment(worker_environment(Path(submission.said["code"]), profile.cpus)), redirect_stderr(StringIO()):
            executor = submitit.AutoExecutor(folder / "log", "slurm", slurm_python=task.command(device))
            executor.update_parameters(**profile.parameters(submission.job_name, grid, wanted.workers))
            tasks = range(wanted.tasks)
            jobs = executor.map_array(worker.main, [str(folder)] * len(tasks), tasks, [device] * len(tasks))
    except (subprocess.CalledProcessError, submitit.core.utils.FailedJobError, RuntimeError) as error:
        words = " ".join(str(error).split())[-300:]
        submission.answer({"refused": words})
        raise LaunchError(f"SLURM refused: {words}") from error
    job = str(jobs[0].job_id).partition("_")[0]
    submission.answer({"job": job, "tasks": wanted.tasks, "workers": wanted.workers})
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
