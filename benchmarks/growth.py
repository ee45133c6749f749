"""How wall time and peak memory grow with width, training images, samples, cells and trajectories.

    python benchmarks/growth.py [--only plan …] [--repeats 3] [--json] [--quick]

One thing varies over four values while all else stands; each value is measured in a process of its own (median times of
`--repeats`, memory above that of the smallest). Growth is the slope of a line through the logarithms, with its standard
error. Beside it stands the slope that must be expected: that of the counted operations for widths, else what the size
of input and output forces. Whether one lies above is judged by processor seconds, which others on the machine do not
lengthen. Fixed costs pull a slope down.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from measuring import SECONDS, Results, medians, parser, spent

Task = Callable[[int, Path], Callable[[], object]]  # made ready for a value, in a folder of its own
COLUMNS = ("what", "over", "values", "wall_seconds", "time_slope", "time_slope_se",
           "processor_slope", "processor_slope_se", "time_expected", "peak_mib",
           "memory_slope", "memory_slope_se", "memory_expected", "faster_than_it_must")  # fmt: skip


SWEPT = """# How long is a sweep?
base:
  data:   {name: digits, held_out: 900, size: 64}
  model:  {name: mlp, width: 16}
  train:  {batch: 16, steps: 20}
  sample: {name: euler, steps: 3, count: 32}
  score:  [memorization]
