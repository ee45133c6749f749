"""Workers on SLURM: one throttled array through submitit. Its profile comes from difgen.toml, never from a grid."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from difgen_cli.launch import LaunchError, worker_environment
from difgen_cli.store.files import replace_json

PROFILE = {  # what a profile may say -> submitit's name for it
    "partition": "slurm_partition", "account": "slurm_account", "qos": "slurm_qos", "constraint": "slurm_constraint",
    "gpus": "slurm_gpus_per_node", "cpus": "cpus_per_task", "memory_gb": "mem_gb", "walltime_minutes": "timeout_min",
    "setup": "slurm_setup",
}  # fmt: skip


def available() -> bool:
    """Whether this machine belongs to a SLURM cluster, up or down; programs without a configuration are not one."""
    if shutil.which("sbatch") is None or shutil.which("scontrol") is None:
        return False
    try:
        asked = subprocess.run(["scontrol", "ping"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return True
    return " is UP" in asked.stdout or " is DOWN" in asked.stdout


def parameters(profile: dict[str, Any], grid: str, workers: int) -> dict[str, Any]:
    """submitit's parameters for a profile; raises LaunchError for a setting that profiles do not have."""
    unknown = sorted(set(profile) - set(PROFILE))
    if unknown:
        raise LaunchError(f"difgen.toml: {unknown[0]}: unknown setting of a profile ({', '.join(PROFILE)})")
    asked = {"timeout_min": 240, "cpus_per_task": 1} | {PROFILE[k]: v for k, v in profile.items()}
    return asked | {
        "name": "difgen",
        "slurm_comment": f"difgen {grid}",
        "slurm_array_parallelism": workers,
        "slurm_signal_delay_s": 120,
        "slurm_srun_args": ["--export=ALL", f"--cpus-per-task={asked['cpus_per_task']}"],
    }


def start(folder: Path, workers: int, threads: int, profile: dict[str, Any], code: Path, grid: str) -> list[str]:
    """Submit an array of workers; returns the job ids. Raises LaunchError with sbatch's own words."""
    import submitit

    from difgen_cli import worker

    os.environ.update(worker_environment(code, threads))
    asked = parameters(profile, grid, workers)
    device = worker.SCHEDULED if profile.get("gpus") else None
    try:
        executor = submitit.AutoExecutor(folder=folder / "log", cluster="slurm")
        executor.update_parameters(**asked)
        jobs = executor.map_array(worker.main, [str(folder)] * workers, range(workers), [device] * workers)
    except (subprocess.CalledProcessError, submitit.core.utils.FailedJobError, RuntimeError, TypeError) as error:
        raise LaunchError(f"SLURM refused: {' '.join(str(error).split())[-300:]}") from error
    ids = [str(job.job_id) for job in jobs]
    replace_json(folder / "jobs.json", {"jobs": ids})
    return ids


def pending(job: str) -> bool:
    """Whether a job, array or not, still waits or runs, asked of squeue."""
    try:
        asked = subprocess.run(
            ["squeue", "--noheader", "--jobs", job, "--format", "%T"],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return True  # the controller is away: the jobs may well be there
    return bool(asked.stdout.strip()) or (asked.returncode != 0 and "Invalid job id" not in asked.stderr)
