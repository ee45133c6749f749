"""One GPU: training, sampling, several trainings at a time, nearest neighbours and Fréchet statistics.

    python benchmarks/card.py [--device cuda] [--way graphed] [--processes 8] [--repeats 5] [--json] [--quick]
                              [--only training several sampling neighbours frechet]

training: our U-Nets of width 32, 64 and 128, `ddpmpp` and `dit` on 32×32 images, as a worker trains them in bf16, in
`--way` and eager in either order of memory, beside the textbook loop on the same network, eager, in fp32 as torch has
it by default. `ddpmpp` is EDM's network for CIFAR-10 after its published description (Karras et al. 2022:
width 128, multipliers 2, 2, 2, four blocks a level, attention at 16×16, dropout 0.13), written here and not copied: so
its line compares two ways to train that network, and no code of EDM. several: so many trainings of width 16 at the same
time, beside one eager process. sampling: 18 steps of Heun's method by each. neighbours, frechet: 50,000 images of 3,072
numbers; difgen has candidates and factors from the device and the rest from the host, the peers are plain torch there.
Contestants take turns, each in a process of its own.

On a GPU each part has its seconds, of which a case has its share: who is not ready by then is named in the table. On a
CPU, where they are not limited without --seconds, numbers mean nothing; none of this has been run on a GPU.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import textbook
import torch
from measuring import Entry, Results, medians, parser, teams_in_turn, times_as_fast
from torch import nn

from difgen_cli import sampling
from difgen_cli.diffusion import Denoiser, large
from difgen_cli.diffusion.precision import repeatable
from difgen_cli.diffusion.randomness import initialise
from difgen_cli.diffusion.state import EAGER
from difgen_cli.diffusion.training import train
from difgen_cli.engine.cost import flops, machine
from difgen_cli.engine.worker import modes
from difgen_cli.metrics import frechet
from difgen_cli.models import ddpmpp, dit, unet
from difgen_cli.neighbours import choose_with, nearest
from difgen_cli.sampling import heun

STEPS, SLICE, IMAGES, SIGMA_DATA = 1_000_000, 20, 8192, 0.5
COLUMNS = (
    "case", "who", "processes", "images_per_second", "wall_seconds", "ratio_wall", "roofline", "mfu", "agree",
)  # fmt: skip
# Seconds of each part on a GPU: two commands, of the first two and of the others, of less than ten minutes each.
PARTS = {"training": 420.0, "several": 130.0, "sampling": 150.0, "neighbours": 150.0, "frechet": 240.0}
LATE = "not done in its time, or its process has ended"
IN_ORDER = "eager in order"  # images and weights channel after channel, as torch makes them
BUILDS = {"unet": unet.build, "ddpmpp": ddpmpp.build, "dit": dit.build}
SIGMAS, LEVELS = (0.004, 160.0), 18  # of sampling, in units of σ_d: EDM's 35 evaluations for CIFAR-10
SIZES, COMPARED, QUICK_SIZES = (50_000, 3_072), (8_000, 3_072), (400, 192)  # images, and numbers in each


@dataclass(frozen=True)
class Case:
    """A network on images (C, H, W), and the images of a step."""

    name: str
    settings: dict[str, Any]
    batch: int
    shape: tuple[int, ...] = (3, 32, 32)
    model: str = "unet"

    def build(self) -> nn.Module:
        return BUILDS[self.model](self.shape, 0, **self.settings)


DIT, EDM = Case("dit", {}, 256, model="dit"), Case("ddpmpp, EDM's network", {}, 256, model="ddpmpp")
UNETS = [Case(f"unet width {width}", {"width": width, "depth": 2}, 512) for width in (32, 64, 128)]
SINGLE = [DIT, *UNETS, EDM]  # who compiles longest has what the others leave
SEVERAL = Case("unet width 16", {"width": 16, "depth": 2}, 128)
SAMPLED = [UNETS[1], EDM]
SMALL, TINY = {"width": 8, "depth": 1, "multipliers": (1,)}, (3, 8, 8)
QUICK, QUICK_DIT = (
    Case("quick", SMALL | {"width": 4}, 4, TINY),
    Case("quick dit", {"width": 16, "depth": 1, "heads": 2}, 4, TINY, "dit"),
)
QUICK_SINGLE = [QUICK, Case("quick ddpmpp", SMALL | {"attention": (8,)}, 4, TINY, "ddpmpp"), QUICK_DIT]


def ready(device: str) -> None:
    """As in a worker, whose card has what is large."""
    if device.startswith("cuda"):
        repeatable()
        large.use(device)
        choose_with(large.lowest)


def ours(case: Case, device: str, way: str) -> Iterator[object]:
    """As a worker trains it, in bf16."""
    ready(device)
    images = torch.randint(256, (IMAGES, *case.shape), dtype=torch.uint8, device=device)
    computed = EAGER if way == IN_ORDER else modes.training_mode(way, case.shape, device)
    network = initialise(case.build, 0).to(device)
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
        machine.moment(device)

    return go


def walk(case: Case, device: str, levels: int, who: str) -> Callable[[], object]:
    """Blocks of samples by Heun's method, float32; the textbook's state is in float64."""
    network, block = initialise(case.build, 0).to(device).eval().requires_grad_(False), sampling.BLOCK
    lowest, highest = (sigma * SIGMA_DATA for sigma in SIGMAS)
    if who == "textbook":
        noise = torch.randn(block, *case.shape, device=device)
        settings = {"steps": levels, "sigma_min": lowest, "sigma_max": highest, "rho": 7.0}
        block_of_samples = partial(textbook.sample, network, noise, SIGMA_DATA, **settings)
    else:
        ready(device)
        network.to(memory_format=modes.layout(case.shape, device))  # type: ignore[call-overload]
        denoiser = modes.Evaluated(Denoiser(network, SIGMA_DATA), who, sampling.block_of(case.shape, device))
        block_of_samples = partial(
            sampling.draw, denoiser, heun.sample, case.shape, None, device, count=block, steps=levels
        )

    def go() -> None:
        block_of_samples()
        machine.moment(device)

    return go


def arrays(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Images near a few axes, as photographs are, and others like them: (n, d) float32 each."""
    rng = np.random.default_rng(0)
    axes = rng.standard_normal((32, size[1]), np.float32)
    signals = [rng.standard_normal((size[0], 32), np.float32) @ axes for _ in range(2)]
    return tuple(s + np.float32(0.3) * rng.standard_normal(s.shape, np.float32) for s in signals)  # type: ignore[return-value]


