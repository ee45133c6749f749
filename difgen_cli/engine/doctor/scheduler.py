"""What SLURM allows here, and what happens to a worker that it preempts."""

from __future__ import annotations

import shutil
import subprocess
from typing import Any

from difgen_cli.engine.doctor import Fact
from difgen_cli.engine.launch import CHECKPOINT_SECONDS, LaunchError, slurm
from difgen_cli.engine.launch.slurm import cluster as asking
from difgen_cli.engine.launch.slurm.cluster import Cluster, Partition

LOST = f"what was trained since the last checkpoint, at most {CHECKPOINT_SECONDS:.0f} s of it"


def facts(profile: dict[str, Any]) -> list[Fact]:
    """What SLURM says; one fact where there is none. `profile`: whose partition is looked for."""
    if not slurm.available():
        if (words := _unreachable()) is not None:
            return [Fact("controller", f"sbatch is installed, but reaches no controller: {words}", "note",
                         "repair its configuration, or use `--cluster local` for workers on this machine")]  # fmt: skip
        return [Fact("none", "there is no SLURM here; `difgen sweep` starts workers on this machine")]
    try:
        cluster = asking.ask()
    except LaunchError as error:
        return [Fact("controller", str(error), "bad", "`sinfo` shows when it is back; workers that run are not harmed")]
    return [
        Fact("cluster", f"{cluster.name}, SLURM {cluster.version}"),
        _arrays(cluster),
        Fact("queue", f"{cluster.max_jobs:,} jobs of all users (MaxJobCount)" if cluster.max_jobs else "unknown"),
        _accounting(cluster),
        *_preemption(cluster),
        _requeue(cluster),
        Fact("ending", f"SIGKILL comes {cluster.kill_wait_seconds} s after SIGTERM (KillWait)"),
        *_partitions(cluster, profile.get("partition")),
    ]  # fmt: skip


def _unreachable() -> str | None:
    """What `scontrol ping` says of a cluster that it does not reach; None where SLURM is not installed."""
    if shutil.which("sbatch") is None or shutil.which("scontrol") is None:
        return None
    asked = subprocess.run(["scontrol", "ping"], capture_output=True, text=True, timeout=30, check=False)
    return " ".join((asked.stderr or asked.stdout).split())[:200] or f"scontrol ping ends with {asked.returncode}"


def _arrays(cluster: Cluster) -> Fact:
    if cluster.max_array == 0:
        return Fact("arrays", "switched off (MaxArraySize)", "note", "each submission gets one worker")
    return Fact("arrays", f"{cluster.max_array:,} tasks at most (MaxArraySize)" if cluster.max_array else "unknown")


def _accounting(cluster: Cluster) -> Fact:
    meaning = "how a job ended is read from its worker's log and from squeue alone"
    if not cluster.accounting:
        return Fact("accounting", "none", "note", meaning)
    try:
        asked = subprocess.run(
            ["sacct", "--noheader", "--allocations", "--format=JobID", "--starttime=now"],
            capture_output=True, text=True, timeout=asking.PATIENCE_SECONDS, check=False,
        )  # fmt: skip
        words = "" if asked.returncode == 0 else (asked.stderr.splitlines() or [f"exit {asked.returncode}"])[0]
    except (OSError, subprocess.TimeoutExpired) as error:
        words = str(error)
    return Fact("accounting", f"sacct fails: {words}", "note", meaning) if words else Fact("accounting", "sacct works")


def _preemption(cluster: Cluster) -> list[Fact]:
    """How workers are preempted, which signal they get, and what is lost."""
    taken = cluster.preempted
    if not taken:
        return [Fact("preemption", "no partition is preempted")]
    named = ", ".join(f"{p.name} ({p.preempt_mode}, {p.grace_seconds} s of grace)" for p in taken)
    return [Fact("preemption", named), _notice(cluster, taken), *_not_requeued(taken)]


def _notice(cluster: Cluster, taken: list[Partition]) -> Fact:
    if cluster.preempt_user_signal:
        return Fact("before it", "USR2 comes first: workers save at the next step and lose nothing")
    shortest = min(p.grace_seconds for p in taken) + cluster.kill_wait_seconds
    return Fact("before it", f"only SIGTERM, {shortest} s or so before the end: a step longer than that loses {LOST}",
                "note", "ask for preempt_send_user_signal in the cluster's SlurmctldParameters")  # fmt: skip


def _not_requeued(taken: list[Partition]) -> list[Fact]:
    cancelled = [p.name for p in taken if "CANCEL" in p.preempt_mode]
    stopped = [p.name for p in taken if "SUSPEND" in p.preempt_mode]
    facts = []
    if cancelled:
        facts.append(Fact("after it", f"jobs in {', '.join(cancelled)} are cancelled, not requeued", "note",
                          "run the same `difgen sweep` again to start new workers"))  # fmt: skip
    if stopped:
        facts.append(Fact("after it", f"jobs in {', '.join(stopped)} are suspended: others take their units over",
                          "note", "a partition that requeues loses less work"))  # fmt: skip
    return facts


def _requeue(cluster: Cluster) -> Fact:
    if not cluster.requeue:
        return Fact("requeue", "jobs are not requeued (JobRequeue=0)", "note",
                    "a worker whose node fails does not return: run the same `difgen sweep` again")  # fmt: skip
    return Fact("requeue", f"a requeued job starts again after {cluster.requeue_wait_seconds} s at the earliest")


def _partitions(cluster: Cluster, wanted: str | None) -> list[Fact]:
    facts = [Fact(f"partition {p.name}", _described(p)) for p in cluster.partitions.values()]
    if wanted and wanted not in cluster.partitions:
        names = ", ".join(cluster.partitions)
        facts.append(Fact("profile", f"it names partition {wanted}, which is not here ({names})", "bad",
                          "correct the partition in difgen.toml"))  # fmt: skip
    elif not wanted and cluster.default is None:
        facts.append(Fact("profile", "no partition is the default", "bad", "name a partition in difgen.toml"))
    return facts


def _described(p: Partition) -> str:
    limit = "no time limit" if p.max_minutes is None else f"{p.max_minutes:,} min at most"
    usual = "" if p.default_minutes is None else f", {p.default_minutes:,} min unless asked"
    gpus = "GPUs unknown" if p.gpus is None else f"{p.gpus} GPUs"
    qos = f", QOS {p.qos}" if p.qos else ""
    return f"{p.nodes} nodes, {gpus}, {limit}{usual}{qos}" + (", the default" if p.is_default else "")
