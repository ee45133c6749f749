"""How many seeds and samples decide: known answers by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from random_studies import wilson

from difgen_cli.report.study import power


@pytest.mark.parametrize(("mean", "spread", "n"), [(1.0, 1.0, 10), (0.5, 1.0, 10), (1.0, 0.4, 4), (0.0, 1.0, 5)])
def test_the_power_of_seeds_is_that_of_simulated_studies(mean: float, spread: float, n: int) -> None:
    from scipy.special import stdtrit

    draws = np.random.default_rng(1).normal(mean, spread, (200_000, n))
    low = draws.mean(axis=1) - stdtrit(n - 1, 0.975) * draws.std(axis=1, ddof=1) / np.sqrt(n)
    assert power.of_seeds(mean, spread, n) == pytest.approx(float((low > 0).mean()) if mean else 0.0, abs=0.004)


@pytest.mark.parametrize(("share", "control", "n"), [(0.02, 0.0126, 800), (0.02, 0.0126, 3200), (0.5, 0.45, 400)])
def test_the_power_of_samples_is_that_of_simulated_studies(share: float, control: float, n: int) -> None:
    counts = np.random.default_rng(2).binomial(n, share, 20_000)
    above = {count: wilson(count, n)[0] > control for count in np.unique(counts)}
    assert power.of_samples(share, control, n) == pytest.approx(np.mean([above[c] for c in counts]), abs=0.012)


def test_the_numbers_needed_are_the_first_with_enough_power() -> None:
    needed = power.seeds_needed(1.0, 1.0, 3)
    assert needed
    assert power.of_seeds(1.0, 1.0, needed - 1) < power.POWER <= power.of_seeds(1.0, 1.0, needed)
    assert power.seeds_needed(0.01, 1.0, 3) is None
    assert power.samples_needed(0.01, 0.0126, 400) is None, "more samples do not move the control"
