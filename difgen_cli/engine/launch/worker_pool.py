"""Who would do the work: how many workers, with how many threads, on which device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from difgen_cli.engine import launch
from difgen_cli.engine.cost.device import card, processor

SLURM_WORKERS = 8  # where nobody says how many


@dataclass(frozen=True)
class WorkerPool:
    """Workers that are alike."""

    launcher: str  # inline, local or slurm
    workers: int
    threads: int
    kind: str  # cpu or cuda
    device: str | None  # what rows call it; None on a cluster, whose nodes are not known from here


def resolve_pool(cluster: str, workers: int | None, jobs_per_gpu: int, said: Mapping[str, Any]) -> WorkerPool:
    """The workers that a sweep with these options would get. `said`: the profile, as difgen.toml has it.

    Raises PlaceError for a profile that is wrong.
    """
    if cluster == "auto":
        from difgen_cli.engine.launch import slurm

        cluster = "slurm" if slurm.available() else "local"
    if cluster == "slurm":
        from difgen_cli.engine.launch.slurm import profile

        asked = profile.of(dict(said))
        return WorkerPool("slurm", workers or SLURM_WORKERS, asked.cpus, "cuda" if asked.gpus else "cpu", None)
    slots = launch.local_slots(1, 1) if cluster == "inline" else launch.local_slots(workers, jobs_per_gpu)
    first = slots.devices[0]
    named = (cluster, len(slots.devices), slots.threads)
    return WorkerPool(*named, "cpu", processor()) if first is None else WorkerPool(*named, "cuda", card(first))
