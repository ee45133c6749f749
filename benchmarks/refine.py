"""How much `refine` runs, how narrow it ends, and whether the truth is inside: synthetic worlds with known answers.

    python benchmarks/refine.py [--worlds 300] [--json] [--quick]

A world is a share that depends on one axis of 37 sizes, 16 to 512, measured by 3 seeds with 1,000 samples each. Each
kind of world is one line. `share_run`: of the dense grid's 111 trainings; `most_run`: in any world; `narrow`: worlds in
which neighbours on the axis bracket the zone, or nothing is to be refined; `holds`: worlds whose zone holds the
crossings of all seeds; `width`: from one end of the zone to the other, as a factor; `orders`: different final sets of
values over 8 orders in which results arrive, at most.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields

import numpy as np
from measuring import Results, parser

from difgen_cli.engine.plan.refine import Course, Interval, course, side
from difgen_cli.metrics import wilson

SIZES = [16 * 32 ** (place / 36) for place in range(37)]
SEEDS, SAMPLES, LEVEL, FIRST, ORDERS = 3, 1000, 0.5, 6, 8


@dataclass
class World:
    """A response share(size, seed) whose crossings are known, and what was measured of it so far."""

    name: str
    share: Callable[[float, int], float]
    crossings: list[float]  # sizes at which a seed's share is LEVEL; none where it never is
    noise: np.random.Generator
    roughness: float = 0.0  # standard deviation on the logit scale, of each training for itself
    measured: dict[tuple[int, int], Interval] = field(default_factory=dict)

    def interval(self, place: int, seed: int) -> Interval:
        """The Wilson interval of one training's share, the same whenever it is asked for."""
        if not self.measured:
            self.measured = {(at, s): self._measure(at, s) for at in range(len(SIZES)) for s in range(SEEDS)}
        return self.measured[place, seed]

    def _measure(self, place: int, seed: int) -> Interval:
        share = min(max(self.share(SIZES[place], seed), 1e-9), 1 - 1e-9)
        logit = math.log(share / (1 - share)) + self.noise.normal(0, self.roughness)
        return wilson(int(self.noise.binomial(SAMPLES, 1 / (1 + math.exp(-logit)))), SAMPLES)

    def refined(self) -> Course:
        """The whole course, all results at hand."""
        return course(len(SIZES), FIRST, self.side)

    def side(self, place: int) -> int:
        return side([self.interval(place, seed) for seed in range(SEEDS)], LEVEL)

    def arriving(self, order: int) -> frozenset[int]:
        """The values that were asked for at the end, where results arrive in a random order."""
        chance, arrived = np.random.default_rng(order), set[tuple[int, int]]()
        while True:
            now = course(
                len(SIZES), FIRST, lambda p: self.side(p) if all((p, s) in arrived for s in range(SEEDS)) else None
            )
            running = sorted({(place, seed) for place in now.asked for seed in range(SEEDS)} - arrived)
            if not running:
                return now.asked
            arrived.add(running[chance.integers(len(running))])


def falling(name: str, chance: np.random.Generator, spread: float, power: float, roughness: float = 0.0) -> World:
    """A share that falls with the size, as copying does; seeds cross at sizes that differ by a factor of e^spread."""
    middles = 90 * math.exp(chance.normal(0, 0.5)) * np.exp(chance.normal(0, spread, SEEDS))
    noise = np.random.default_rng(chance.integers(2**32))
    return World(name, lambda n, s: 1 / (1 + (n / middles[s]) ** power), list(middles), noise, roughness)


def rising(name: str, chance: np.random.Generator) -> World:
    """The mirror image: a share that grows."""
    world = falling(name, chance, 0.1, 6)
    share = world.share
    world.share = lambda n, s: 1 - share(n, s)
    return world


def constant(name: str, chance: np.random.Generator, share: float) -> World:
    """A share that never crosses the level."""
    return World(name, lambda n, s: share, [], np.random.default_rng(chance.integers(2**32)))


def humped(name: str, chance: np.random.Generator) -> World:
    """A share that is above the level in the middle of the axis alone, and crosses it twice."""
    low, high = 40 * math.exp(chance.normal(0, 0.2)), 200 * math.exp(chance.normal(0, 0.2))
    noise = np.random.default_rng(chance.integers(2**32))
    return World(name, lambda n, s: 1 / (1 + (n / high) ** 8) / (1 + (low / n) ** 8), [low, high], noise)


KINDS: dict[str, Callable[[str, np.random.Generator], World]] = {
    "steep, seeds agree": lambda name, chance: falling(name, chance, 0.03, 8),
    "seeds disagree": lambda name, chance: falling(name, chance, 0.25, 8),
    "shallow": lambda name, chance: falling(name, chance, 0.1, 2),
    "rising": rising,
    "rough": lambda name, chance: falling(name, chance, 0.1, 6, 0.7),
    "above and below again": humped,
    "all above": lambda name, chance: constant(name, chance, 0.9),
    "all below": lambda name, chance: constant(name, chance, 0.05),
}


@dataclass(frozen=True)
class Outcome:
    """What came of many worlds of one kind."""

    share_run: float  # of the dense grid's trainings, mean
    most_run: float
    narrow: float  # share of worlds whose zone ends are bracketed by neighbours, or that have nothing to refine
    holds: float  # share of worlds whose zone holds all crossings; of worlds without one: that have no zone
    width: float  # factor from one end of the zone to the other, geometric mean; 1 without a zone
    orders: int  # most different final sets over orders of arrival


COLUMNS = tuple(column.name for column in fields(Outcome))


def outcome(kind: str, worlds: int, orders: int = ORDERS) -> Outcome:
    """Refine worlds of one kind."""
    chance, rows = np.random.default_rng(7), []
    for _ in range(worlds):
        world = KINDS[kind](kind, chance)
        done = world.refined()
        zone = done.rounds[-1].zone
        if zone is None or zone.left is None or zone.right is None:
            narrow, holds, width = zone is None, zone is None and not world.crossings, 1.0
        else:
            low, high = SIZES[zone.left], SIZES[zone.right]
            narrow, width = not zone.gaps, high / low
            holds = all(low <= crossing <= high for crossing in world.crossings) and bool(world.crossings)
        sets = {world.arriving(order) for order in range(orders)} | {done.asked}
        rows.append((len(done.asked) / len(SIZES), narrow, holds, math.log(width), len(sets)))
    mean, most = np.mean(rows, axis=0), np.max(rows, axis=0)
    return Outcome(*map(float, (mean[0], most[0], mean[1], mean[2], math.exp(mean[3]))), orders=int(most[4]))


def main() -> None:
    options = parser(__doc__, 1)
    options.add_argument("--worlds", type=int, default=300, help="of each kind")
    given = options.parse_args()
    worlds = 8 if given.quick else given.worlds
    with Results("refine", given.json, ("kind", *COLUMNS), ("numpy",)) as results:
        for kind in KINDS:
            results.add(kind=kind, **asdict(outcome(kind, worlds)))


if __name__ == "__main__":
    main()
