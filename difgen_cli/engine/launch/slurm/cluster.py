"""Facts asked of the cluster, in as few calls as possible: what it allows, and how it treats the jobs it takes away.

`ask` does the asking; the rest turns what `scontrol` prints into dataclasses.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass

from difgen_cli.engine.launch import LaunchError

PATIENCE_SECONDS = 60.0  # for one answer; a busy controller takes tens of seconds
NOTHING = ("", "(null)", "N/A", "NONE", "None", "n/a")
ENDLESS = ("UNLIMITED", "INFINITE", "NO", "Unlimited")
CRED_EXPIRE_SECONDS = 120  # SLURM's default: a requeued job waits until the credential of its last run has expired
KILL_WAIT_SECONDS = 30  # SLURM's default between SIGTERM and SIGKILL


@dataclass(frozen=True)
class Partition:
    """What a partition allows and how it is preempted. None: no limit, or for `gpus`, not told."""

    name: str
    max_minutes: int | None
    default_minutes: int | None
    grace_seconds: int
    preempt_mode: str
    priority_tier: int
    is_default: bool
    qos: str | None
    nodes: int
    gpus: int | None


@dataclass(frozen=True)
class Cluster:
    """What a cluster says of itself. None: it does not say."""

    name: str
    version: str
    max_array: int | None  # tasks an array may have, so that its largest index is one less; 0: no arrays
    max_jobs: int | None  # in the whole cluster's queue
    accounting: bool
    preempt_type: str  # preempt/none, preempt/partition_prio, preempt/qos
    preempt_mode: str
    preempt_user_signal: bool  # whether the signal a job asked for comes before preemption; else SIGTERM alone
    requeue: bool
    kill_wait_seconds: int
    requeue_wait_seconds: int
    partitions: dict[str, Partition]

    @property
    def max_tasks(self) -> int | None:
        """Tasks that one submission may have: without arrays it is a single job."""
        return None if self.max_array is None else max(1, self.max_array)

    @property
    def default(self) -> Partition | None:
        """The partition of a job that names none."""
        return next((p for p in self.partitions.values() if p.is_default), None)

    @property
    def preempted(self) -> list[Partition]:
        """Partitions whose jobs can be taken away for others; GANG alone only shares time."""
        if self.preempt_type == "preempt/none" or self.preempt_mode == "OFF":
            return []
        modes = [p for p in self.partitions.values() if p.preempt_mode not in ("OFF", "GANG", "DISABLED")]
        highest = max((p.priority_tier for p in self.partitions.values()), default=0)
        return [p for p in modes if self.preempt_type != "preempt/partition_prio" or p.priority_tier < highest]


# -- asking


def ask() -> Cluster:
    """The facts, in two calls of `scontrol`. Raises LaunchError where the controller does not answer."""
    return cluster(answer("scontrol", "show", "config"), answer("scontrol", "show", "partition", "-o"))


def answer(*command: str) -> str:
    """What a command prints. Raises LaunchError with its own words."""
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("SQUEUE_", "SACCT_", "SCONTROL_"))}
    try:
        asked = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=PATIENCE_SECONDS, check=False, env=plain
        )
    except FileNotFoundError:
        raise LaunchError(f"{command[0]}: no such program here; SLURM is used from a machine of the cluster") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LaunchError(f"{' '.join(command[:3])}: no answer: {error}") from error
    if asked.returncode:
        words = " ".join((asked.stderr or asked.stdout).split())[-300:]
        raise LaunchError(f"SLURM does not answer: {' '.join(command[:3])}: {words or f'exit {asked.returncode}'}")
    return asked.stdout


# -- what scontrol prints


def cluster(config: str, parts: str) -> Cluster:
    """From `scontrol show config` and `scontrol show partition -o`."""
    values = settings(config)
    counted = words(values.get("AccountingStorageTRES"))
    array = number(values.get("MaxArraySize"))
    before = words(values.get("SlurmctldParameters")) | words(values.get("PreemptParameters"))  # in newer versions
    storage = values.get("AccountingStorageType", "")
    return Cluster(
        name=values.get("ClusterName", ""),
        version=values.get("SLURM_VERSION", ""),
        max_array=_most_tasks(array, words(values.get("SchedulerParameters"))),
        max_jobs=number(values.get("MaxJobCount")),
        accounting=storage not in NOTHING and not storage.endswith("/none"),
        preempt_type=values.get("PreemptType", "preempt/none"),
        preempt_mode=values.get("PreemptMode", "OFF"),
        preempt_user_signal=bool(before & {"preempt_send_user_signal", "send_user_signal"}),
        requeue=values.get("JobRequeue", "1") != "0",
        kill_wait_seconds=_or(seconds(values.get("KillWait")), KILL_WAIT_SECONDS),
        requeue_wait_seconds=_or(seconds(_option(values.get("AuthInfo"), "cred_expire")), CRED_EXPIRE_SECONDS),
        partitions={p.name: p for p in partitions(parts, "gres/gpu" in counted)},
    )


def partitions(text: str, gpus_counted: bool) -> list[Partition]:
    """From `scontrol show partition -o`: one line each."""
    result = []
    for line in text.splitlines():
        values = dict(word.partition("=")[::2] for word in line.split())
        if "PartitionName" not in values:
            continue
        resources = dict(r.partition("=")[::2] for r in values.get("TRES", "").split(","))
        gpus = number(resources.get("gres/gpu"))
        result.append(
            Partition(
                name=values["PartitionName"],
                max_minutes=_minutes(values.get("MaxTime")),
                default_minutes=_minutes(values.get("DefaultTime")),
                grace_seconds=seconds(values.get("GraceTime")) or 0,
                preempt_mode=values.get("PreemptMode", "OFF"),
                priority_tier=number(values.get("PriorityTier")) or 1,
                is_default=values.get("Default") == "YES",
                qos=_name(values.get("QoS")),
                nodes=number(values.get("TotalNodes")) or 0,
                gpus=0 if gpus is None and gpus_counted else gpus,
            )
        )
    return result


def settings(config: str) -> dict[str, str]:
    """`Name = value` lines as a map."""
    pairs = (line.partition("=") for line in config.splitlines())
    return {name.strip(): value.strip() for name, equals, value in pairs if equals}


def words(text: str | None) -> set[str]:
    """A comma-separated value in lower case; nothing for what SLURM prints where there is none."""
    return set() if text is None or text in NOTHING else {w.strip().lower() for w in text.split(",")}


def number(text: str | None) -> int | None:
    """A whole number; None where SLURM has none or no limit."""
    stripped = (text or "").strip()
    return int(stripped) if stripped.isdigit() else None


def seconds(text: str | None) -> int | None:
    """`20`, `5 sec`, `2 min`, `00:05:00` and `7-00:00:00` in seconds; None for no limit or no value."""
    stripped = (text or "").strip()
    if stripped in NOTHING or stripped in ENDLESS:
        return None
    amount, _, unit = stripped.partition(" ")
    if amount.isdigit():
        return int(amount) * {"": 1, "s": 1, "m": 60, "h": 3600}.get(unit[:1], 1)
    days, dash, clock = stripped.rpartition("-")
    fields = clock.split(":")
    if not all(f.isdigit() for f in (days or "0", *fields)):
        return None
    full = [*fields, "0", "0"][:3] if dash else ["0", "0", *fields][-3:]  # days count hours first, else seconds last
    hours, minutes, rest = map(int, full)
    return int(days or 0) * 86400 + hours * 3600 + minutes * 60 + rest


def _minutes(text: str | None) -> int | None:
    total = seconds(text)
    return None if total is None else total // 60


def _option(text: str | None, name: str) -> str | None:
    """The value of `name=value` among options separated by commas."""
    return dict(o.strip().partition("=")[::2] for o in (text or "").split(",")).get(name)


def _name(text: str | None) -> str | None:
    return None if text is None or text.strip() in NOTHING else text.strip()


def _most_tasks(array: int | None, scheduler: set[str]) -> int | None:
    """MaxArraySize is one more than the largest index; 0 turns arrays off, and so, for us, does 1."""
    if array is not None and array <= 1:
        return 0
    lower = number(_option(",".join(scheduler), "max_array_tasks"))
    return min((n for n in (array, lower) if n is not None), default=None)


def _or(value: int | None, default: int) -> int:
    return default if value is None else value
