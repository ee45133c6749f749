"""Who would do the work: how many workers, with how many threads, on which device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from difgen_cli.engine.cost.device import card, processor
from difgen_cli.engine.launch import threads_each


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


def local_pool(launcher: str, devices: Sequence[str | None]) -> WorkerPool:
    """Workers on these devices of this machine, as `local_devices` gives them."""
    kind, device = ("cpu", processor()) if devices[0] is None else ("cuda", card(devices[0]))
    return WorkerPool(launcher, len(devices), threads_each(devices), kind, device)
