"""How long exact search, the ideal denoiser and the Fréchet distance take at real size, and how much memory.

    python benchmarks/neighbours.py [--full] [--threads 1 2] [--data cifar10/] [--runs 3]

Peers in the same run: faiss's flat index where `faiss` can be imported (it is no dependency), and scipy's softmax and
matrix square root. Each line is measured in a process of its own; `--full` is 50,000 generated against 50,000 training
images of 3,072 values. Images are CIFAR-10's from Parquet files where `--data` names them, else smooth noise of that
shape; "generated" ones are training images mixed in pairs, with noise.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

SMALL = {"queries": 2_000, "references": 10_000, "states": 64, "features": 4_000, "dimensions": (512,)}
FULL = {"queries": 50_000, "references": 50_000, "states": 256, "features": 50_000, "dimensions": (2_048, 3_072)}
SHARE = 10  # of --full's queries in each but the last run: the whole takes minutes


def train_images(count: int, data: str | None):
    """(count, 32, 32, 3) float32 in [−1, 1]."""
    import numpy as np

    if data:
        from difgen_cli.data import parquet, scaled

        return scaled(parquet.load(path=Path(data), split="train").images[:count])
    rng = np.random.default_rng(0)
    coarse = rng.standard_normal((count, 8, 8, 3), np.float32).repeat(4, axis=1).repeat(4, axis=2)
    return np.clip(0.4 * coarse + 0.1 * rng.standard_normal(coarse.shape, np.float32), -1, 1)


def generated_images(train, count: int):
    """Training images mixed in pairs, from copies to halves, with noise of 0.05."""
    import numpy as np

    rng = np.random.default_rng(1)
    places, share = rng.integers(len(train), size=(2, count)), rng.uniform(0.5, 1, (count, 1, 1, 1)).astype(np.float32)
    made = train[places[0]]
    made *= share
    for start in range(0, count, 5_000):
        part = slice(start, start + 5_000)
        made[part] += (1 - share[part]) * train[places[1, part]]
        made[part] += np.float32(0.05) * rng.standard_normal(made[part].shape, np.float32)
    return made


def search(size: dict, data: str | None, by: str) -> tuple[Callable[[], object], str]:
    """The two nearest training images of each generated one."""
    train = train_images(size["references"], data)
    samples = generated_images(train, size["queries"])
    what = f"{len(samples):,} × {len(train):,} × {train[0].size:,} neighbours"
    if by == "difgen":
        from difgen_cli.neighbours import nearest

        return lambda: nearest(samples, train), what
    import faiss

    faiss.omp_set_num_threads(int(os.environ["OMP_NUM_THREADS"]))

    def flat_index() -> object:
        index = faiss.IndexFlatL2(train[0].size)
        index.add(train.reshape(len(train), -1))
        return index.search(samples.reshape(len(samples), -1), 2)

    return flat_index, what


def denoiser(size: dict, data: str | None, by: str) -> tuple[Callable[[], object], str]:
    """One evaluation of the ideal denoiser at a noise level, in units of σ_d; or all weights at once by scipy."""
    import numpy as np

    who, level = by.split()
    train, sigma = train_images(size["references"], data), 0.5 * float(level)
    noise = np.random.default_rng(2).standard_normal((size["states"], *train.shape[1:]), np.float32)
    x = train[: size["states"]] + np.float32(sigma) * noise
    what = f"ideal denoiser, {len(x)} states × {len(train):,} images at {level} σ_d"
    if who == "difgen":
        import torch

        from difgen_cli.diffusion import IdealDenoiser, to_tensor

        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        ideal, states = IdealDenoiser(to_tensor(train), 0.5), to_tensor(x)
        return lambda: ideal(states, torch.full((len(x),), sigma)), what
    from scipy.special import softmax

    def posterior_mean() -> object:
        images, points = (a.reshape(len(a), -1).astype(np.float64) for a in (train, x))
        return softmax((points @ images.T - (images**2).sum(1) / 2) / sigma**2, axis=1) @ images

    return posterior_mean, what


def frechet(size: dict, data: str | None, by: str) -> tuple[Callable[[], object], str]:
    """Moments of generated features, their distance to a reference, its standard error; or scipy's square root."""
    import numpy as np

    from difgen_cli.metrics.frechet import distance, moments, standard_error

    n, (peer, dimensions) = size["features"], by.split()
    d, rng = int(dimensions), np.random.default_rng(0)
    scales = np.linspace(0.1, 1, d, dtype=np.float32)
    real, made = (rng.standard_normal((n, d), np.float32) * scales for _ in range(2))
    what = f"Fréchet distance, {n:,} × {d:,} features"
    if peer == "difgen":
        reference = moments(real)

        def ours() -> object:
            own = moments(made)
            return distance(own, reference), standard_error(made, own, reference)

        return ours, what
    from scipy.linalg import sqrtm

    known, mean = np.cov(real, rowvar=False, dtype=np.float64), real.mean(axis=0, dtype=np.float64)

    def theirs() -> object:
        own = np.cov(made, rowvar=False, dtype=np.float64)
        apart = np.sum((made.mean(axis=0, dtype=np.float64) - mean) ** 2)
        return apart + np.trace(own + known - 2 * np.real(sqrtm(own @ known)))

    return theirs, what


