"""AUROC and shares at few false alarms: peers, brute force, and how often the intervals hold the truth."""

import numpy as np
import pytest
from scipy.stats import binomtest, norm
from sklearn.metrics import roc_auc_score, roc_curve

from difgen_cli.metrics._ranks import auroc, clopper_pearson, found_at


def groups(seed: int, n: int, m: int, ties: bool) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    positives, negatives = rng.standard_normal(n) + 0.7, rng.standard_normal(m)
    return (positives.round(1), negatives.round(1)) if ties else (positives, negatives)


def labelled(positives: np.ndarray, negatives: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.repeat([1, 0], [len(positives), len(negatives)]), np.concatenate([positives, negatives])


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(("n", "m"), [(3, 4), (50, 50), (700, 200)])
def test_the_auroc_is_that_of_scikit_learn(n: int, m: int, ties: bool) -> None:
    positives, negatives = groups(n, n, m, ties)
    assert auroc(positives, negatives).value == pytest.approx(roc_auc_score(*labelled(positives, negatives)), abs=1e-12)


@pytest.mark.parametrize("ties", [False, True])
def test_the_interval_is_delongs_on_the_logit_scale(ties: bool) -> None:
    """By brute force from DeLong et al. 1988: the covariances of the components over all pairs."""
    positives, negatives = groups(3, 4000, 3000, ties)
    kernel = (positives[:, None] > negatives) + (positives[:, None] == negatives) / 2
    value = kernel.mean()
    error = np.sqrt(kernel.mean(axis=1).var(ddof=1) / 4000 + kernel.mean(axis=0).var(ddof=1) / 3000)
    logit, step = np.log(value / (1 - value)), norm.ppf(0.975) * error / (value * (1 - value))
    found = auroc(positives, negatives)
    assert found.value == pytest.approx(value, abs=1e-12)
    assert found.lower == pytest.approx(1 / (1 + np.exp(step - logit)), rel=1e-4)
    assert found.upper == pytest.approx(1 / (1 + np.exp(-step - logit)), rel=1e-4)


@pytest.mark.parametrize(("n", "truth"), [(8, 0.5), (8, 0.9), (16, 0.97), (100, 0.5), (100, 0.9), (400, 0.97)])
def test_the_interval_covers_the_truth(n: int, truth: float) -> None:
    rng, shift, covered = np.random.default_rng(n), np.sqrt(2) * norm.ppf(truth), 0
    for _ in range(500):
        found = auroc(rng.standard_normal(n) + shift, rng.standard_normal(n))
        assert found.lower is not None
        assert found.upper is not None
        covered += found.lower <= truth <= found.upper
    assert covered >= 0.92 * 500
    assert covered <= 0.98 * 500 or n < 20  # with few images it may be wide


def test_groups_apart_have_an_interval_of_evidence_and_not_of_spread() -> None:
    """Newcombe 2006, method 5: the bound solves (1 − θ)² = z² θ(1−θ)[1 + (N*−1)((1−θ)/(2−θ) + θ/(1+θ))]/mn."""
    found = auroc(np.arange(20) + 100.0, np.arange(30.0))
    assert (found.value, found.upper) == (1, 1)
    theta = found.lower
    assert theta is not None
    spread = 1 + 24 * ((1 - theta) / (2 - theta) + theta / (1 + theta))
    assert (1 - theta) ** 2 == pytest.approx(norm.ppf(0.975) ** 2 * theta * (1 - theta) * spread / 600)
    mirrored = auroc(np.arange(30.0), np.arange(20) + 100.0)
    assert (mirrored.value, mirrored.lower) == (0, 0)
    assert mirrored.upper == pytest.approx(1 - theta)


def test_equal_scores_say_nothing() -> None:
    found = auroc(np.zeros(10), np.zeros(12))
    assert found.value == 0.5
    assert found.lower is not None
    assert found.upper is not None
    assert found.lower < 0.3 < 0.7 < found.upper


def test_one_image_has_a_value_and_no_interval() -> None:
    assert auroc(np.ones(1), np.zeros(5)) == auroc(np.ones(5), np.zeros(1))
    assert (auroc(np.ones(1), np.zeros(5)).value, auroc(np.ones(1), np.zeros(5)).lower) == (1, None)


@pytest.mark.parametrize("ties", [False, True])
def test_the_share_found_at_one_per_cent_is_that_of_scikit_learns_curve(ties: bool) -> None:
    for seed, m in ((0, 1000), (1, 1234), (2, 150)):
        positives, negatives = groups(seed, 800, m, ties)
        alarms, found, _ = roc_curve(*labelled(positives, negatives), drop_intermediate=False)
        assert found_at(positives, negatives, m // 100) == round(800 * found[alarms <= 0.01].max())


@pytest.mark.parametrize(("count", "total"), [(0, 10), (10, 10), (1, 1), (3, 17), (500, 1000)])
def test_the_interval_of_clopper_and_pearson_is_that_of_scipy(count: int, total: int) -> None:
    expected = binomtest(count, total).proportion_ci(0.95, "exact")
    assert clopper_pearson(count, total) == pytest.approx((expected.low, expected.high), abs=1e-9)
