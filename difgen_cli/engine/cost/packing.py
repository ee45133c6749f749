"""How many workers share one device: measured with the plan's own training, by one process, then 2, 4, 8 … at a time.

The count with the best total of images a second is taken: doubling goes on while it gains, while memory has room for
twice as many of the heaviest training, and while there are cores. All of it takes at most BUDGET_SECONDS and is
remembered by device and training; a plan that is done sooner is not measured. On a CPU the same code packs cores.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any, cast

import torch
from torch import nn

from difgen_cli.engine.cost import bench, flops
from difgen_cli.engine.cost.bench import Subject
from difgen_cli.engine.cost.cache import remembered
from difgen_cli.engine.cost.device import card, peak_memory_bytes
from difgen_cli.engine.cost.networks import pool_of
from difgen_cli.engine.plan.work import Work, tuples
from difgen_cli.engine.plugins import Library
from difgen_cli.engine.store import Store

VERSION = 2  # of the way of measuring
BUDGET_SECONDS = 90.0  # for all of it, starting the processes included
SLICE_SECONDS = 3.0  # of training side by side, for each count
GAIN = 1.1  # a larger count must give so many times the images a second
MEMORY_SHARE = 0.9  # of what is free: allocators need room, and others use it too
CONTEXT_BYTES = 600 << 20  # of CUDA in each process, in addition to what torch has reserved
MOST = 16
USED_UP = "there are no more cores or units"
Bytes = Mapping[str, float]  # by kind of memory: host, and device if there is one


class ProbeError(RuntimeError):
    """A probe could not go on, or its time is up; one clause."""


@dataclass(frozen=True)
class Reading:
    """What one process did while the others of its count did the same."""

    images_per_second: float
    processor_share: float  # processor seconds a second: below 1 where it waits for a core or for the device
    used_bytes: Bytes  # by this process, at most
    free_bytes: Bytes


@dataclass(frozen=True)
class Packing:
    """A count of workers for one device, what each count gave in all, and why it went no further."""

    jobs: int
    images_per_second: dict[int, float]
    why: str


def jobs_per_device(
    work: Work, store: Store, plugins: Path | None, devices: Sequence[str | None], workers: int | None = None
) -> Packing:
    """How many workers to start on each of some devices of one kind; from the user's cache where it is known.

    devices: GPUs by number or identifier, or None for the CPU. workers: the most that are wanted on all of them.
    """
    amounts = trainings(work, store)
    if not amounts:
        return Packing(1, {}, "there is nothing to train")
    cores = len(os.sched_getaffinity(0))
    most = min(MOST, *(-(-n // len(devices)) for n in (cores, len(work), workers or MOST)))
    if most == 1:
        return Packing(1, {}, USED_UP)
    measured: list[Packing] = []

    def measure() -> dict[str, float] | None:
        measured.append(probe(amounts, devices[0], most, plugins))
        settled = len(measured[0].images_per_second) > 1  # one worker alone says nothing of a longer plan
        return {"jobs": float(measured[0].jobs)} if settled else None

    name = "cpu" if devices[0] is None else card(devices[0]) or devices[0]
    about = {"device": name, "cores": cores, "most": most, "version": VERSION,
             "networks": sorted({repr(replace(subject, images=0, classes=0)) for subject, _ in amounts})}  # fmt: skip
    kept = remembered("packing", about, {"jobs"}, measure)
    return measured[0] if measured else Packing(int(kept["jobs"]) if kept else 1, {}, "as measured before")


def trainings(work: Work, store: Store) -> list[tuple[Subject, float]]:
    """The distinct trainings of a plan with the images that each has to show, the most first."""
    amounts: dict[str, tuple[Subject, float]] = {}
    for training in work.trainings:
        recipe = work.recipes[training.run_key]
        images, _, _ = store.pool(pool_of(recipe))
        shape = tuple(map(int, (images.shape[-1], *images.shape[1:-1])))
        subject = replace(
            bench.of_recipe(recipe, shape, training.batch),
            images=int(recipe.inputs["subset"].settings.get("size") or len(images)),
            training={name: value for name, value in recipe.settings.items() if name not in ("steps", "seed")},
        )
        _, before = amounts.get(repr(subject), (subject, 0.0))
        amounts[repr(subject)] = (subject, before + training.cost)
    return sorted(amounts.values(), key=lambda pair: -pair[1])


def probe(amounts: Sequence[tuple[Subject, float]], device: str | None, most: int, plugins: Path | None) -> Packing:
    """Measure how many processes of the plan's commonest training one device carries; `device` None: the CPU."""
    commonest, images = amounts[0][0], sum(amount for _, amount in amounts)
    with Probes(device, plugins, BUDGET_SECONDS) as probes:
        try:
            heaviest = probes.heaviest([subject for subject, _ in amounts]) if len(amounts) > 1 else {}
        except ProbeError as error:
            return Packing(1, {}, f"the heaviest training could not be tried: {error}")
        return choose(lambda count: probes.side_by_side(commonest, count, SLICE_SECONDS), most, images, heaviest)


