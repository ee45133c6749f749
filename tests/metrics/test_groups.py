"""Intervals of shares where samples come in groups."""

import numpy as np
import pytest

from difgen_cli.metrics import wilson
from difgen_cli.metrics._groups import bounds, effective, freedom, on_logit, share_interval


def test_without_groups_it_is_wilsons() -> None:
    hits = np.random.default_rng(0).random(300) < 0.2
    assert share_interval(hits, None) == wilson(hits.sum(), 300)
    assert share_interval(hits, None, 0.975) == wilson(hits.sum(), 300, 0.975)


def test_groups_that_hit_wholly_or_not_at_all_are_as_many_draws() -> None:
    hits = np.repeat(np.arange(20) < 7, 50)
    groups = np.repeat(np.arange(20), 50)
    assert share_interval(hits, groups) == pytest.approx(wilson(7, 20))
    assert share_interval(~hits, groups[::-1].copy()) == pytest.approx(wilson(13, 20))


@pytest.mark.parametrize("agree", [0, 1])
def test_where_all_samples_agree_there_are_as_many_draws_as_groups_that_weigh_the_same(agree: int) -> None:
    groups = np.repeat(np.arange(6), [10, 10, 10, 10, 10, 50])
    worth = 1 / (5 * 0.1**2 + 0.5**2)
    lower, upper = share_interval(np.full(100, agree), groups)
    assert (lower, upper) == pytest.approx(wilson(agree * worth, worth))
    assert upper == 1 if agree else lower == 0


def test_independent_samples_in_many_groups_have_nearly_wilsons_interval() -> None:
    rng = np.random.default_rng(1)
    hits, groups = rng.random(20_000) < 0.3, np.arange(20_000) % 400
    assert share_interval(hits, groups) == pytest.approx(wilson(hits.sum(), 20_000), abs=0.002)


def test_names_and_order_of_groups_do_not_matter() -> None:
    rng = np.random.default_rng(2)
    hits, groups = rng.random(300), rng.integers(0, 12, 300)
    order, names = rng.permutation(300), rng.permutation(100)[:12]
    assert share_interval(hits[order], names[groups[order]]) == pytest.approx(share_interval(hits, groups))


def test_below_five_groups_there_is_no_interval() -> None:
    hits = np.arange(100) % 3 == 0
    assert share_interval(hits, np.arange(100) % 4) == (None, None)
    assert None not in share_interval(hits, np.arange(100) % 5)


def test_degrees_of_freedom_follow_from_the_spread_of_the_squares() -> None:
    assert freedom(np.random.default_rng(0).standard_normal(5000)) == pytest.approx(5000, rel=0.15)
    assert freedom(np.array([1.0, -1, 1, -1])) > 1e6  # as of a fair coin, whose variance is known
    assert freedom(np.array([1.0, 0, 0, 0, 0, 0])) == 2
    assert effective(np.full(8, 1 / 8)) == pytest.approx(8)
    assert effective(np.array([1.0, 0, 0])) == 1


def test_few_units_show_no_share_near_0_or_1() -> None:
    assert bounds(10) == pytest.approx((wilson(0, 10)[1], wilson(10, 10)[0]))
    assert on_logit(0.999, 1e-9, 5, 10)[0] == pytest.approx(wilson(10, 10)[0])
    assert on_logit(0.5, 1e-9, 1e9, 10) == pytest.approx((0.5, 0.5), abs=1e-3)
    assert on_logit(1.0, 0.0, 5, 10) == (pytest.approx(wilson(10, 10)[0]), 1.0)


@pytest.mark.parametrize("correlation", [0.0, 0.2, 1.0])
def test_intervals_over_groups_cover_where_wilsons_does_not(correlation: float) -> None:
    """20 prompts of 50 samples: Wilson's interval covers .26 where the samples of a prompt all hit or none does."""
    rng, groups, covered, plain = np.random.default_rng(3), np.repeat(np.arange(20), 50), 0, 0
    for _ in range(300):
        own = np.full(20, 0.4)
        if correlation == 1:
            own = (rng.random(20) < 0.4).astype(float)
        elif correlation:
            own = rng.beta(0.4 * (1 / correlation - 1), 0.6 * (1 / correlation - 1), 20)
        hits = rng.random(1000) < own[groups]
        lower, upper = share_interval(hits, groups)
        covered += lower <= 0.4 <= upper
        low, high = share_interval(hits, None)
        plain += low <= 0.4 <= high
    assert 0.91 < covered / 300 < 0.99
    assert plain / 300 < {0.0: 1, 0.2: 0.6, 1.0: 0.35}[correlation]
