"""Training images per second beside a textbook loop around the same network, and beside diffusers' example.

    python benchmarks/training.py [--threads 1 2] [--cores 2] [--way eager] [--repeats 7] [--json] [--quick]

The digits MLP of grids/size.yaml (width 256, batches of 128) and the small U-Net of grids/fashion.yaml (28×28, batches
of 64), each as a worker calls `train`. Contestants take turns by slices of steps of one long run each; medians over the
slices, ratios over neighbouring ones. diffusers is optional (`pip install -e '.[bench]'`): its UNet2DModel has about
the same operations an image, and its ratio is by operations, so that its size says nothing. The share of the matrix
rate is that of a float32 product of 1,536 × 1,536 measured in turn with them. With --cores N everyone has N cores:
difgen N workers of one thread, the others one process of N threads, as torch has it by itself, and N of one thread.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
import textbook
import torch
from measuring import (
    Entry,
    Results,
    Spent,
    flops,
    in_turn,
    matrix_product,
    medians,
    on_cores,
    parser,
    teams_in_turn,
    times_as_fast,
)
from torch import Tensor, nn

from difgen_cli.data import digits, scaled, to_uint8
from difgen_cli.diffusion import to_tensor
from difgen_cli.diffusion.randomness import initialise
from difgen_cli.diffusion.training import train
from difgen_cli.engine.cost.flops import training as counted_work
from difgen_cli.engine.worker import modes
from difgen_cli.models import mlp, unet

STEPS = 1_000_000  # more than any slice comes to
COLUMNS = ("case", "threads", "who", "images_per_second", "wall_seconds", "processor_seconds", "ratio_wall",
           "ratio_processor", "mflops_per_image", "share_of_matrix_rate")  # fmt: skip


@dataclass(frozen=True)
class Case:
    """What is trained: a network on images, and how many steps a slice has."""

    name: str
    build: Callable[[], nn.Module]
    images: Callable[[], Tensor]
    batch: int
    lr: float
    slice_steps: int


@cache
def digit_images() -> Tensor:
    """768 digits, (768, 1, 8, 8) in [−1, 1]."""
    return to_tensor(scaled(digits.load().images[:768]))


@cache
def clothes_sized_images() -> Tensor:
    """Noise in the shape of 8,192 images of Fashion-MNIST: what the pixels are costs no time."""
    return torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (8192, 1, 28, 28)).astype(np.float32))


CASES = (
    Case("digits mlp", lambda: mlp.build((1, 8, 8), 0, width=256), digit_images, 128, 2e-3, 150),
    Case(
        "small unet", lambda: unet.build((1, 28, 28), 0, width=16, depth=1, multipliers=(1, 2, 2)),
        clothes_sized_images, 64, 1e-3, 8,
    ),
)  # fmt: skip


def steps_of(run: Iterator[object], count: int) -> Callable[[], None]:
    """`count` further steps of a run."""

    def go() -> None:
        for _ in range(count):
            next(run)

    return go


def ours(case: Case, way: str) -> Iterator[object]:
    """The project's own training, as a worker calls it: images as the uint8 that they are, in a way of computing."""
    images = case.images()
    pixels = torch.from_numpy(to_uint8(images.numpy()))
    computed = modes.training_mode(way, tuple(images.shape[1:]), "cpu")
    network, sigma_data = initialise(case.build, 0), float(images.std())
    return train(network, pixels, None, sigma_data, None, computed, steps=STEPS, batch=case.batch, lr=case.lr)


def plain(case: Case) -> Iterator[object]:
    """The textbook loop around the same network."""
    network, images = initialise(case.build, 0), case.images()
    return textbook.train(network, images, float(images.std()), batch=case.batch, lr=case.lr, ema=0.995)


def example(case: Case) -> Iterator[object]:
    """diffusers' example around its own network."""
    images = case.images()
    return textbook.train_diffusers(textbook.diffusers_unet(images.shape[-1]), images, batch=case.batch, steps=STEPS)


def contestants(case: Case, way: str) -> dict[str, Callable[[Case], Iterator[object]]]:
    """Us, the textbook, and diffusers where it has a network of the kind and can be imported."""
    found: dict[str, Callable[[Case], Iterator[object]]] = {"difgen": partial(ours, way=way), "textbook": plain}
    return found | ({"diffusers": example} if has_diffusers(case) else {})