def search(size: tuple[int, int], device: str, who: str) -> Callable[[], object]:
    """The two nearest of the others to each: exact, or by products in float32 on the device."""
    queries, references = arrays(size)
    ready(device)
    if who == "difgen":
        return lambda: nearest(queries, references, k=2)
    q, r = (torch.from_numpy(part).to(device) for part in (queries, references))
    half_norms = r.square().sum(1) / 2

    return lambda: torch.cat([(half_norms - b @ r.T).topk(2, largest=False).indices for b in q.split(2048)]).cpu()


def statistics(size: tuple[int, int], device: str, who: str) -> Callable[[], object]:
    """The Fréchet distance of two sets from their features, in float64."""
    one, other = arrays(size)
    ready(device)
    if who == "difgen":
        return lambda: frechet.distance(frechet.moments(one), frechet.moments(other))

    def moments(x: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        rows = torch.from_numpy(x).to(device).double()
        return rows.mean(0), rows.T.cov()

    def go() -> float:
        (mean, cov), (other_mean, other_cov) = moments(one), moments(other)
        values, vectors = torch.linalg.eigh(cov)
        root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
        mixed = torch.linalg.eigvalsh(root @ other_cov @ root).clamp(min=0).sqrt().sum()
        return float((mean - other_mean).square().sum() + cov.trace() + other_cov.trace() - 2 * mixed)

    return go


def compare(case: Case, entries: list[Entry], given: argparse.Namespace, until: float) -> Iterator[dict[str, Any]]:
    """One line for each that takes part: the first is what the others are compared with."""
    steps = 2 if given.quick else SLICE
    times = teams_in_turn(entries, partial(work, case, given.device, steps), given.repeats, until)
    first, *_ = entries
    for entry in entries:
        precision = "fp32" if entry.who == "textbook" else "bf16"
        line = {"case": case.name, "who": f"{entry.who} {precision}", "processes": entry.processes}
        if entry not in times:
            yield line | {"who": f"{line['who']}: {LATE}"}
            continue
        spent = medians(times[entry])
        rate = steps * case.batch * entry.processes / spent["wall_seconds"]
        line |= {"images_per_second": rate, **spent, **shares(case, precision, rate, given.device)}
        if entry != first and first in times:
            line |= times_as_fast(times[first], times[entry], first.processes / entry.processes)
        yield line


def shares(case: Case, precision: str, rate: float, device: str) -> dict[str, float]:
    """Of the roofline and of the matrix rate of the device, as measured; nothing where it has no memory left."""
    done = flops.training(case.build(), case.shape, case.batch, precision)
    limits = machine.limits(device, precision)
    if done is None or limits is None:
        return {}
    return {"roofline": limits.share(done, rate), "mfu": limits.mfu(done, rate)}


def beside(
    name: str, whose: tuple[str, str], make: Callable[[str], Callable[[], object]], images: int, repeats: int,
    until: float,
) -> Iterator[dict[str, Any]]:  # fmt: skip
    """Ours and a peer, for the same work on so many images."""
    entries = [Entry(who, 1, 1) for who in whose]
    times = teams_in_turn(entries, make, repeats, until)
    for entry in entries:
        line = {"case": name, "who": entry.who, "processes": 1}
        if entry not in times:
            yield line | {"who": f"{entry.who}: {LATE}"}
            continue
        spent = medians(times[entry])
        line |= {"images_per_second": images / spent["wall_seconds"], **spent}
        if entry != entries[0] and entries[0] in times:
            line |= times_as_fast(times[entries[0]], times[entry])
        yield line


def agreement(name: str, size: tuple[int, int], device: str) -> dict[str, Any]:
    """Whether ours and the peer's answers are the same, at a size at which that is soon known."""
    make = search if name == "neighbours" else statistics
    mine, other = (make(size, device, who)() for who in ("difgen", "torch"))
    if name == "neighbours":
        same = float(np.mean(np.asarray(mine[1]) == np.asarray(other)))  # type: ignore[index]
        return {"case": f"{name}: the same as the peer's", "who": "share of places", "agree": same}
    apart = abs(mine / other - 1)  # type: ignore[operator]
    return {"case": f"{name}: apart from the peer's", "who": "relative", "agree": float(apart)}


def main() -> None:
    options = parser(__doc__, repeats=5)
    options.add_argument("--device", default="cuda")
    options.add_argument("--way", choices=("eager", *modes.COMPILED), default="graphed", help="how a step is computed")
    options.add_argument("--processes", type=int, default=8, help="trainings of width 16 at the same time")
    options.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="parts")
    options.add_argument("--seconds", type=float, help="of each part, in place of its own")
    given = options.parse_args()
    if (on_card := given.device.startswith("cuda")) and not torch.cuda.is_available():
        options.error("no GPU is at hand: --device cpu --quick shows that this runs")
    left = failures = 0.0
    with Results("card", given.json, COLUMNS) as results:
        for part in given.only:
            limit = given.seconds or (PARTS[part] if on_card else math.inf)
            until = time.monotonic() + left + limit
            try:
                for row in measured(part, given, until):
                    results.add(**row)
            except Exception as error:  # the other parts are measured all the same
                failures += 1
                results.add(case=part, who=f"failed: {type(error).__name__}: {str(error)[:150]}")
            left = max(0.0, until - time.monotonic()) if limit < math.inf else 0.0
    sys.exit(1 if failures else 0)


