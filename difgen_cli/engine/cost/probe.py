"""A process that trains as a plan's worker would, on made-up images, and says how fast, and what memory it takes.

The first line of its input names tasks; of several it takes the one that moves the most bytes a step. When it is warm
it answers with the memory that it uses. Each further line is a number of seconds to train for; it answers with a
reading.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from difgen_cli.diffusion.randomness import initialise
from difgen_cli.diffusion.training import TrainingState, train
from difgen_cli.engine.cost import flops
from difgen_cli.engine.cost.device import peak_memory_bytes
from difgen_cli.engine.cost.machine import moment
from difgen_cli.engine.cost.throughput import WARM_STEPS
from difgen_cli.engine.plugins import Library

STEPS = 1 << 30  # more than a probe comes to
CONTEXT_BYTES = 600 << 20  # of CUDA in each process, beside what torch has reserved


def main() -> None:
    """Read, train and answer until the input ends."""
    request = json.loads(sys.stdin.readline())
    device = "cuda" if request["cuda"] else "cpu"
    torch.set_num_threads(1)
    library = Library(Path(request["plugins"]) if request["plugins"] else None)
    tasks: list[dict[str, Any]] = [
        task | {name: _tuples(task[name]) for name in ("network_settings", "settings")} for task in request["tasks"]
    ]
    task = tasks[0] if len(tasks) == 1 else max(tasks, key=lambda t: step_bytes(t, build(t, library)))
    steps = training(task, build(task, library).to(device), device)
    for _ in range(WARM_STEPS):
        next(steps)
    _answer(memory(device))
    for line in sys.stdin:
        _answer(reading(steps, task["batch"], float(line), device))


def _tuples(settings: dict[str, Any]) -> dict[str, Any]:
    """JSON has lists where settings have tuples."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}


def _answer(content: dict[str, Any]) -> None:
    print(json.dumps(content), flush=True)


def build(task: dict[str, Any], library: Library) -> nn.Module:
    """The network of a task, with initial weights."""
    make = library.module("model", task["network"]).build
    return initialise(lambda: make(tuple(task["shape"]), task["classes"], **task["network_settings"]), 0)


def step_bytes(task: dict[str, Any], network: nn.Module) -> float:
    """What a step moves, with the training set: tasks are compared by it. By weights where it cannot be counted."""
    precision = task["settings"].get("precision", "fp32")
    work = flops.training(network, tuple(task["shape"]), task["batch"], precision)
    moved = work.bytes * task["batch"] if work else 4.0 * sum(p.numel() for p in network.parameters())
    data: float = (4.0 if len(task["shape"]) == 1 else 1.0) * math.prod((task["images"], *task["shape"]))
    return moved + data


def training(task: dict[str, Any], network: nn.Module, device: str) -> Iterator[TrainingState]:
    """An endless training on images of noise, uint8 as a worker has them, or on points."""
    extent = (task["images"], *task["shape"])
    images = torch.randn(extent) if len(extent) == 2 else torch.randint(256, extent, dtype=torch.uint8)
    labels = torch.randint(task["classes"], (task["images"],), device=device) if task["classes"] else None
    settings = task["settings"] | {"batch": task["batch"], "steps": STEPS}
    return train(network, images.to(device), labels, 0.5, **settings)


def reading(steps: Iterator[TrainingState], batch: int, seconds: float, device: str) -> dict[str, Any]:
    """Train for a while; what is queued on a device is waited for before the clock is read."""
    count, start, processor = 0, moment(device), time.process_time()
    while time.perf_counter() - start < seconds:
        next(steps)
        count += 1
    taken = moment(device) - start
    share = (time.process_time() - processor) / taken
    return {"images_per_second": count * batch / taken, "processor_share": share, **memory(device)}


def memory(device: str) -> dict[str, dict[str, float]]:
    """Bytes that this process used at most and bytes left, by kind: of the host, and of the device if it is a GPU."""
    used, free = {"host": float(peak_memory_bytes())}, {"host": available_bytes()}
    if device == "cuda":
        used["device"] = float(torch.cuda.max_memory_reserved() + CONTEXT_BYTES)
        free["device"] = float(torch.cuda.mem_get_info()[0])
    return {"used_bytes": used, "free_bytes": free}


def available_bytes() -> float:
    """What the system can still give without swapping; without a limit where it does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return float(1 << 62)
    return next((1024.0 * float(line.split()[1]) for line in lines if line.startswith("MemAvailable")), float(1 << 62))