def choose(
    measure: Callable[[int], Sequence[Reading]], most: int, images: float, heaviest: Bytes | None = None
) -> Packing:
    """Double the count while it pays. `measure(n)` trains n at a time, and raises ProbeError where they cannot.

    `images` is what the plan has to train; `heaviest` what its heaviest training takes.
    """
    rates: dict[int, float] = {}
    best = count = 1
    while True:
        try:
            readings = measure(count)
        except ProbeError as error:
            workers = "one worker" if count == 1 else f"{count} workers"
            return Packing(best, rates, f"{workers} could not be tried: {error}")
        rates[count] = sum(r.images_per_second for r in readings)
        if rates[count] < GAIN * rates[best] and count > 1:
            gain = rates[count] / rates[best]
            return Packing(best, rates, f"{count} give {gain:.2f} times the images a second of {best}")
        best = count
        if images / rates[best] < BUDGET_SECONDS:
            return Packing(best, rates, f"they train all of it in about {images / rates[best]:.0f} s")
        room = min(_room(reading, heaviest or {}, count) for reading in readings)
        count = min(2 * count, most, room)
        if count <= best:
            return Packing(best, rates, "memory has room for no more" if room <= best < most else USED_UP)


def _room(reading: Reading, heaviest: Bytes, count: int) -> int:
    """How many processes fit into each kind of memory where `count` are now, if each may train the heaviest."""
    needs = {kind: max(used, heaviest.get(kind, 0.0), 1.0) for kind, used in reading.used_bytes.items()}
    return min(
        int(MEMORY_SHARE * (free + count * reading.used_bytes[kind]) // needs[kind])
        for kind, free in reading.free_bytes.items()
    )


class Probes:
    """Processes on one device, which train side by side.

    They stay while more join them, so that each is started once; all end with this, and each at the deadline by itself.
    """

    def __init__(self, device: str | None, plugins: Path | None, budget_seconds: float) -> None:
        self.cuda, self.plugins = device is not None, str(plugins) if plugins else None
        self.environment = {**os.environ, "CUDA_VISIBLE_DEVICES": device or "", "OMP_NUM_THREADS": "1"}
        self.ends_at = time.monotonic() + budget_seconds
        self.members: list[subprocess.Popen[str]] = []  # that train side by side
        self.everyone: list[subprocess.Popen[str]] = []
        self.errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115

    def __enter__(self) -> Probes:
        return self

    def __exit__(self, *error: object) -> None:
        for process in self.everyone:
            process.kill()
        for process in self.everyone:
            with suppress(OSError):  # what was written to it may not have been read
                process.__exit__(None, None, None)
        self.errors.close()

    def heaviest(self, subjects: Sequence[Subject]) -> Bytes:
        """What a process of the training takes that moves the most bytes."""
        process = self._start(subjects)
        used: Bytes = self._receive(process)["used_bytes"]
        process.kill()
        return used

    def side_by_side(self, subject: Subject, count: int, seconds: float) -> list[Reading]:
        """What each of `count` processes reads of `seconds` of training at once."""
        fresh = [self._start([subject]) for _ in range(count - len(self.members))]
        for process in fresh:
            self._receive(process)  # it is warm
        self.members += fresh
        if time.monotonic() + seconds > self.ends_at:
            raise ProbeError("the time for probing is up")
        for process in self.members:
            self._send(process, seconds)
        return [Reading(**self._receive(process)) for process in self.members]

    def _start(self, subjects: Sequence[Subject]) -> subprocess.Popen[str]:
        seconds = max(self.ends_at - time.monotonic(), 0.001)
        # The timer comes before the import of torch, which may take the longest.
        code = f"import signal; signal.setitimer(signal.ITIMER_REAL, {seconds})\n"
        code += "from difgen_cli.engine.cost import packing; packing.answer()"
        try:
            process = subprocess.Popen(
                [sys.executable, "-c", code], env=self.environment,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True,
                start_new_session=True,  # Ctrl-C is for the command, which ends them
            )  # fmt: skip
        except OSError as error:
            raise ProbeError(f"it could not be started ({error})") from None
        self.everyone.append(process)
        self._send(process, ([asdict(s) for s in subjects], self.plugins, "cuda" if self.cuda else "cpu"))
        return process

    def _send(self, process: subprocess.Popen[str], content: object) -> None:
        pipe = cast("IO[str]", process.stdin)
        with suppress(OSError):  # of one that has ended: the next answer is missing
            pipe.write(json.dumps(content) + "\n")
            pipe.flush()

    def _receive(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        if line := cast("IO[str]", process.stdout).readline():
            content: dict[str, Any] = json.loads(line)
            return content
        if time.monotonic() >= self.ends_at:
            raise ProbeError("the time for probing is up")
        self.errors.seek(0)
        lines = [line.strip() for line in self.errors if line.strip()]
        raise ProbeError(lines[-1][:300] if lines else "its process ended without a word")


def answer() -> None:
    """The process of a probe, until its input ends: trains as a plan's worker would, on made-up images.

    The first line names trainings, of which it takes the one that moves the most bytes a step; it answers with its
    memory when it is warm. Each further line is a number of seconds to train for; it answers with a Reading.
    """
    contents, plugins, device = json.loads(sys.stdin.readline())
    torch.set_num_threads(1)
    library = Library(Path(plugins) if plugins else None)
    nested = ("settings", "training")
    subjects = [Subject(**tuples(c | {name: tuples(c[name]) for name in nested})) for c in contents]
    built = ((subject, bench.build(subject, library)) for subject in subjects)
    subject, network = max(built, key=lambda pair: step_bytes(*pair)) if len(subjects) > 1 else next(built)
    steps = bench.warm(network.to(device), subject, device)
    print(json.dumps(memory_bytes(device)), flush=True)
    for line in sys.stdin:
        start, processor = time.perf_counter(), time.process_time()
        rate = bench.per_second(steps, subject.batch, device, float(line))
        share = (time.process_time() - processor) / (time.perf_counter() - start)
        reading = {"images_per_second": rate, "processor_share": share, **memory_bytes(device)}
        print(json.dumps(reading), flush=True)


def step_bytes(subject: Subject, network: nn.Module) -> float:
    """What a step moves, and its training set: trainings are compared by it. By weights where it cannot be counted."""
    work = flops.training(network, subject.shape, subject.batch, subject.precision)
    moved = work.bytes * subject.batch if work else 4.0 * sum(p.numel() for p in network.parameters())
    return moved + (4.0 if len(subject.shape) == 1 else 1.0) * subject.images * math.prod(subject.shape)


def memory_bytes(device: str) -> dict[str, Bytes]:
    """What this process used at most, and what is left, by kind: of the host, and of the device if it is a GPU."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        lines = []
    available = (1024.0 * float(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    used = {"host": float(peak_memory_bytes())}
    free = {"host": next(available, float(1 << 62))}  # no limit where the system does not say
    if device == "cuda":
        used["device"] = float(torch.cuda.max_memory_reserved() + CONTEXT_BYTES)
        free["device"] = float(torch.cuda.mem_get_info()[0])
    return {"used_bytes": used, "free_bytes": free}
