"""The regression of censored onsets: against Student's t, against integration, and in the tails."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import t, truncnorm

from difgen_cli.report.study import censored
from difgen_cli.report.study.censored import Times, draws
from difgen_cli.report.study.lognormal import finest

QUANTILES = (0.025, 0.05, 0.5, 0.95, 0.975)


def test_with_exact_times_and_one_seed_it_is_the_prediction_of_normal_regression() -> None:
    """Student's t with J − 2 degrees of freedom; wide enough for two scatters that cannot be told apart."""
    rng = np.random.default_rng(1)
    x, new = np.log(np.geomspace(16, 512, 12)), np.log(1000.0)
    y = 2 + 0.9 * x + 0.3 * rng.standard_normal(12)
    posterior = draws(Times(x[:, None], np.arange(12), np.exp(y - 0.01), np.exp(y + 0.01)))
    design = np.column_stack([np.ones(12), x])
    best, squares, *_ = np.linalg.lstsq(design, y, rcond=None)
    at = np.array([1, new])
    spread = np.sqrt(squares[0] / 10 * (1 + at @ np.linalg.inv(design.T @ design) @ at))
    for share in QUANTILES:
        expected = at @ best + spread * t.ppf(share, 10)
        assert np.log(posterior.quantile(share, at[1:])) == pytest.approx(expected, abs=0.1 * spread)
    assert np.median(posterior.coefficients, axis=0) == pytest.approx(best, rel=0.05)


def test_wide_intervals_and_both_kinds_of_censoring_are_integrated_over() -> None:
    """The posterior written down as it is defined and summed over a lattice: three parameters, no variable."""
    low = np.array([[0, 40], [40, 80], [80, 80], [40, 160], [160, 80]], float)
    high = np.array([[40, 80], [80, 160], [160, 160], [80, np.inf], [320, 160]], float)
    times = Times(np.zeros((5, 0)), np.repeat(np.arange(5), 2), low.ravel(), high.ravel())
    resolution = finest(low.ravel(), high.ravel())
    middle, between, within = np.meshgrid(
        np.linspace(2, 7, 31), np.geomspace(0.01, 10, 26), np.geomspace(0.01, 8, 30), indexing="ij"
    )
    z, weights = np.polynomial.hermite_e.hermegauss(32)
    likelihood = np.ones_like(middle)
    with np.errstate(divide="ignore"):
        ends = np.log(low), np.log(high)
    for bottoms, tops in zip(*ends, strict=True):
        integral = np.zeros_like(middle)
        for node, weight in zip(z, weights / weights.sum(), strict=True):
            at = middle + between * node
            shares = [
                ndtr((top - at) / within) - ndtr((bottom - at) / within)
                for bottom, top in zip(bottoms, tops, strict=True)
            ]
            integral += weight * np.prod(shares, axis=0)
        likelihood *= integral
    prior = between / (between + within / np.sqrt(2)) * within / (within + resolution)  # of logarithms of scatters
    weight = likelihood * prior / (likelihood * prior).sum()
    posterior = draws(times)
    for share in (0.05, 0.5, 0.95):
        time = posterior.quantile(share, np.zeros(0))
        before = (weight * ndtr((np.log(time) - middle) / np.hypot(between, within))).sum()
        assert before == pytest.approx(share, abs=0.015)
    assert (weight * within).sum() == pytest.approx(posterior.within.mean(), rel=0.06)
    assert (weight * between).sum() == pytest.approx(posterior.between.mean(), rel=0.08)


@pytest.mark.parametrize(
    ("low", "high"), [(-1, 2), (8, 9), (45, 46), (-9, -8.5), (6, np.inf), (-np.inf, -6), (-np.inf, 1)]
)
def test_times_within_an_interval_are_drawn_from_the_normal_law_also_far_in_its_tails(low: float, high: float) -> None:
    ends = np.array([low]), np.array([high])
    mean = np.zeros((20_000, 1))
    drawn = censored._between(np.random.default_rng(0), mean, np.ones((20_000, 1)), *ends)
    share = truncnorm.cdf(drawn.ravel(), low, high)
    assert np.clip(drawn, *ends) == pytest.approx(drawn)
    assert np.quantile(share, [0.1, 0.5, 0.9]) == pytest.approx([0.1, 0.5, 0.9], abs=0.012)


def test_the_confidence_is_of_the_share_that_copies_and_the_same_seed_gives_the_same() -> None:
    rng = np.random.default_rng(2)
    x = np.log(np.geomspace(16, 512, 8))
    y = np.repeat(2 + x, 2) + 0.2 * rng.standard_normal(16)
    times = Times(x[:, None], np.repeat(np.arange(8), 2), np.exp(y - 0.1), np.exp(y + 0.1))
    posterior, at = draws(times, 3), np.log([1000.0])
    for confidence in (0.5, 0.95):
        time = posterior.with_confidence(0.05, confidence, at)
        assert (posterior.share_before(time, at) <= 0.05).mean() == pytest.approx(confidence, abs=0.002)
    assert posterior.with_confidence(0.05, 0.95, at) < posterior.quantile(0.05, at) < posterior.quantile(0.5, at)
    assert draws(times, 3).quantile(0.05, at) == posterior.quantile(0.05, at)