TASKS = {"search": search, "denoiser": denoiser, "frechet": frechet}


def child(task: str, size: dict, data: str | None, by: str) -> None:
    """Measure one thing once, and say so on one line of JSON."""
    run, what = TASKS[task](size, data, by)
    before = resource.getrusage(resource.RUSAGE_SELF)
    start = time.perf_counter()
    run()
    seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_SELF)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"what": what, "seconds": seconds, "processor": processor, "mib": after.ru_maxrss / 1024}))


def measured(task: str, size: dict, data: str | None, by: str, threads: int) -> dict | None:
    """What a process of its own says; None where its peer is not there."""
    arguments = [sys.executable, __file__, "--child", json.dumps([task, size, data, by])]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)}
    done = subprocess.run(arguments, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="the real size: minutes, and 8 GiB")
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--data", help="folder of CIFAR-10's Parquet files")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", choices=TASKS, nargs="+", default=list(TASKS))
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(*json.loads(given.child))
        return
    from rich.console import Console

    table = _table()
    for threads in given.threads:
        for task, by, peer in _pairs(FULL if given.full else SMALL):
            if task in given.only:
                table.add_row(*_line(task, by, peer, given, threads))
    Console(width=140).print(table)


def _table():
    from rich.table import Table

    columns = ("what", "threads", "seconds", "processor s", "peak MiB", "peer", "seconds", "processor s", "peak MiB")
    table = Table(*columns, "ratio of processor seconds", title="medians; ratios are of neighbouring runs")
    for column in table.columns[1:]:
        column.justify = "right"
    return table


def _pairs(size: dict) -> list[tuple[str, str, str]]:
    """Tasks, whose they are, and their peers."""
    frechets = [("frechet", f"difgen {d}", f"scipy {d}") for d in size["dimensions"]]
    levels = [("denoiser", f"difgen {level}", f"scipy {level}") for level in ("0.1", "1", "10")]
    return [("search", "difgen", "faiss"), *levels, *frechets]


def _line(task: str, by: str, peer: str, given: argparse.Namespace, threads: int) -> list[str]:
    size = FULL if given.full else SMALL
    if peer == "faiss" and not _importable("faiss"):
        print("faiss cannot be imported: no peer for the search (pip install faiss-cpu)", file=sys.stderr)
        peer = ""
    ours, theirs = [], []
    for run in range(given.runs):
        part = size | {"queries": size["queries"] // SHARE} if given.full and run < given.runs - 1 else size
        ours.append(measured(task, part, given.data, by, threads))
        if peer:
            theirs.append(measured(task, part, given.data, peer, threads))
    return [ours[-1]["what"], str(threads), *_medians(ours), peer, *_medians(theirs), _ratio(ours, theirs)]


def _medians(runs: list[dict]) -> list[str]:
    """Of the runs as large as the last one."""
    same = [r for r in runs if r["what"] == runs[-1]["what"]]
    if not same:
        return ["", "", ""]
    return [f"{statistics.median(r[k] for r in same):,.{digits}f}"
            for k, digits in (("seconds", 1), ("processor", 1), ("mib", 0))]  # fmt: skip


def _ratio(ours: list[dict], theirs: list[dict]) -> str:
    pairs = [a["processor"] / b["processor"] for a, b in zip(ours, theirs, strict=False)]
    return " ".join(f"{ratio:.2f}" for ratio in pairs)


def _importable(name: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(name) is not None


if __name__ == "__main__":
    main()
