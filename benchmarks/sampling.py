"""1,000 digits and 200 images of Fashion-MNIST's shape beside a textbook sampler in batches of 64.

    python benchmarks/sampling.py [--threads 1 2] [--cores 2] [--way eager] [--repeats 5] [--json] [--quick]

Ours is `sampling.draw` with heun, as a worker calls it; the peer is algorithm 1 of Karras et al. 2022 as published: a
float64 state, 64 images at a time, the network called under torch.no_grad. Same network, same noise, same levels: the
largest difference of a pixel, as a share of the largest pixel, is in every line. With --cores N everyone has N cores:
difgen N workers of one thread, the peer one process of N threads, as torch has it by itself, and N of one thread.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import textbook
import torch
from measuring import Entry, Results, Spent, in_turn, medians, on_cores, parser, teams_in_turn, times_as_fast
from torch import nn

from difgen_cli import sampling
from difgen_cli.diffusion import Denoiser, DenoiserLike, to_tensor
from difgen_cli.diffusion.randomness import initialise
from difgen_cli.engine.worker import modes
from difgen_cli.models import mlp, unet
from difgen_cli.sampling import heun

SIGMA_DATA, BATCH, JITTER = 0.5, 64, 0.02
LOWEST, HIGHEST, RHO = 0.004, 160.0, 7.0  # heun's defaults, in units of σ_d
COLUMNS = ("case", "threads", "who", "samples_per_second", "wall_seconds", "processor_seconds", "ratio_wall",
           "ratio_processor", "largest_difference")  # fmt: skip


@dataclass(frozen=True)
class Case:
    """What is sampled: how many images of a network, in how many steps."""

    name: str
    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    count: int
    steps: int


CASES = (
    Case("1,000 digits, mlp", lambda: mlp.build((1, 8, 8), 0, width=256), (1, 8, 8), 1000, 24),
    Case(
        "200 of 28×28, unet", lambda: unet.build((1, 28, 28), 0, width=16, depth=1, multipliers=(1, 2, 2)),
        (1, 28, 28), 200, 18,
    ),
)  # fmt: skip


def network_of(case: Case) -> nn.Module:
    """A network whose last layer is not zero, as none is after a step of training."""
    network = initialise(case.build, 0).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    for p in network.parameters():
        p.add_(JITTER * torch.randn(p.shape, generator=generator))
    return network


def ours(case: Case, network: nn.Module, count: int, way: str) -> np.ndarray:
    """(n, H, W, C) as the worker draws them."""
    denoiser: DenoiserLike = Denoiser(network, SIGMA_DATA).eval()
    if way != "eager":
        denoiser = modes.Evaluated(denoiser, way, sampling.block_of(case.shape, "cpu"))
    return sampling.draw(denoiser, heun.sample, case.shape, None, count=count, steps=case.steps).x


def theirs(case: Case, network: nn.Module, count: int) -> torch.Tensor:
    """(n, C, H, W) float64, 64 at a time, from the same starting noise."""
    noise = torch.from_numpy(sampling.starting_points(case.shape, 0, 0, count)[0])
    settings = {"sigma_min": LOWEST * SIGMA_DATA, "sigma_max": HIGHEST * SIGMA_DATA, "rho": RHO}
    return torch.cat([textbook.sample(network, part, SIGMA_DATA, steps=case.steps, **settings)
                      for part in noise.split(BATCH)])  # fmt: skip


def difference(a: torch.Tensor, b: torch.Tensor) -> float:
    """The largest difference of a pixel, as a share of the largest pixel."""
    return float((a.double() - b).abs().max() / b.abs().max())


def contestants(case: Case, given: argparse.Namespace) -> dict[str, Callable[[], Any]]:
    """What each does for its images."""
    network, count = network_of(case), images_of(case, given)
    if given.quick:
        case = replace(case, steps=2)
    return {"difgen": partial(ours, case, network, count, given.way), "textbook": partial(theirs, case, network, count)}


def images_of(case: Case, given: argparse.Namespace) -> int:
    """How many are drawn."""
    return case.count // 50 if given.quick else case.count


def work(place: int, given: argparse.Namespace, who: str) -> Callable[[], object]:
    """What a process of a team does."""
    return contestants(CASES[place], given)[who]


def compare(case: Case, threads: int, given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One line for each contestant, all in this process."""
    torch.set_num_threads(threads)
    runs = contestants(case, given)
    apart = difference(to_tensor(runs["difgen"]()), runs["textbook"]())
    times = in_turn({Entry(who, 1, threads): run for who, run in runs.items()}, given.repeats)
    yield from (line | {"largest_difference": apart} for line in lines(case, times, given))


def compare_on(cores: int, case: Case, given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One line for each contestant, who has so many cores."""
    entries = on_cores(cores, "difgen", ["textbook"])
    yield from lines(case, teams_in_turn(entries, partial(work, CASES.index(case), given), given.repeats), given)


def lines(case: Case, times: dict[Entry, list[Spent]], given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One line for each that took part: the first is ours."""
    first = next(iter(times))
    for entry in times:
        spent, drawn = medians(times[entry]), images_of(case, given) * entry.processes
        scale = first.processes / entry.processes
        versus = {} if entry == first else times_as_fast(times[first], times[entry], scale)
        yield {
            "case": case.name, "threads": f"{entry.processes} × {entry.threads}",
            "who": f"{entry.who} ({given.way})" if entry == first else entry.who, "samples": drawn,
            "samples_per_second": drawn / spent["wall_seconds"], **spent, **versus,
        }  # fmt: skip


def main() -> None:
    options = parser(__doc__, repeats=5)
    options.add_argument("--threads", type=int, nargs="*", default=[1])
    options.add_argument("--only", choices=[c.name for c in CASES], nargs="+", default=[c.name for c in CASES])
    options.add_argument("--cores", type=int, default=1, help="also everyone on so many cores")
    options.add_argument("--way", choices=("eager", "compiled"), default="eager", help="how the denoiser is computed")
    given = options.parse_args()
    if given.quick:
        given.repeats = min(given.repeats, 1)
    cases = [case for case in CASES if case.name in given.only]
    with Results("sampling", given.json, COLUMNS) as results:
        for threads in given.threads:
            for case in cases:
                for row in compare(case, threads, given):
                    results.add(**row)
        for case in cases if given.cores > 1 else ():
            for row in compare_on(given.cores, case, given):
                results.add(**row)


if __name__ == "__main__":
    main()
