"""The least epsilon of one run: its closed form, its coverage in worlds of known epsilon, and what would break it."""

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import binom

from difgen_cli.metrics._epsilon import chance_of, least, most, right_guesses

WORLDS = 400
EPSILONS = (0.0, 0.5, 1.0, 2.0, 4.0)
SURELY = 1e-4  # chance that a bound which covers 95 % looks worse


def table(canaries: int, guesses: int, seeds: int = 1, delta: float = 0.0) -> np.ndarray:
    """The bound of every count of right guesses."""
    return np.array([
        least(v, seeds * guesses, canaries=seeds * canaries, delta=delta) for v in range(seeds * guesses + 1)
    ])  # fmt: skip


def right_with(epsilon: float) -> float:
    """How often a guess is right by randomised response, the worst case of all that is epsilon-private."""
    return float(np.exp(epsilon) / (1 + np.exp(epsilon)))


def covers(bounds: np.ndarray, epsilon: float) -> bool:
    """Whether worlds are as those of a bound that is above the truth in 5 % of them at most."""
    return int((bounds <= epsilon + 1e-9).sum()) >= binom.ppf(SURELY, len(bounds), 0.95)


@pytest.mark.parametrize(
    ("canaries", "epsilon"), [(8, 0.79), (16, 1.58), (32, 2.32), (64, 3.04), (128, 3.74), (256, 4.44), (1000, 5.81)]
)
def test_the_most_that_canaries_can_show(canaries: int, epsilon: float) -> None:
    """All guesses right has the chance q^m, so that q = 0.05^(1/m)."""
    share = 0.05 ** (1 / canaries)
    assert most(canaries) == pytest.approx(np.log(share / (1 - share)), rel=1e-9)
    assert round(most(canaries), 2) == epsilon


@pytest.mark.parametrize(("right", "guesses"), [(30, 32), (40, 50), (33, 50), (200, 256), (1, 1)])
def test_the_bound_is_where_the_binomial_tail_has_its_level(right: int, guesses: int) -> None:
    def beyond(epsilon: float) -> float:
        return float(binom.sf(right - 1, guesses, right_with(epsilon))) - 0.05

    by_search = brentq(beyond, 0, 50) if beyond(0) < 0 else 0.0
    assert least(right, guesses) == pytest.approx(by_search, abs=1e-8)


def test_few_right_guesses_show_nothing_and_wrong_counts_are_refused() -> None:
    assert [least(v, 20) for v in (0, 5, 10, 14)] == [0, 0, 0, 0]  # P(B >= 14) = .058 by coins alone
    assert least(15, 20) > 0
    for counts in ((21, 20, 30), (10, 31, 30), (-1, 20, 30)):
        with pytest.raises(ValueError, match="none may exceed the next"):
            least(*counts[:2], canaries=counts[2])


@pytest.mark.parametrize("canaries", [32, 64, 256, 1000])
@pytest.mark.parametrize("epsilon", EPSILONS)
def test_it_covers_randomised_response(canaries: int, epsilon: float) -> None:
    right = np.random.default_rng((canaries, int(10 * epsilon))).binomial(canaries, right_with(epsilon), WORLDS)
    bounds = table(canaries, canaries)[right]
    assert covers(bounds, epsilon)
    if canaries == 1000:
        assert bounds.mean() >= 0.7 * epsilon
        if epsilon in (1, 2):
            assert bounds.mean() == pytest.approx({1: 0.88, 2: 1.84}[int(epsilon)], abs=0.02)


@pytest.mark.parametrize("epsilon", EPSILONS)
def test_pooled_seeds_are_covered_and_show_more(epsilon: float) -> None:
    right = np.random.default_rng(3).binomial(256, right_with(epsilon), (WORLDS, 3))
    pooled, one = table(256, 256, seeds=3)[right.sum(axis=1)], table(256, 256)[right[:, 0]]
    assert covers(pooled, epsilon)
    assert pooled.mean() >= one.mean() - 0.02


def test_the_best_of_several_numbers_of_guesses_covers_too_few() -> None:
    """Scores that know nothing, epsilon 0: any one number covers .95, the best of eight .89."""
    numbers, rng = (4, 8, 12, 16, 24, 32, 48, 64), np.random.default_rng(0)
    tables = {r: table(64, r) for r in numbers}
    best, fixed = [], []
    for _ in range(2000):
        scores, coins = rng.standard_normal(64), rng.random(64) < 0.5
        shown = {r: tables[r][right_guesses(scores, coins, r)] for r in numbers}
        best.append(max(shown.values()))
        fixed.append(shown[16])
    assert covers(np.array(fixed), 0)
    assert np.mean(np.array(best) <= 0) == pytest.approx(0.89, abs=0.03)
    assert not covers(np.array(best), 0)


def test_one_coin_for_many_canaries_is_no_bound() -> None:
    """Why each image needs a coin of its own: eight together are right or wrong together."""
    together = 8 * np.random.default_rng(0).binomial(8, right_with(1), WORLDS)
    assert not covers(table(64, 64)[together], 1)


def test_delta_falls_to_the_plain_bound_and_lowers_it() -> None:
    bounds = [least(90, 100, canaries=500, delta=delta) for delta in (0, 1e-12, 1e-6, 1e-5, 1e-4, 1e-2)]
    assert bounds == sorted(bounds, reverse=True)
    assert bounds[1] == pytest.approx(bounds[0], abs=1e-6)
    assert bounds[2] < bounds[0]
    assert bounds[-1] == 0
    assert chance_of(90, 100, 500, bounds[4], 1e-4) == pytest.approx(0.05, abs=1e-6)


def test_the_chance_with_delta_is_the_theorems_word_for_word() -> None:
    m, r, v, epsilon, delta = 40, 30, 22, 0.7, 1e-3
    share = right_with(epsilon)
    beta, alpha, between = float(binom.sf(v - 1, r, share)), 0.0, 0.0
    for i in range(1, v + 1):
        between += float(binom.pmf(v - i, r, share))
        alpha = max(alpha, between / i)
    assert chance_of(v, r, m, epsilon, delta) == pytest.approx(beta + 2 * m * delta * alpha, rel=1e-9)


@pytest.mark.parametrize("leak", [0.0, 0.002])
def test_it_covers_what_is_private_but_for_delta(leak: float) -> None:
    """Randomised response that gives an image away with chance delta is (epsilon, delta)-private."""
    m, epsilon, rng = 200, 1.0, np.random.default_rng(5)
    share = leak + (1 - leak) * right_with(epsilon)
    bounds = table(m, m, delta=leak)[rng.binomial(m, share, WORLDS)]
    assert covers(bounds, epsilon)
    assert bounds.mean() > 0.1


def test_a_canary_of_k_rows_has_the_epsilon_of_a_group() -> None:
    assert least(120, 128, rows=16) == least(120, 128) / 16


def test_the_highest_scores_are_said_to_be_trained_on_and_the_lowest_not() -> None:
    scores = np.array([5.0, 1.0, 4.0, 2.0, 3.0])
    coins = np.array([True, False, False, False, True])
    assert [right_guesses(scores, coins, r) for r in range(1, 6)] == [1, 2, 2, 3, 4]
    assert right_guesses(np.zeros(4), np.array([True, True, False, False]), 4) == 4  # ties go by place
