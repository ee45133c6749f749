"""What this device does at most: matrix products a second and bytes a second, measured once a machine.

Peaks of data sheets are not reached by any program; these are, by the same library that trains. The roofline (Williams,
Waterman and Patterson 2009): no image is faster than its arithmetic or its memory traffic allows.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Literal

import torch
from torch import Tensor

from difgen_cli.diffusion.precision import products
from difgen_cli.engine.cost.cache import remembered
from difgen_cli.engine.cost.device import processor
from difgen_cli.engine.cost.flops import NetworkWork

VERSION = 1  # of the way of measuring
TYPES = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16}
SIZES = {"cpu": (256, 512, 1024), "cuda": (4096, 8192)}  # of square matrices: the best counts
ARRAY_BYTES = {"cpu": 64 << 20, "cuda": 1 << 30}  # more than the caches hold
BUDGET_SECONDS, REPEATS = 0.1, 3  # a measurement: at least so many repeats, then until the time is spent


@dataclass(frozen=True)
class Limits:
    """What a device does at most, as measured: matrix products, and moving numbers to and from memory."""

    flops_per_second: float
    bytes_per_second: float

    def seconds(self, work: NetworkWork) -> float:
        """The shortest time that an image takes: its arithmetic or its traffic, which overlap at best."""
        return max(work.flops / self.flops_per_second, work.bytes / self.bytes_per_second)

    def bound(self, work: NetworkWork) -> Literal["compute", "memory"]:
        """Which of the two it is."""
        return "compute" if self.seconds(work) == work.flops / self.flops_per_second else "memory"

    def share(self, work: NetworkWork, images_per_second: float) -> float:
        """A measured speed as a share of the roofline's: 1 is the limit of operations done one at a time."""
        return self.seconds(work) * images_per_second

    def mfu(self, work: NetworkWork, images_per_second: float) -> float:
        """Model FLOPs utilisation (Chowdhery et al. 2022): the share of the matrix rate that does useful work."""
        return work.flops * images_per_second / self.flops_per_second


def limits(device: str | torch.device, precision: str = "fp32") -> Limits | None:
    """The limits of a device with the threads in use: under a second the first time, then from the user's cache.

    None where they cannot be measured, as on a card whose memory is full.
    """
    return _limits(str(device), precision, torch.get_num_threads())


@cache
def _limits(device: str, precision: str, threads: int) -> Limits | None:
    return best(device, precision, again=False)


def best(device: str, precision: str, *, again: bool = True) -> Limits | None:
    """The best limits ever measured here; `again` measures now too: a machine that was busy then may be quiet."""
    about = here(device) | {"precision": precision, "version": VERSION}

    def measure() -> dict[str, float] | None:
        try:
            return vars(measured(device, precision))
        except (RuntimeError, KeyError):  # no memory, no such numbers, no such device
            return None

    numbers = remembered("machine", about, {"flops_per_second", "bytes_per_second"}, measure, again=again)
    return Limits(**numbers) if numbers else None


def measured(device: str, precision: str) -> Limits:
    """The limits, measured now; RuntimeError where the device has no memory left."""
    kind, dtype = torch.device(device).type, TYPES[precision]
    with products(precision):  # else what fp32 allows would be set beside what TF32 reaches
        flops = max(_matrix_rate(n, device, dtype) for n in SIZES[kind])
    limits = Limits(flops, _bandwidth(ARRAY_BYTES[kind], device))
    if kind == "cuda":  # what this took is no part of what a training takes
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    return limits


def _matrix_rate(size: int, device: str, dtype: torch.dtype) -> float:
    """Operations a second of a product of two square matrices."""
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    product = torch.empty_like(a)
    return 2 * size**3 / _best_seconds(partial(torch.mm, a, b, out=product), device)


def _bandwidth(size_bytes: int, device: str) -> float:
    """Bytes a second, read and written, of an array that is scaled in place."""
    array = torch.ones(size_bytes // 4, device=device)
    return 2 * size_bytes / _best_seconds(partial(array.mul_, 1.0), device)


def _best_seconds(run: Callable[[], Tensor], device: str) -> float:
    """The shortest of several repeats: what disturbs them only ever makes them longer."""
    run()
    shortest, repeats = float("inf"), 0
    start = began = moment(device)
    while repeats < REPEATS or began - start < BUDGET_SECONDS:
        run()
        ended = moment(device)
        shortest, began, repeats = min(shortest, ended - began), ended, repeats + 1
    return shortest


def moment(device: str) -> float:
    """Seconds of a clock that only goes on, when the device has done all that it was given."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    return time.perf_counter()


def here(device: str) -> dict[str, Any]:
    """Where this process computes, and with what."""
    return {"torch": torch.__version__, "device": device_name(device), "threads": torch.get_num_threads()}


def device_name(device: str) -> str:
    """The card's name, or the processor's."""
    return torch.cuda.get_device_name(torch.device(device)) if device.startswith("cuda") else processor()
