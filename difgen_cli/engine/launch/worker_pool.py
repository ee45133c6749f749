"""Who would do the work: how many workers, with how many threads, on which device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from difgen_cli.engine import launch
from difgen_cli.engine.cost.device import card, processor


@dataclass(frozen=True)
class WorkerPool:
    """Workers that are alike."""

    launcher: str  # its name in launcher.LAUNCHERS
    workers: int
    threads: int
    kind: str  # cpu or cuda
    device: str | None  # what rows call it; None on a cluster, whose nodes are not known from here


def resolve_pool(cluster: str, workers: int | None, jobs_per_gpu: int, profile: Mapping[str, Any]) -> WorkerPool:
    """The workers that a sweep with these options would get. `profile`: as difgen.toml has it.

    Raises PlaceError for a profile that is wrong, LaunchError for a launcher that there is not.
    """
    from difgen_cli.engine.launch.launcher import choose

    return choose(cluster)[1].pool(workers, jobs_per_gpu, profile)


def local_pool(launcher: str, slots: launch.Slots) -> WorkerPool:
    """The workers of this machine's slots."""
    first = slots.devices[0]
    named = (launcher, len(slots.devices), slots.threads)
    return WorkerPool(*named, "cpu", processor()) if first is None else WorkerPool(*named, "cuda", card(first))