"""


@dataclass(frozen=True)
class Study:
    """A task over values of one thing; `time` and `memory` are the slopes to expect, None: that of the operations."""

    what: str
    over: str
    task: Task
    values: tuple[int, ...]
    quick: tuple[int, ...]
    time: float | None
    memory: float | None  # None: no expectation


def train_mlp(width: int, folder: Path) -> Callable[[], object]:
    """60 steps of 128 digits."""
    from difgen_cli.models import mlp

    return _training(partial(mlp.build, (1, 8, 8), 0, width=width), (1, 8, 8), 768, 128, 60)


def train_unet(width: int, folder: Path) -> Callable[[], object]:
    """Two steps of 16 images of 28×28."""
    from difgen_cli.models import unet

    build = partial(unet.build, (1, 28, 28), 0, width=width, depth=1, multipliers=(1, 2, 2))
    return _training(build, (1, 28, 28), 64, 16, 2)


def train_on(images: int, folder: Path) -> Callable[[], object]:
    """60 steps of 128 images of 28×28 through an MLP."""
    from difgen_cli.models import mlp

    return _training(partial(mlp.build, (1, 28, 28), 0, width=64), (1, 28, 28), images, 128, 60)


def _training(build: Callable[[], Any], shape: tuple[int, ...], images: int, batch: int, steps: int) -> Any:
    import torch

    from difgen_cli.diffusion.randomness import initialise
    from difgen_cli.diffusion.training import train

    data = torch.rand(images, *shape)

    def run() -> None:
        for _ in train(initialise(build, 0), data, None, 0.5, steps=steps, batch=batch):
            pass

    return run


def draw(samples: int, folder: Path) -> Callable[[], object]:
    """Samples of the digits MLP by heun with 12 steps."""
    from difgen_cli import sampling
    from difgen_cli.diffusion import Denoiser
    from difgen_cli.diffusion.randomness import initialise
    from difgen_cli.models import mlp
    from difgen_cli.sampling import heun

    denoiser = Denoiser(initialise(lambda: mlp.build((1, 8, 8), 0), 0), 0.5).eval().requires_grad_(False)
    return lambda: sampling.draw(denoiser, heun.sample, (1, 8, 8), None, count=samples, steps=12)


def neighbours(queries: int, references: int, folder: Path) -> Callable[[], object]:
    """The two nearest of 28×28 images."""
    import numpy as np

    from difgen_cli.neighbours import nearest

    rng = np.random.default_rng(0)
    a, b = (rng.uniform(-1, 1, (n, 28, 28, 1)).astype(np.float32) for n in (queries, references))
    return lambda: nearest(a, b)


def plan(cells: int, folder: Path) -> Callable[[], object]:
    """`difgen plan` without its table."""
    from scale import HEAD

    from difgen_cli import sweep

    grid, steps = folder / "plan.yaml", cells // 50
    axes = f"axes: {{model.width: {{lin: [8, 800, 50]}}, train.steps: {{lin: [100, {100 * steps}, {steps}]}}}}"
    grid.write_text(f"# How fast is planning?\n{HEAD}{axes}\n", encoding="utf-8")
    return lambda: sweep.prepare(grid, folder / "runs", {})


def status(trajectories: int, folder: Path) -> Callable[[], object]:
    """What `difgen status` reads, every trajectory done."""
    from scale import HEAD, finish

    from difgen_cli.engine import status as standing
    from difgen_cli.engine.store import Store

    grid = folder / "grid.yaml"
    axes = f"axes: {{model.width: {{lin: [8, {8 * trajectories}, {trajectories}]}}, train.steps: [100, 200]}}"
    grid.write_text(f"# How fast is a look?\n{HEAD}{axes}\n", encoding="utf-8")
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as apart:  # what it takes is not what is measured
        apart.submit(finish, grid, folder / "runs").result()
    store = Store(folder / "runs")
    return lambda: standing.look(store, standing.reconciler(store))


def sweep_of(trajectories: int, folder: Path) -> Callable[[], object]:
    """A whole sweep in this process: 20 steps and 32 samples for each trajectory."""
    from rich.console import Console

    from difgen_cli import sweep

    grid, count = folder / "grid.yaml", [0]
    grid.write_text(f"{SWEPT}seeds: {trajectories}\n", encoding="utf-8")

    def run() -> None:
        count[0] += 1
        planned = sweep.prepare(grid, folder / f"runs{count[0]}", {})
        assert sweep.run(planned, sweep.Options(cluster="inline"), Console(quiet=True)) == "done"

    return run


STUDIES = {
    "mlp": Study("training, MLP", "width", train_mlp, (128, 256, 512, 1024), (8, 16, 24, 32), None, None),
    "unet": Study("training, U-Net", "width", train_unet, (16, 32, 64, 128), (4, 8, 12, 16), None, None),
    "data": Study("training", "images", train_on, (4_000, 16_000, 64_000, 256_000), (8, 16, 32, 64), 0.0, 1.0),
    "draw": Study("drawing", "samples", draw, (1024, 2048, 4096, 8192), (256, 512, 768, 1024), 1.0, 1.0),
    "queries": Study("nearest neighbours", "samples", lambda n, f: neighbours(n, 10_000, f),
                     (1_000, 2_000, 4_000, 8_000), (10, 20, 40, 80), 1.0, 1.0),
    "references": Study("nearest neighbours", "images", lambda n, f: neighbours(1_000, n, f),
                        (5_000, 10_000, 20_000, 40_000), (10, 20, 40, 80), 1.0, 1.0),
    "plan": Study("planning", "cells", plan, (5_000, 10_000, 20_000, 40_000), (100, 200, 300, 400), 1.0, 1.0),
    "status": Study("status", "trajectories", status, (100, 200, 400, 800), (2, 3, 4, 5), 1.0, 1.0),
    "sweep": Study("sweep", "trajectories", sweep_of, (4, 8, 16, 32), (1, 2, 3, 4), 1.0, 1.0),
}  # fmt: skip


def child(name: str, value: int, repeats: int) -> None:
    """Measure one value, and say so on one line of JSON: median times, MiB above those before, operations."""
    study = STUDIES[name]
    with tempfile.TemporaryDirectory() as folder:
        small, own = Path(folder) / "small", Path(folder) / "own"
        small.mkdir()
        own.mkdir()
        study.task(study.quick[0], small)()  # what is imported and made at first is not what grows
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        run = study.task(value, own)
        times = medians([spent(run) for _ in range(repeats)])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    said = {**times, "mib": (peak - before) / 1024, "flops": operations(name, value)}
    print(json.dumps(said), flush=True)


def operations(name: str, value: int) -> float | None:
    """Floating-point operations of a training image at a width."""
    from difgen_cli.engine.cost import flops
    from difgen_cli.models import mlp, unet

    if name == "mlp":
        work = flops.training(mlp.build((1, 8, 8), 0, width=value), (1, 8, 8), 128)
    elif name == "unet":
        network = unet.build((1, 28, 28), 0, width=value, depth=1, multipliers=(1, 2, 2))
        work = flops.training(network, (1, 28, 28), 16)
    else:
        return None
    return work.flops if work else None


def slope(values: list[float], measured: list[float]) -> tuple[float | None, float | None]:
    """The slope of log measured on log value and its standard error; None where something is not above 0."""
    from scipy.stats import linregress

    if min(measured) <= 0:
        return None, None
    import numpy as np

    fit = linregress(np.log(values), np.log(measured))
    return float(fit.slope), float(fit.stderr)


def measure(name: str, given: argparse.Namespace) -> dict[str, Any]:
    """One line of the table."""
    study = STUDIES[name]
    values = study.quick if given.quick else study.values
    found = [_in_its_own_process(name, value, given.repeats) for value in values]
    wall, processor, mib, counted = ([f[k] for f in found] for k in (*SECONDS, "mib", "flops"))
    time, time_se = slope(list(values), wall)
    busy, busy_se = slope(list(values), processor)
    memory, memory_se = slope(list(values), mib) if min(mib) >= 1 else (None, None)
    expected = slope(list(values), counted)[0] if study.time is None else study.time
    return {
        "what": study.what, "over": study.over, "values": _listed(values), "wall_seconds": _listed(wall),
        "time_slope": time, "time_slope_se": time_se, "processor_slope": busy, "processor_slope_se": busy_se,
        "time_expected": expected, "peak_mib": _listed(mib),
        "memory_slope": memory, "memory_slope_se": memory_se, "memory_expected": study.memory,
        "faster_than_it_must": any(_above(*line) for line in ((busy, busy_se, expected),
                                                              (memory, memory_se, study.memory))),
    }  # fmt: skip


def _above(value: float | None, error: float | None, expected: float | None) -> bool:
    """Whether a slope lies above what is expected by more than 95 % of its error, and by more than a tenth."""
    if value is None or error is None or expected is None:
        return False
    return value - expected > max(0.1, 4.3 * error)  # Student's t of four points, two degrees of freedom


def _in_its_own_process(name: str, value: int, repeats: int) -> dict[str, Any]:
    arguments = [sys.executable, __file__, "--child", json.dumps([name, value, repeats])]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(arguments, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return said


def _listed(numbers: Any) -> str:
    return ", ".join(f"{n:,}" if isinstance(n, int) else f"{n:.3g}" for n in numbers)


def rows(given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for name in given.only:
        yield {"study": name, **measure(name, given)}


def main() -> None:
    options = parser(__doc__, repeats=3)
    options.add_argument("--only", choices=STUDIES, nargs="+", default=list(STUDIES))
    options.add_argument("--child", help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.child:
        child(*json.loads(given.child))
        return
    if given.quick:
        given.repeats = 1
    with Results("growth", given.json, COLUMNS) as results:
        for row in rows(given):
            results.add(**row)


if __name__ == "__main__":
    main()
