"""Forecasts of copying held against what was left out: simulated studies whose largest size is hidden.

    python benchmarks/onset_forecast.py [--studies 200] [--only WORLD] [--json] [--quick]

A world says how log tau_mem of a training depends on its setting, how far settings and seeds scatter about that, and
at which snapshots it was looked at. Of each study the intervals between snapshots are drawn, the largest size is left
out, and `difgen forecast`'s regression predicts it. `coverage`: probability that a new training of the hidden size lies
in the 95 % prediction interval, mean over studies. `copied`: probability that it copies before the steps that are said
for a risk of 5 %. `said`, `held`: the confidence that is said with these steps, and how often the share that copies by
then was at most 5 %. `sure`: how often it was for the steps with a confidence of 95 %. `width`: of the interval, as a
factor, the median. Worlds that begin with `not` break what the regression assumes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from measuring import Results, parser
from scipy.stats import norm

from difgen_cli.report.study import censored
from difgen_cli.report.study.onset_forecast import CONFIDENCE

COLUMNS = ("world", "studies", "censored", "coverage", "copied", "said", "held", "sure", "width")
RISK = 0.05
SIZES = (16, 32, 64, 128, 256, 512, 1024)


def line(size: np.ndarray, width: np.ndarray) -> np.ndarray:
    """log tau_mem: the onset goes as N, and as width to the power −0.5."""
    return np.asarray(np.log(60) + np.log(size / 16) - 0.5 * np.log(width / 64))


def bent(size: np.ndarray, width: np.ndarray) -> np.ndarray:
    """The exponent grows from 0.6 at N = 16 to 1.4 at N = 1,024."""
    x = np.log(size / 16) / np.log(64)
    return np.asarray(np.log(60) + np.log(64) * (0.6 * x + 0.4 * x**2))


def broken(size: np.ndarray, width: np.ndarray) -> np.ndarray:
    """The exponent is 1 up to N = 512 and 2 beyond."""
    return line(size, width) + np.log(np.maximum(size / 512, 1))


def flattening(size: np.ndarray, width: np.ndarray) -> np.ndarray:
    """The exponent is 1 up to N = 512 and 0.3 beyond: copying sets in earlier than the power law says."""
    return line(size, width) - 0.7 * np.log(np.maximum(size / 512, 1))


@dataclass(frozen=True)
class Study:
    """One world. between, within: scatter of settings and seeds (natural logarithms). last: the furthest snapshot."""

    name: str
    sizes: tuple[int, ...] = SIZES
    widths: tuple[int, ...] = (64,)
    between: float = 0.0
    within: float = 0.2
    seeds: int = 3
    apart: float = 2**0.5  # one snapshot over the one before
    last: float = 16_000
    middle: Callable[[np.ndarray, np.ndarray], np.ndarray] = field(default=line)
    tails: float | None = None  # degrees of freedom of the seeds' scatter

    def times(self, chance: np.random.Generator) -> censored.Times:
        """A study without its largest size."""
        settings = np.array([(n, w) for n in self.sizes[:-1] for w in self.widths], float)
        effects = self.middle(*settings.T) + self.between * chance.standard_normal(len(settings))
        setting = np.repeat(np.arange(len(settings)), self.seeds)
        noise = chance.standard_normal(len(setting)) if self.tails is None else self._heavy(chance, len(setting))
        low, high = looked_at(np.exp(effects[setting] + self.within * noise), self.apart, self.last)
        return censored.Times(np.log(settings[:, : 1 + (len(self.widths) > 1)]), setting, low, high)

    def _heavy(self, chance: np.random.Generator, count: int) -> np.ndarray:
        assert self.tails is not None
        return chance.standard_t(self.tails, count) / np.sqrt(self.tails / (self.tails - 2))

    def share_before(self, time: float, size: float, width: float, chance: np.random.Generator) -> float:
        """P(tau < time) of a new training in a new setting."""
        middle = float(self.middle(np.array(size), np.array(width)))
        off = np.log(max(time, 1e-9)) - middle
        if self.tails is None:
            return float(norm.cdf(off / np.hypot(self.between, self.within)))
        drawn = self.between * chance.standard_normal(20_000) + self.within * self._heavy(chance, 20_000)
        return float((drawn < off).mean())


def looked_at(onsets: np.ndarray, apart: float, last: float) -> tuple[np.ndarray, np.ndarray]:
    """The snapshots that onsets lie between: 0 before the first, ∞ where two never hold."""
    steps = 32 * apart ** np.arange(int(np.log(last / 32) / np.log(apart) + 1.5))
    after = np.searchsorted(steps, onsets)
    seen = after < len(steps) - 1  # copying is seen at two consecutive snapshots
    low = np.where(after > 0, steps[np.minimum(after, len(steps) - 1) - 1], 0.0)
    high = np.where(seen, steps[np.minimum(after, len(steps) - 1)], np.inf)
    return np.where(seen, low, steps[np.minimum(after, len(steps) - 1) - 1]), high


WORLDS = (
    Study("on the line"),
    Study("settings scatter too", between=0.2),
    Study("settings scatter alone", between=0.3, within=0.05),
    Study("one seed", between=0.1, seeds=1),
    Study("four sizes", sizes=(16, 32, 64, 128, 256), between=0.1),
    Study("two widths", widths=(64, 256), between=0.1),
    Study("coarse snapshots", apart=4, between=0.1),
    Study("a third never copies", last=700, between=0.1),
    Study("not: heavy tails (t, 3)", tails=3, between=0.1),
    Study("not: exponent grows .6 to 1.4", middle=bent, between=0.1),
    Study("not: exponent doubles unseen", middle=broken, between=0.1),
    Study("not: exponent falls to .3 unseen", middle=flattening, between=0.1),
)


def forecasts(world: Study, studies: int) -> dict[str, float]:
    """The measurements of one world."""
    rows = []
    logs = np.log([world.sizes[-1], *world.widths[-1:]][: 1 + (len(world.widths) > 1)])
    for k in range(studies):
        chance = np.random.default_rng((k, len(world.name)))
        times = world.times(chance)
        posterior = censored.draws(times, k)

        def before(time: float, chance: np.random.Generator = chance) -> float:
            return world.share_before(time, world.sizes[-1], world.widths[-1], chance)

        low, high, steps = (posterior.quantile(q, logs) for q in (0.025, 0.975, RISK))
        sure = posterior.with_confidence(RISK, CONFIDENCE, logs)
        rows.append((
            np.isinf(times.high).mean() + (times.low == 0).mean(), before(high) - before(low), before(steps),
            (posterior.share_before(steps, logs) <= RISK).mean(), before(steps) <= RISK, before(sure) <= RISK,
            high / low,
        ))  # fmt: skip
    names = ("censored", "coverage", "copied", "said", "held", "sure")
    means = dict(zip(names, np.mean(rows, axis=0)[:-1].tolist(), strict=True))
    return means | {"width": float(np.median([row[-1] for row in rows]))}


def main() -> None:
    own = parser(__doc__, 1)
    own.add_argument("--studies", type=int, default=200)
    own.add_argument("--only", help="worlds whose name has this in it", default="")
    given = own.parse_args()
    studies = 3 if given.quick else given.studies
    with Results("onset_forecast", given.json, COLUMNS) as results:
        for world in WORLDS:
            if given.only in world.name:
                results.add(world=world.name, studies=studies, **forecasts(world, studies))


if __name__ == "__main__":
    main()
