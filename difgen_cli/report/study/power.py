"""How many seeds, or samples, it takes until an interval decides, where the truth is as it was estimated."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import bdtrc, nctdtr, stdtrit

from difgen_cli.report.study import seeds

POWER = 0.8  # probability that the interval decides
MOST_SEEDS = 24
MOST_TIMES = 8  # as many samples as there are


def of_seeds(mean: float, spread: float, n: int) -> float:
    """The probability that a 95 % t interval of n paired changes leaves 0 out on the side of their true mean.

    spread: their deviation. 0 below two seeds; 1 where there is no spread.
    """
    if n < 2 or not mean:
        return 0.0
    if not spread:
        return 1.0
    return float(1 - nctdtr(n - 1, abs(mean) / spread * math.sqrt(n), stdtrit(n - 1, 0.975)))


def seeds_needed(mean: float, spread: float, present: int) -> int | None:
    """The least number of seeds above those present with a power of 0.8; None where even 24 are too few."""
    numbers = range(max(present + 1, 2), MOST_SEEDS + 1)
    return next((n for n in numbers if of_seeds(mean, spread, n) >= POWER), None)


def of_samples(share: float, control: float, n: int) -> float:
    """The probability that Wilson's 95 % interval of n samples with this true share lies above the control's end."""
    counts = np.arange(n + 1)
    lower, _ = seeds.wilson(counts / n, np.full(n + 1, seeds.Z2 / n))
    above = np.flatnonzero(lower > control)
    if not len(above):
        return 0.0
    return 1.0 if above[0] == 0 else float(bdtrc(int(above[0]) - 1, n, share))


def samples_needed(share: float, control: float, present: int) -> int | None:
    """The least doubling of the present number of samples with a power of 0.8; None where eight times are too few.

    control: upper end of the interval of held-out images, which more samples do not move.
    """
    if not share > control:
        return None
    doublings = (2**k * present for k in range(1, MOST_TIMES.bit_length()))
    return next((n for n in doublings if of_samples(share, control, n) >= POWER), None)
