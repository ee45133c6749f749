"""The interval-censored line: against brute force, closed cases, and simulated growth of known slope."""

import numpy as np
import pytest
from scipy.optimize import brute, fmin
from scipy.stats import norm

from difgen_cli.report.study import lognormal

SIZES = np.array([8.0, 16, 32, 64, 128, 256])
GRID = 60 * 2.0 ** np.arange(9)


def between(tau: np.ndarray, grid: np.ndarray = GRID) -> tuple[np.ndarray, np.ndarray]:
    """The snapshots that each τ lies between."""
    k = np.searchsorted(grid, tau)
    edges = np.concatenate([[0.0], grid, [np.inf]])
    return edges[k], edges[k + 1]


def log_likelihood(line: lognormal.FittedLine, sizes: np.ndarray, low: np.ndarray, high: np.ndarray) -> float:
    """Σ log P(low < τ ≤ high) under the line, as the search for it has it."""
    with np.errstate(divide="ignore"):
        ends = np.log(low), np.log(high)
    scaled = np.array([1, line.intercept, line.slope]) / line.scatter
    return -lognormal.loss(scaled, np.log(sizes), *ends)[0]


def by_brute_force(sizes: np.ndarray, low: np.ndarray, high: np.ndarray, least: float) -> tuple[np.ndarray, float]:
    """Maximum likelihood written down as it is defined, over a grid of starts and a simplex."""

    def loss(values: np.ndarray) -> float:
        slope, intercept, extra = values
        place = intercept + slope * np.log(sizes)
        with np.errstate(divide="ignore"):
            scale = least + abs(extra)
            share = norm.cdf(np.log(high), place, scale) - norm.cdf(np.log(low), place, scale)
            return float(-np.log(share).sum())

    start = brute(loss, ((-1, 2), (-2, 8), (0, 1)), Ns=13, finish=None)
    for _ in range(3):
        start = fmin(loss, start, xtol=1e-10, ftol=1e-13, maxiter=4000, maxfun=8000, disp=False)
    return start, -loss(start)


@pytest.mark.parametrize("seed", range(4))
def test_the_fit_is_the_maximum_that_brute_force_finds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    low, high = between(np.exp(2.5 + 0.9 * np.log(SIZES) + 0.7 * rng.standard_normal(len(SIZES))))
    line = lognormal.fit(SIZES, low, high)
    assert line is not None
    least = lognormal.finest(low, high)
    (slope, intercept, extra), height = by_brute_force(SIZES, low, high, least)
    assert log_likelihood(line, SIZES, low, high) == pytest.approx(height, abs=1e-7)
    assert line.slope == pytest.approx(slope, abs=2e-4)
    assert line.intercept == pytest.approx(intercept, abs=1e-3)
    assert line.scatter == pytest.approx(least + abs(extra), abs=1e-3)


def test_the_likelihood_is_the_sum_of_log_probabilities_also_far_in_the_tails() -> None:
    low, high = np.array([0.0, 10, 40, 0.02]), np.array([5.0, 20, np.inf, 0.04])
    line = lognormal.FittedLine(0.5, 1.0, 0.4, 0.0)
    place = 1.0 + 0.5 * np.log(SIZES[:4])
    with np.errstate(divide="ignore"):
        upper = norm.sf(np.log(low), place, 0.4) - norm.sf(np.log(high), place, 0.4)
        lower = norm.cdf(np.log(high), place, 0.4) - norm.cdf(np.log(low), place, 0.4)
    expected = np.log(np.maximum(upper, lower)).sum()
    assert log_likelihood(line, SIZES[:4], low, high) == pytest.approx(expected, rel=1e-9)
    farther = log_likelihood(line, SIZES[:2], np.array([1e-12, 1e12]), np.array([1e-11, 1e13]))
    assert np.isfinite(farther)
    assert farther < -1000


def test_intervals_about_an_exact_line_give_its_slope() -> None:
    tau = 7 * SIZES**0.8
    line = lognormal.fit(SIZES, tau / 1.2, tau * 1.2)
    assert line is not None
    assert line.slope == pytest.approx(0.8, abs=1e-6)
    assert np.exp(line.intercept) == pytest.approx(7, rel=1e-5)
    assert line.scatter == pytest.approx(2 * np.log(1.2) / np.sqrt(12)), "held at what the snapshots resolve"


def test_censored_sizes_move_the_line_towards_what_is_known_of_them() -> None:
    tau = 50 * np.ones(4)
    flat = lognormal.fit(SIZES[:4], tau / 1.4, tau * 1.4)
    later = lognormal.fit(SIZES, np.append(tau / 1.4, [400, 400]), np.append(tau * 1.4, [np.inf, np.inf]))
    earlier = lognormal.fit(SIZES, np.append(tau / 1.4, [0, 0]), np.append(tau * 1.4, [10, 10]))
    assert flat is not None
    assert later is not None
    assert earlier is not None
    assert flat.slope == pytest.approx(0, abs=1e-6)
    assert later.slope > 0.2
    assert earlier.slope < -0.2


def test_right_censored_sizes_left_out_would_bias_the_slope() -> None:
    rng = np.random.default_rng(1)
    kept, dropped = [], []
    for _ in range(60):
        low, high = between(np.exp(2.2 + 1.0 * np.log(SIZES) + 0.5 * rng.standard_normal(6)), 60 * 2.0 ** np.arange(5))
        known = np.isfinite(high)
        both = lognormal.fit(SIZES, low, high), lognormal.fit(SIZES[known], low[known], high[known])
        if both[0] and both[1] and not known.all():
            kept.append(both[0].slope)
            dropped.append(both[1].slope)
    assert abs(np.mean(kept) - 1) < 0.12
    assert np.mean(dropped) < np.mean(kept) - 0.1


@pytest.mark.parametrize(
    ("low", "high"),
    [
        ([10, 20, 0, 0], [20, 40, 5, 5]),
        ([10, 20, 80, 160], [20, 40, np.inf, np.inf]),
        ([0, 0, 0, 0], [np.inf] * 4),
    ],
)
def test_fewer_than_three_sizes_with_both_ends_give_no_slope(low: list[float], high: list[float]) -> None:
    assert lognormal.fit(SIZES[:4], np.array(low, float), np.array(high, float)) is None


def test_three_seeds_of_one_size_are_one_size() -> None:
    assert lognormal.fit(np.full(3, 8.0), np.full(3, 10.0), np.full(3, 20.0)) is None