def measured(part: str, given: argparse.Namespace, until: float) -> Iterator[dict[str, Any]]:
    """The lines of a part, which ends at a moment of `time.monotonic`."""
    device, size = given.device, QUICK_SIZES if given.quick else SIZES
    if part == "training":
        ways = dict.fromkeys((given.way, "eager", IN_ORDER, "textbook"))
        for case, end in shared_out(QUICK_SINGLE if given.quick else SINGLE, until):
            yield from compare(case, [Entry(who, 1, 1) for who in ways], given, end)
    elif part == "several":
        several = [Entry(given.way, given.processes, 1), Entry("eager", 1, 1)]
        yield from compare(QUICK if given.quick else SEVERAL, several, given, until)
    elif part == "sampling":
        for case, end in shared_out([QUICK] if given.quick else SAMPLED, until):
            make = partial(walk, case, device, 2 if given.quick else LEVELS)
            name = f"{case.name}, samples"
            yield from beside(name, (given.way, "textbook"), make, sampling.BLOCK, given.repeats, end)
    else:
        make = partial(search if part == "neighbours" else statistics, size, device)
        yield from beside(part, ("difgen", "torch"), make, size[0], min(2, given.repeats), until)
        yield agreement(part, COMPARED if device.startswith("cuda") else QUICK_SIZES, device)


def shared_out(cases: list[Case], until: float) -> Iterator[tuple[Case, float]]:
    """Each case with the moment at which it ends: an equal share of the time that is left when it begins."""
    for place, case in enumerate(cases):
        now = time.monotonic()
        yield case, now + (until - now) / (len(cases) - place)


if __name__ == "__main__":
    main()
