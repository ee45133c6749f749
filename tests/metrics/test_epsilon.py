"""The least epsilon of one run: its closed form, its coverage in worlds of known epsilon, and what would break it."""

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import binom

from difgen_cli.metrics._epsilon import chance_of, delta_of, epsilon_of, least, least_gaussian, most, right_guesses

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
    together = 8 * np.random.default_rng(0).binomial(8, right_with(1), 10 * WORLDS)
    bounds = table(64, 64)[together]
    assert not covers(bounds, 1)
    assert np.mean(bounds <= 1) == pytest.approx(0.683, abs=0.03)


@pytest.mark.parametrize("epsilon", [0.0, 1.0, 2.0, 4.0])
@pytest.mark.parametrize(("kinds", "seeds"), [(1, 1), (4, 1), (1, 3)])
def test_the_largest_of_repeats_and_kinds_is_covered_where_it_is_corrected(
    epsilon: float, kinds: int, seeds: int
) -> None:
    """Three numbers of repeats and four kinds, each with canaries of its own, all with the epsilon of a group."""
    several = 3 * kinds
    counts = np.random.default_rng((3, kinds, seeds)).binomial(48 * seeds, right_with(epsilon), (10 * WORLDS, several))
    corrected = np.array([least(v, 48 * seeds, level=1 - 0.05 / several) for v in range(48 * seeds + 1)])
    plain = table(48, 48, seeds)
    assert covers(corrected[counts].max(axis=1), epsilon)
    if epsilon < 2:  # above it so few guesses cannot show too much
        assert np.mean(plain[counts].max(axis=1) <= epsilon + 1e-9) < 0.93  # the largest of them as it is
    rows = corrected[counts] / np.array([1, 4, 16] * kinds)
    assert covers(rows.max(axis=1), epsilon)  # a group of k rows has k times the epsilon of a row at most


def test_a_group_of_rows_is_covered_where_each_row_has_its_share() -> None:
    """Rows of epsilon 0.25, and guesses of groups of 1, 4 and 16 of them that are right as often as is possible."""
    repeats, rng = np.array([1, 4, 16]), np.random.default_rng(4)
    right = rng.binomial(96, [right_with(0.25 * k) for k in repeats], (10 * WORLDS, 3))
    bounds = np.array([[least(v, 96, rows=int(k), level=1 - 0.05 / 3) for v in range(97)] for k in repeats])
    of_row = np.stack([bounds[level][right[:, level]] for level in range(3)], axis=1)
    assert covers(of_row.max(axis=1), 0.25)
    assert of_row[:, 2].mean() > 2 * of_row[:, 0].mean()  # more repeats show more of a row


def test_the_best_of_five_snapshots_is_covered_where_it_is_corrected() -> None:
    """Epsilon 0, snapshots that know nothing of one another: uncorrected the best of them covers .83."""
    right = np.random.default_rng(0).binomial(16, 0.5, (10 * WORLDS, 5))
    best = table(64, 16)[right].max(axis=1)
    assert np.mean(best <= 0) == pytest.approx(0.83, abs=0.03)
    assert not covers(best, 0)
    corrected = np.array([least(v, 16, level=1 - 0.05 / 5) for v in range(17)])
    assert covers(corrected[right].max(axis=1), 0)


@pytest.mark.parametrize(
    ("right", "guesses", "canaries", "mu", "epsilon"),
    [
        (60, 64, 256, 0.768917, 3.237296), (64, 64, 256, 1.228166, 5.563042), (48, 51, 1000, 0.613111, 2.505140),
        (90, 100, 500, 0.656673, 2.706784), (24, 24, 24, 1.156505, 5.184272), (33, 50, 50, 0.083672, 0.280547),
    ],
)  # fmt: skip
def test_the_bound_of_gaussian_privacy_is_that_of_an_independent_code(
    right: int, guesses: int, canaries: int, mu: float, epsilon: float
) -> None:
    """Written from the paper's algorithm, and equal to jax_privacy's to four digits in five cases."""
    shown = least_gaussian(right, guesses, canaries)
    assert shown == pytest.approx(mu, rel=1e-5)
    assert epsilon_of(shown, 1e-5) == pytest.approx(epsilon, rel=1e-5)


def test_epsilon_and_delta_of_gaussian_privacy_belong_together() -> None:
    assert epsilon_of(2, 1e-5) == pytest.approx(9.997, abs=1e-3)
    for mu in (0.1, 1.0, 6.0, 30.0):
        assert delta_of(mu, epsilon_of(mu, 1e-5)) == pytest.approx(1e-5, rel=1e-6)
    assert epsilon_of(0.0, 1e-5) == epsilon_of(1e-6, 1e-5) == 0
    assert least_gaussian(10, 20, 40) == 0
    with pytest.raises(ValueError, match="none may exceed the next"):
        least_gaussian(5, 4, 10)


@pytest.mark.parametrize("mu", [0.0, 1.0, 2.0, 4.0])
def test_it_covers_a_gaussian_procedure_and_shows_more_of_it(mu: float) -> None:
    """Scores of a canary are normal, and μ higher where it is planted: its epsilon at δ = 1e-5 is known."""
    m, r, rng = 256, 64, np.random.default_rng((7, int(mu)))
    gauss = np.array([epsilon_of(least_gaussian(v, r, m), 1e-5) for v in range(r + 1)])
    plain = np.array([least(v, r, canaries=m, delta=1e-5) for v in range(r + 1)])
    coins = rng.random((WORLDS, m)) < 0.5
    scores = mu * coins + rng.standard_normal((WORLDS, m))
    top = np.argsort(-np.abs(scores - mu / 2), axis=1)[:, :r]
    right = (np.take_along_axis(scores > mu / 2, top, 1) == np.take_along_axis(coins, top, 1)).sum(axis=1)
    assert covers(gauss[right], epsilon_of(mu, 1e-5))
    if mu == 2:
        assert gauss[right].mean() == pytest.approx(4.75, abs=0.12)
        assert plain[right].mean() == pytest.approx(2.62, abs=0.06)


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
