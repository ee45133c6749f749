"""Training images per second beside a textbook loop around the same network, and beside diffusers' example.

    python benchmarks/training.py [--threads 1 2] [--processes 2] [--way eager] [--repeats 7] [--json] [--quick]

The digits MLP of grids/size.yaml (width 256, batches of 128) and the small U-Net of grids/fashion.yaml (28×28, batches
of 64), each as a worker calls `train`. Contestants take turns by slices of steps of one long run each; medians over the
slices, ratios over neighbouring ones. diffusers is optional (`pip install -e '.[bench]'`): its UNet2DModel has about
the same operations an image, and its ratio is by operations, so that its size says nothing. The share of the matrix
rate is that of a float32 product of 1,536 × 1,536 measured in turn with them.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import textbook
import torch
from measuring import Results, flops, in_turn, matrix_product, medians, parser, times_as_fast
from torch import Tensor, nn

from difgen_cli.data import digits, scaled, to_uint8
from difgen_cli.diffusion import to_tensor
from difgen_cli.models import mlp, unet
from difgen_cli.perf import count
from difgen_cli.train import initialise, train
from difgen_cli.worker import ways

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
    computed = ways.way(way, tuple(images.shape[1:]), "cpu")
    network, sigma_data = initialise(case.build, 0), float(images.std())
    return train(network, pixels, None, sigma_data, None, computed, steps=STEPS, batch=case.batch, lr=case.lr)


def peers(case: Case) -> dict[str, Iterator[object]]:
    """The textbook loop, and diffusers' where it has a network of the kind and can be imported."""
    images = case.images()
    plain = textbook.train(
        initialise(case.build, 0), images, float(images.std()), batch=case.batch, lr=case.lr, ema=0.995
    )
    found: dict[str, Iterator[object]] = {"textbook": plain}
    if has_diffusers(case):
        network = textbook.diffusers_unet(images.shape[-1])
        found["diffusers"] = textbook.train_diffusers(network, images, batch=case.batch, steps=STEPS)
    return found


def has_diffusers(case: Case) -> bool:
    return "unet" in case.name and importlib.util.find_spec("diffusers") is not None


def operations(case: Case) -> dict[str, float]:
    """Operations of a training image, forward and backward, of the network of each contestant."""
    x = case.images()[:4]
    work = count.training(case.build(), tuple(x.shape[1:]), case.batch)
    assert work is not None
    found = {"difgen": work.flops, "textbook": work.flops}
    if has_diffusers(case):
        theirs = textbook.diffusers_unet(x.shape[-1])
        found["diffusers"] = flops(lambda: theirs(x, torch.arange(4)).sample.sum().backward()) / 4
    return found


def compare(case: Case, threads: int, given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One line for each contestant."""
    torch.set_num_threads(threads)
    steps = 2 if given.quick else case.slice_steps
    product, product_flops = matrix_product()
    runs = {"difgen": ours(case, given.way), **peers(case)}
    times = in_turn({**{name: steps_of(run, steps) for name, run in runs.items()}, "matrix": product}, given.repeats)
    matrix_rate = product_flops / statistics.median(t.wall_seconds for t in times["matrix"])
    counted, images = operations(case), steps * case.batch
    for name in runs:
        spent = medians(times[name])
        versus = times_as_fast(times["difgen"], times[name], counted["difgen"] / counted[name])
        rate = images / spent["wall_seconds"]
        yield {
            "case": case.name, "threads": threads, "who": f"{name} ({given.way})" if name == "difgen" else name,
            "images_per_second": rate, **spent, **({} if name == "difgen" else versus), "images": images,
            "mflops_per_image": counted[name] / 1e6, "share_of_matrix_rate": rate * counted[name] / matrix_rate,
            "matrix_gflops_per_second": matrix_rate / 1e9,
        }  # fmt: skip


def side_by_side(given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One line for each contestant: so many processes of one thread each, as workers run, their rates added up."""
    command = [sys.executable, __file__, "--json", "--way", given.way, "--repeats", str(given.repeats)]
    command += ["--quick"] if given.quick else []
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(given.processes)]
    said = [[json.loads(line) for line in process.communicate()[0].splitlines()[1:]] for process in running]
    assert all(process.returncode == 0 for process in running)
    ours: dict[str, float] = {}
    for rows in zip(*said, strict=True):
        row = {k: v for k, v in rows[0].items() if k not in ("benchmark", "images", "ratio_processor")}
        row |= {what: statistics.fmean(r[what] for r in rows) for what in ("wall_seconds", "processor_seconds")}
        row |= {"threads": f"{len(rows)} × 1", "images_per_second": sum(r["images_per_second"] for r in rows)}
        done = row["images_per_second"] * row["mflops_per_image"]
        ours.setdefault(row["case"], done)  # the first of a case is ours
        yield row | ({"ratio_wall": ours[row["case"]] / done} if "ratio_wall" in row else {})


def main() -> None:
    options = parser(__doc__, repeats=7)
    options.add_argument("--threads", type=int, nargs="*", default=[1])
    options.add_argument("--processes", type=int, default=1, help="also so many side by side, of one thread each")
    options.add_argument("--way", choices=("eager", "compiled"), default="eager", help="how a step is computed")
    given = options.parse_args()
    if given.quick:
        given.repeats = min(given.repeats, 2)
    with Results("training", given.json, COLUMNS, ("diffusers",)) as results:
        for threads in given.threads:
            for case in CASES:
                for row in compare(case, threads, given):
                    results.add(**row)
        if given.processes > 1:
            for row in side_by_side(given):
                results.add(**row)


if __name__ == "__main__":
    main()
