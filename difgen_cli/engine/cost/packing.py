"""How many workers share one device: measured with the plan's own training, by one process, then 2, 4, 8 … at a time.

The count with the best total of images a second is taken: doubling goes on while it gains, while memory has room for
twice as many of the heaviest training, and while there are cores. A probe takes at most BUDGET_SECONDS and is
remembered by device and training; a plan that is done sooner is not worth one. On a CPU the same code packs cores.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from difgen_cli.engine.cost.cache import remembered
from difgen_cli.engine.cost.device import card
from difgen_cli.engine.cost.probe_group import ProbeError, Probes
from difgen_cli.engine.plan.work import Training, Work
from difgen_cli.engine.store import Store

VERSION = 1  # of the way of measuring
BUDGET_SECONDS = 90.0  # for a whole probe, starting the processes included
SLICE_SECONDS = 3.0  # of training side by side, for each count
GAIN = 1.1  # a larger count must give so many times the images a second
MEMORY_SHARE = 0.9  # of what is free: allocators need room, and others live here too
MOST = 16
USED_UP = "there are no more cores or units"


@dataclass(frozen=True)
class ProbeTask:
    """A training as a probe repeats it, on made-up images: plain values, for a process of its own."""

    network: str  # plug-in
    network_settings: dict[str, Any]
    shape: tuple[int, ...]  # (C, H, W) or (D,)
    classes: int
    images: int  # in the training set
    settings: dict[str, Any]  # of `train`
    batch: int


@dataclass(frozen=True)
class Reading:
    """What one process did while the others of its count did the same."""

    images_per_second: float
    processor_share: float  # processor seconds a second: below 1 where it waits for a core or for the device
    memory: tuple[tuple[float, float], ...]  # bytes of its own and bytes left: of the host, and of the device if any


@dataclass(frozen=True)
class Packing:
    """A count of workers for one device, what each count gave in all, and why it went no further."""

    jobs: int
    images_per_second: dict[int, float]
    why: str


def choose(
    measure: Callable[[int], Sequence[Reading]], most: int, images: float, heaviest: Sequence[float] = ()
) -> Packing:
    """Double the count while it pays. `measure(n)` trains n at a time, and raises ProbeError where they cannot.

    `images` is what the plan has to train; `heaviest` the bytes of its heaviest training, as in Reading.memory.
    """
    rates: dict[int, float] = {}
    best = count = 1
    while True:
        try:
            readings = measure(count)
        except ProbeError as error:
            return Packing(best, rates, f"{_workers(count)} could not be tried: {error}")
        rates[count] = sum(r.images_per_second for r in readings)
        if rates[count] < GAIN * rates[best] and count > 1:
            return Packing(
                best, rates, f"{count} give {rates[count] / rates[best]:.2f} times the images a second of {best}"
            )
        best = count
        if images / rates[best] < BUDGET_SECONDS:
            return Packing(best, rates, f"they train all of it in about {images / rates[best]:.0f} s")
        room = min(_room(r.memory, heaviest, len(readings)) for r in readings)
        count = min(2 * count, most, room)
        if count <= best:
            return Packing(best, rates, "memory has room for no more" if room <= best < most else USED_UP)


def _room(memory: Sequence[tuple[float, float]], heaviest: Sequence[float], count: int) -> int:
    """How many processes fit into each kind of memory where `count` are now, if each may train the heaviest."""
    needs = [max([own, *heaviest[k : k + 1], 1.0]) for k, (own, _) in enumerate(memory)]
    return min(
        int(MEMORY_SHARE * (free + count * own) // need) for need, (own, free) in zip(needs, memory, strict=True)
    )


def _workers(count: int) -> str:
    return "one worker" if count == 1 else f"{count} workers"


def tasks(work: Work, store: Store) -> list[tuple[ProbeTask, float]]:
    """The distinct trainings of a plan with the images that each has to show, the most first."""
    amounts: dict[str, tuple[ProbeTask, float]] = {}
    for training in work.trainings:
        task = _task(work, training, store)
        known = amounts.get(repr(task), (task, 0.0))[1]
        amounts[repr(task)] = (task, known + training.cost)
    return sorted(amounts.values(), key=lambda pair: -pair[1])


def _task(work: Work, training: Training, store: Store) -> ProbeTask:
    recipe = work.recipes[training.home]
    subset, network = recipe.inputs["subset"], recipe.inputs["network"]
    images, _, _ = store.pool(subset.inputs["holdout"].inputs["pool"].key)
    shape = images.shape[1:] if images.ndim == 2 else (images.shape[3], images.shape[1], images.shape[2])
    settings = {k: v for k, v in recipe.settings.items() if k not in ("steps", "seed")}
    labels = recipe.inputs["labels"]
    classes = 0 if labels.name == "none" else int(labels.settings.get("clusters", 10))  # how many hardly matters
    size = subset.settings.get("size") or len(images)
    return ProbeTask(
        network.name, network.settings, tuple(map(int, shape)), classes, int(size), settings, training.batch
    )


def probe(planned: Sequence[tuple[ProbeTask, float]], device: str | None, most: int, plugins: Path | None) -> Packing:
    """Measure how many processes of the plan's commonest training one device carries; `device` None: the CPU."""
    (task, _), images = planned[0], sum(amount for _, amount in planned)
    with Probes(device, plugins, BUDGET_SECONDS) as probes:
        try:
            heaviest = probes.heaviest([asdict(t) for t, _ in planned]) if len(planned) > 1 else []
        except ProbeError as error:
            return Packing(1, {}, f"the heaviest training could not be tried: {error}")

        def measure(count: int) -> list[Reading]:
            return [_reading(said) for said in probes.side_by_side(asdict(task), count, SLICE_SECONDS)]

        return choose(measure, most, images, heaviest)


def _reading(said: dict[str, Any]) -> Reading:
    memory = tuple((float(own), float(free)) for own, free in said["memory"])
    return Reading(float(said["images_per_second"]), float(said["processor_share"]), memory)


def jobs_per_device(
    work: Work, store: Store, plugins: Path | None, devices: Sequence[str | None], workers: int | None = None
) -> Packing:
    """How many workers to start on each of some devices of one kind; from the user's cache where it is known."""
    planned = tasks(work, store)
    if not planned:
        return Packing(1, {}, "there is nothing to train")
    cores = len(os.sched_getaffinity(0))
    most = min(MOST, *(-(-n // len(devices)) for n in (cores, len(work), workers or MOST)))
    if most == 1:
        return Packing(1, {}, USED_UP)
    found: list[Packing] = []

    def measure() -> dict[str, float] | None:
        found.append(probe(planned, devices[0], most, plugins))
        settled = len(found[0].images_per_second) > 1  # one worker alone says nothing of a longer plan
        return {"jobs": float(found[0].jobs), "most": float(most)} if settled else None

    named = "cpu" if devices[0] is None else card(devices[0]) or devices[0]
    about = {"device": named, "cores": cores, "version": VERSION,
             "networks": sorted({repr(replace(task, images=0, classes=0)) for task, _ in planned})}  # fmt: skip
    known = remembered("packing", about, {"jobs", "most"}, measure)
    if known and not found and known["jobs"] == known["most"] < most:  # more were never tried
        known = remembered("packing", about, {"jobs", "most"}, measure, again=True)
    if found:
        return found[0]
    return Packing(min(most, int(known["jobs"])) if known else 1, {}, "as measured before")
