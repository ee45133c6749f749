"""The pace of one training: images a second between its readings, beside what its machine could do at most."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from difgen_cli.engine.cost import flops, machine
from difgen_cli.engine.cost.cache import remembered
from difgen_cli.engine.cost.flops import NetworkWork
from difgen_cli.engine.cost.machine import Limits

WARM_STEPS = 2  # one to compile and ask for memory, one more to record a graph


@dataclass(frozen=True)
class Speed:
    """Images a second, and their shares of the roofline and of the matrix rate: None where the work is not known."""

    images_per_second: float
    roofline: float | None
    mfu: float | None

    @property
    def facts(self) -> dict[str, float | None]:
        """As progress lines, snapshots and rows hold it."""
        shares = {"roofline": self.roofline, "mfu": self.mfu}
        rounded = {name: None if value is None else float(f"{value:.4g}") for name, value in shares.items()}
        return {"images_per_second": round(self.images_per_second, 1), **rounded}

    @property
    def words(self) -> str:
        """As a log says it."""
        rate = f"{self.images_per_second:,.0f} images/s"
        if self.roofline is None or self.mfu is None:
            return rate
        return f"{rate}, {self.roofline:.0%} of the roofline, MFU {self.mfu:.0%}"


class Pace:
    """Told of every step. The first two, which warm up, count in no rate, unless there are no others."""

    def __init__(
        self, step: int, batch: int, work: Callable[[], NetworkWork | None], limits: Callable[[], Limits | None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        """`step`: that the training goes on after. `work` of an image and `limits` are asked once, as it warms up."""
        self.step, self.batch, self.work, self.limits, self.now = step, batch, work, limits, now
        self.work_and_limits: tuple[NetworkWork, Limits] | None = None
        # Marks: a step, and the moment when it was done.
        self.begun = self.warm = self.last = (step, now())

    def done(self, step: int) -> None:
        """A step is done."""
        self.step = step
        if self.warm is self.begun:
            work, limits = self.work(), self.limits()
            self.work_and_limits = (work, limits) if work and limits else None
        if self.warming:
            self.warm = self.last = (step, self.now())

    @property
    def warming(self) -> bool:
        """Whether the last step was one of those that choose algorithms, compile and ask for memory."""
        return self.step <= self.begun[0] + WARM_STEPS

    def reading(self) -> Speed:
        """The speed since the last reading."""
        since, self.last = self.last, (self.step, self.now())
        return self._since(since)

    def whole(self) -> Speed:
        """The speed since it was warm."""
        return self._since(self.warm)

    def _since(self, mark: tuple[int, float]) -> Speed:
        step, moment = mark if mark[0] < self.step else self.begun
        rate = (self.step - step) * self.batch / max(self.now() - moment, 1e-9)
        if self.work_and_limits is None:
            return Speed(rate, None, None)
        work, limits = self.work_and_limits
        return Speed(rate, limits.share(work, rate), limits.mfu(work, rate))


def of_training(
    network: nn.Module, name: str, shape: tuple[int, ...], batch: int, precision: str, device: str, step: int = 0
) -> Pace:
    """The pace of a training that goes on after `step`; `name` is the network's identity, by which its work is kept."""
    work = partial(_counted, network, name, shape, batch, precision)
    return Pace(step, batch, work, partial(machine.limits, device, precision), partial(machine.moment, device))


def _counted(network: nn.Module, name: str, shape: tuple[int, ...], batch: int, precision: str) -> NetworkWork | None:
    """The work of a training image: counted once for a network, since many trajectories train the same."""
    about = {
        "network": name, "classes": repr(getattr(network, "classes", 0)), "shape": list(shape), "batch": batch,
        "precision": precision, "torch": torch.__version__, "version": flops.VERSION,
    }  # fmt: skip

    def counted() -> dict[str, float] | None:
        work = flops.training(network, shape, batch, precision)
        return None if work is None else vars(work)

    numbers = remembered("work", about, {"flops", "bytes"}, counted)
    return None if numbers is None else NetworkWork(**numbers)
