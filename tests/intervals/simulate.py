"""How often do the printed 95 % intervals cover what they are for?

    python tests/intervals/simulate.py [--draws 2000] [--only gap] [--workers 2]

Exits with 1 where an interval covers less than 92 % or more than 98 % of the time.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np
from further import FURTHER
from rich.console import Console
from rich.table import Table
from worlds import WORLDS, Ends, World

from difgen_cli.metrics import wilson

LEAST, MOST = 0.92, 0.98
CHUNK = 50  # draws that a worker is asked for at once


@dataclass(frozen=True)
class Coverage:
    """How the intervals of one estimand did in one world."""

    metric: str
    case: str
    draws: int
    covered: int
    above: int  # draws in which a lower end was above the truth
    below: int  # and in which an upper end was below it
    width: float  # mean, at the largest of several values

    @property
    def share(self) -> float:
        return self.covered / self.draws

    @property
    def honest(self) -> bool:
        return LEAST <= self.share <= MOST


def coverages(world: World, found: list[Ends]) -> Iterator[Coverage]:
    """One for each estimand of the world, from the intervals of its draws."""
    for metric, truth in world.truth().items():
        lower, upper = (np.array([ends[metric][k] for ends in found]).reshape(len(found), -1) for k in (0, 1))
        above, below = (lower > truth).any(axis=1), (upper < truth).any(axis=1)
        covered = int((~above & ~below).sum())
        width = float((upper - lower).mean(axis=0)[int(truth.argmax())])
        yield Coverage(metric, str(world), len(found), covered, int(above.sum()), int(below.sum()), width)


def draw(world: World, numbers: range) -> list[Ends]:
    return [world.intervals(number) for number in numbers]


def simulate(worlds: list[World], draws: int, workers: int) -> Iterator[tuple[Coverage, float]]:
    """Each coverage as soon as it is known, and the seconds that its world took."""
    numbers = [range(start, min(start + CHUNK, draws)) for start in range(0, draws, CHUNK)]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for world in worlds:
            start = time.perf_counter()
            parts = pool.map(draw, [world] * len(numbers), numbers)
            for coverage in coverages(world, [ends for part in parts for ends in part]):
                yield coverage, time.perf_counter() - start


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=2000, help="replicates of each world")
    parser.add_argument("--only", default="", help="worlds whose name or case has this in it")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    worlds = [world for world in (*WORLDS, *FURTHER) if options.only.lower() in repr(world).lower()]
    table = Table("metric", "case", "draws", "coverage", "95 % of it", "lower end above", "upper end below",
                  "mean width", "seconds", "")  # fmt: skip
    honest = True
    for found, seconds in simulate(worlds, options.draws, options.workers):
        low, high = wilson(found.covered, found.draws)
        table.add_row(
            found.metric, found.case, f"{found.draws:,}", f"{found.share:.1%}", f"{low:.1%} … {high:.1%}",
            f"{found.above / found.draws:.1%}", f"{found.below / found.draws:.1%}", f"{found.width:.3g}",
            f"{seconds:.0f}", "ok" if found.honest else f"outside {LEAST:.0%} … {MOST:.0%}",
        )  # fmt: skip
        honest &= found.honest
        print(f"{found.metric:18s} {found.case:45s} {found.share:.3f}", file=sys.stderr, flush=True)
    Console(width=150).print(table)
    return 0 if honest else 1


if __name__ == "__main__":
    raise SystemExit(main())
