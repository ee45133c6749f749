"""How often do the printed 95 % intervals cover what they are for?

    python tests/intervals/simulate.py [--draws 2000] [--only gap] [--workers 2]

Exits with 1 where an interval covers less than 92 % or more than 98 % of the time, of the draws in which there is one.
A world in which a metric should refuse an interval says so (`may_be_null`), and the draws without one count apart.
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
from claiming import CLAIMS
from controls import CONTROLS
from drawing import Ends, World
from following import FOLLOWING
from further import FURTHER
from looks import LOOKS
from reconstructing import RECONSTRUCTING
from rich.console import Console
from rich.table import Table
from seeds_of_a_pool import SEEDS_OF_A_POOL
from worlds import WORLDS

from difgen_cli.metrics import wilson

LEAST, MOST = 0.92, 0.98
CERTAIN = 0.999  # that a world with few intervals is outside
CHUNK = 50  # draws that a worker is asked for at once


@dataclass(frozen=True)
class Coverage:
    """How the intervals of one estimand did in one world."""

    metric: str
    case: str
    draws: int
    null: int  # of them without an interval
    covered: int
    above: int  # draws in which a lower end was above the truth
    below: int  # and in which an upper end was below it
    width: float  # mean, at the largest of several values

    @property
    def share(self) -> float:
        """Of the draws with an interval; NaN where there are none."""
        return self.covered / self.told if self.told else float("nan")

    @property
    def told(self) -> int:
        return self.draws - self.null

    @property
    def honest(self) -> bool:
        """Within the range, by more than chance outside it where few draws have an interval, or without any."""
        low, high = wilson(self.covered, self.told, CERTAIN)
        return LEAST <= self.share <= MOST or (self.told < self.draws and low <= MOST and high >= LEAST)


def coverages(world: World, found: list[Ends]) -> Iterator[Coverage]:
    """One for each estimand of the world, from the intervals of its draws."""
    for metric, truth in world.truth().items():
        lower, upper = (np.array([ends[metric][k] for ends in found]).reshape(len(found), -1) for k in (0, 1))
        told = ~np.isnan(lower).any(axis=1)
        above, below = (lower > truth).any(axis=1), (upper < truth).any(axis=1)
        covered = int((told & ~above & ~below).sum())
        widths = (upper - lower)[told, int(truth.argmax())]
        width = float(widths.mean()) if len(widths) else float("nan")
        null = int((~told).sum())
        yield Coverage(metric, str(world), len(found), null, covered, int(above.sum()), int(below.sum()), width)


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
    worlds = [
        world
        for world in (*WORLDS, *FURTHER, *CONTROLS, *SEEDS_OF_A_POOL, *LOOKS, *CLAIMS, *FOLLOWING, *RECONSTRUCTING)
        if options.only.lower() in repr(world).lower()
    ]
    table = Table("metric", "case", "draws", "null", "coverage", "95 % of it", "lower end above", "upper end below",
                  "mean width", "seconds", "")  # fmt: skip
    honest = True
    for found, seconds in simulate(worlds, options.draws, options.workers):
        (low, high), told = wilson(found.covered, found.told), max(1, found.told)
        table.add_row(
            found.metric, found.case, f"{found.draws:,}", f"{found.null / found.draws:.1%}", f"{found.share:.1%}",
            f"{low:.1%} … {high:.1%}", f"{found.above / told:.1%}", f"{found.below / told:.1%}", f"{found.width:.3g}",
            f"{seconds:.0f}", "ok" if found.honest else f"outside {LEAST:.0%} … {MOST:.0%}",
        )  # fmt: skip
        honest &= found.honest
        print(
            f"{found.metric:18s} {found.case:55s} {found.share:.3f} {found.null:5d} null", file=sys.stderr, flush=True
        )
    Console(width=150).print(table)
    return 0 if honest else 1


if __name__ == "__main__":
    raise SystemExit(main())
