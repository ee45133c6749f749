"""Intervals that are widened for a choice: never narrower than the exact ones of shares at that level."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import betaincinv, expit, logit, ndtri

from difgen_cli.gate.intervals import widened
from difgen_cli.metrics import wilson

CHANCES = (2, 3, 5, 10, 50)


def clopper_pearson(x: int, n: int, level: float) -> tuple[float, float]:
    tail = (1 - level) / 2
    lower = 0.0 if x == 0 else float(betaincinv(x, n - x + 1, tail))
    return lower, 1.0 if x == n else float(betaincinv(x + 1, n - x, 1 - tail))


@pytest.mark.parametrize("exact", [wilson, clopper_pearson])
def test_no_interval_of_a_share_is_narrower_than_that_of_the_corrected_level(exact: object) -> None:
    assert callable(exact)
    looser = []
    for n in (20, 200, 5000):
        for x in sorted({0, 1, 2, n // 20, n // 3, n - 1, n}):
            for k in CHANCES:
                wanted = exact(x, n, 1 - 0.05 / k)
                given = widened(x / n, *exact(x, n, 0.95), k, True)
                assert given[0] <= wanted[0] + 1e-12, (n, x, k)
                assert given[1] >= wanted[1] - 1e-12, (n, x, k)
                looser.append((given[1] - given[0]) / (wanted[1] - wanted[0]))
    assert np.median(looser) < 1.6  # and not wide without need


def test_no_interval_on_the_logit_is_narrower_either() -> None:
    for value in (0.05, 0.3, 0.5, 0.7, 0.95):
        for error in (0.05, 0.2, 0.5):
            for k in CHANCES:
                ends = [float(expit(logit(value) + sign * ndtri(0.975) * error)) for sign in (-1, 1)]
                wanted = [float(expit(logit(value) + sign * ndtri(1 - 0.025 / k) * error)) for sign in (-1, 1)]
                lower, upper = widened(value, ends[0], ends[1], k, False)
                assert lower <= wanted[0], (value, error, k)
                assert upper >= wanted[1], (value, error, k)


def test_one_model_changes_nothing() -> None:
    assert widened(0.3, 0.2, 0.5, 1, True) == (0.2, 0.5)


def test_a_share_stays_within_its_bounds() -> None:
    assert widened(0.5, 0.01, 0.99, 50, True) == (0.0, 1.0)
