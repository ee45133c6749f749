"""Training on one GPU: share of the roofline in bf16, against a straightforward fp32 loop, and several at a time.

    python benchmarks/card.py [--device cuda] [--way graphed] [--processes 8] [--repeats 5] [--json] [--quick]

U-Nets of width 32, 64 and 128 and EDM's settings (here 56.2 million parameters) on 32×32 images, each in a way of
computing (eager, compiled, graphed) as a worker trains it in bf16, beside the textbook loop in fp32, eager, there too.
Then so many trainings of width 16 at the same time, beside one eager process of it. Contestants take turns, each in a
process of its own. Which way pays a worker finds by a trial; here `--way` names it. On a CPU numbers mean nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import textbook
import torch
from measuring import Entry, Results, Spent, medians, parser, teams_in_turn, times_as_fast
from torch import nn

from difgen_cli.diffusion.randomness import initialise
from difgen_cli.diffusion.training import train
from difgen_cli.engine.cost import flops, machine
from difgen_cli.engine.worker import modes
from difgen_cli.models import unet

STEPS, SLICE, IMAGES, SIGMA_DATA = 1_000_000, 20, 8192, 0.5
COLUMNS = ("case", "who", "processes", "images_per_second", "wall_seconds", "ratio_wall", "roofline", "mfu")


@dataclass(frozen=True)
class Case:
    """A network on images (C, H, W), and the images of a step."""

    name: str
    settings: dict[str, Any]
    batch: int
    shape: tuple[int, ...] = (3, 32, 32)

    def build(self) -> nn.Module:
        return unet.build(self.shape, 0, **self.settings)


SINGLE = [Case(f"unet width {width}", {"width": width, "depth": 2}, 512) for width in (32, 64, 128)]
SINGLE.append(Case("EDM's unet", {"width": 128, "depth": 4, "multipliers": (2, 2, 2), "attention": (16,)}, 256))
SEVERAL = Case("unet width 16", {"width": 16, "depth": 2}, 128)
QUICK = Case("quick", {"width": 4, "depth": 1, "multipliers": (1,)}, 4, (3, 8, 8))


def ours(case: Case, device: str, way: str) -> Iterator[object]:
    """As a worker trains it, in bf16."""
    images = torch.randint(256, (IMAGES, *case.shape), dtype=torch.uint8, device=device)
    computed, network = modes.training_mode(way, case.shape, device), initialise(case.build, 0).to(device)
    return train(network, images, None, SIGMA_DATA, None, computed, steps=STEPS, batch=case.batch, precision="bf16")


def plain(case: Case, device: str) -> Iterator[object]:
    """The textbook loop, in fp32."""
    images, network = torch.rand(IMAGES, *case.shape) * 2 - 1, initialise(case.build, 0).to(device)
    return textbook.train(network, images, SIGMA_DATA, batch=case.batch, lr=1e-3, ema=0.995)


def work(case: Case, device: str, steps: int, who: str) -> Callable[[], object]:
    """Slices of steps; what is queued on the device is waited for."""
    run = plain(case, device) if who == "textbook" else ours(case, device, who)

    def go() -> None:
        for _ in range(steps):
            next(run)
        if device.startswith("cuda"):
            torch.cuda.synchronize()

    return go


def compare(case: Case, entries: list[Entry], given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One line for each that takes part: the first is what the others are compared with."""
    steps = 2 if given.quick else SLICE
    times: dict[Entry, list[Spent]] = teams_in_turn(entries, partial(work, case, given.device, steps), given.repeats)
    first, *_ = entries
    for entry in entries:
        spent = medians(times[entry])
        rate = steps * case.batch * entry.processes / spent["wall_seconds"]
        precision = "fp32" if entry.who == "textbook" else "bf16"
        versus = times_as_fast(times[first], times[entry], first.processes / entry.processes)
        yield {
            "case": case.name, "who": f"{entry.who} {precision}", "processes": entry.processes,
            "images_per_second": rate, **spent, **({} if entry == first else versus),
            **shares(case, precision, rate, given.device),
        }  # fmt: skip


def shares(case: Case, precision: str, rate: float, device: str) -> dict[str, float]:
    """Of the roofline and of the matrix rate of the device, as measured; nothing where it has no memory left."""
    done = flops.training(case.build(), case.shape, case.batch, precision)
    limits = machine.limits(device, precision)
    if done is None or limits is None:
        return {}
    return {"roofline": limits.share(done, rate), "mfu": limits.mfu(done, rate)}


def main() -> None:
    options = parser(__doc__, repeats=5)
    options.add_argument("--device", default="cuda")
    options.add_argument("--way", choices=("eager", *modes.COMPILED), default="graphed", help="how a step is computed")
    options.add_argument("--processes", type=int, default=8, help="trainings of width 16 at the same time")
    given = options.parse_args()
    if given.device.startswith("cuda") and not torch.cuda.is_available():
        options.error("no GPU is at hand: --device cpu --quick shows that this runs")
    with Results("card", given.json, COLUMNS) as results:
        for case in [QUICK] if given.quick else SINGLE:
            for row in compare(case, [Entry(given.way, 1, 1), Entry("textbook", 1, 1)], given):
                results.add(**row)
        several = [Entry(given.way, given.processes, 1), Entry("eager", 1, 1)]
        for row in compare(QUICK if given.quick else SEVERAL, several, given):
            results.add(**row)


if __name__ == "__main__":
    main()