def work(place: int, way: str, steps: int, who: str) -> Callable[[], object]:
    """What a process of a team does: slices of a contestant's run of a case, or the matrix product."""
    case = CASES[place]
    return matrix_product()[0] if who == "matrix" else steps_of(contestants(case, way)[who](case), steps)


def has_diffusers(case: Case) -> bool:
    return "unet" in case.name and importlib.util.find_spec("diffusers") is not None


def operations(case: Case) -> dict[str, float]:
    """Operations of a training image, forward and backward, of the network of each contestant."""
    x = case.images()[:4]
    work = counted_work(case.build(), tuple(x.shape[1:]), case.batch)
    assert work is not None
    found = {"difgen": work.flops, "textbook": work.flops}
    if has_diffusers(case):
        theirs = textbook.diffusers_unet(x.shape[-1])
        found["diffusers"] = flops(lambda: theirs(x, torch.arange(4)).sample.sum().backward()) / 4
    return found


def compare(case: Case, threads: int, given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One line for each contestant, all in this process."""
    torch.set_num_threads(threads)
    steps = steps_in(case, given)
    runs: dict[str, Callable[[], object]] = {
        who: steps_of(make(case), steps) for who, make in contestants(case, given.way).items()
    }
    runs["matrix"] = matrix_product()[0]
    yield from lines(case, in_turn({Entry(who, 1, threads): runs[who] for who in runs}, given.repeats), steps, given)


def compare_on(cores: int, case: Case, given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One line for each contestant, who has so many cores."""
    steps, (first, *peers) = steps_in(case, given), contestants(case, given.way)
    entries = [*on_cores(cores, first, peers), Entry("matrix", 1, cores)]
    times = teams_in_turn(entries, partial(work, CASES.index(case), given.way, steps), given.repeats)
    yield from lines(case, times, steps, given)


def steps_in(case: Case, given: argparse.Namespace) -> int:
    """Steps of a slice."""
    return 2 if given.quick else case.slice_steps


def lines(
    case: Case, times: dict[Entry, list[Spent]], steps: int, given: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """One line for each that took part: the first is ours, the last the matrix product."""
    (first, of_first), *_, (_, of_matrix) = times.items()
    matrix_rate = matrix_product()[1] / statistics.median(t.wall_seconds for t in of_matrix)
    counted = operations(case)
    for entry in list(times)[:-1]:
        who, spent, images = entry.who, medians(times[entry]), steps * case.batch * entry.processes
        scale = counted[first.who] / counted[who] * first.processes / entry.processes
        versus = {} if entry == first else times_as_fast(of_first, times[entry], scale)
        rate = images / spent["wall_seconds"]
        yield {
            "case": case.name, "threads": f"{entry.processes} × {entry.threads}",
            "who": f"{who} ({given.way})" if entry == first else who,
            "images_per_second": rate, **spent, **versus, "images": images,
            "mflops_per_image": counted[who] / 1e6, "share_of_matrix_rate": rate * counted[who] / matrix_rate,
            "matrix_gflops_per_second": matrix_rate / 1e9,
        }  # fmt: skip


def main() -> None:
    options = parser(__doc__, repeats=7)
    options.add_argument("--threads", type=int, nargs="*", default=[1])
    options.add_argument("--only", choices=[c.name for c in CASES], nargs="+", default=[c.name for c in CASES])
    options.add_argument("--cores", type=int, default=1, help="also everyone on so many cores")
    options.add_argument("--way", choices=("eager", "compiled"), default="eager", help="how a step is computed")
    given = options.parse_args()
    if given.quick:
        given.repeats = min(given.repeats, 2)
    cases = [case for case in CASES if case.name in given.only]
    with Results("training", given.json, COLUMNS, ("diffusers",)) as results:
        for threads in given.threads:
            for case in cases:
                for row in compare(case, threads, given):
                    results.add(**row)
        for case in cases if given.cores > 1 else ():
            for row in compare_on(given.cores, case, given):
                results.add(**row)


if __name__ == "__main__":
    main()
