"""The minority score: a mixture in closed form, Gaussians, scipy's rank correlation, and how copies are counted."""

import numpy as np
import pytest
from denoisers import Wiener, gaussian, shared
from scipy import integrate
from scipy.stats import norm, spearmanr
from torch import nn

from difgen_cli.diffusion import IdealDenoiser, to_tensor
from difgen_cli.metrics import Result
from difgen_cli.metrics.minority import COLUMNS, TABLES, copies, correlation, interval, measure


def run(denoiser: nn.Module, train: np.ndarray, samples: np.ndarray, sigma_d: float, **settings: object) -> Result:
    result = measure(denoiser, train, samples, None, sigma_d, shared, **settings)  # type: ignore[arg-type]
    assert set(result.values) == set(COLUMNS)
    assert set(result.tables["minority"]) == set(TABLES["minority"])
    return result


def mixture(n: int, seed: int, share: float = 0.05) -> tuple[np.ndarray, np.ndarray]:
    """Points about two centres, 4 apart, and which of them are of the rarer one."""
    rng = np.random.default_rng((seed, n))
    rare = np.arange(n) < share * n
    x = 0.3 * rng.standard_normal((n, 4))
    x[rare, 0] += 4
    return x.astype(np.float32), rare


def test_the_rarer_of_two_points_has_the_score_of_its_closed_form() -> None:
    """T is 95 times one point and 5 times another, 2 apart: the weight of the wrong one is a logistic of the noise."""
    a, b, sigma = np.zeros(3, np.float32), np.array([2, 0, 0], np.float32), 1.5
    train = np.concatenate([np.tile(a, (95, 1)), np.tile(b, (5, 1))])
    table = run(IdealDenoiser(to_tensor(train), 1.0), train, train[:0], 1.0, sigma=sigma, draws=20_000).tables[
        "minority"
    ]
    assert table["image"].tolist() == [0, 95]

    def expected(odds: float) -> float:
        """4/3 E[w²], w the weight of the other point, which `odds` times as many images are."""

        def integrand(n: float) -> float:
            return float(norm.pdf(n) / (1 + np.exp((4 + 4 * sigma * n) / (2 * sigma**2)) / odds) ** 2)

        return 4 / 3 * float(integrate.quad(integrand, -9, 9)[0])

    common, rare = table["minority"]
    assert common == pytest.approx(expected(5 / 95), rel=0.1)
    assert rare == pytest.approx(expected(95 / 5), rel=0.02)
    assert rare > 10 * common


def test_the_minority_of_a_mixture_has_the_higher_scores() -> None:
    train, rare = mixture(400, 1)
    denoiser = IdealDenoiser(to_tensor(mixture(4000, 2)[0]), 1.0)
    score = run(denoiser, train, train[:0], 1.0, sigma=2.0, draws=64).tables["minority"]["minority"]
    assert np.median(score[rare]) > 5 * np.median(score[~rare])
    assert np.mean(score[rare][:, None] > score[~rare]) > 0.98


def test_the_score_of_a_gaussian_grows_with_the_distance_from_its_mean() -> None:
    """E|x − s(x + σn)|²/d = (1 − s)² |x|²/d + s² σ², s = 1/(1 + σ²/σ_d²) = ½."""
    train = gaussian(20, 1)
    table = run(Wiener(0.7), train, train[:0], 0.7, draws=4000).tables["minority"]
    assert table["minority"] == pytest.approx((train**2).mean(axis=1) / 4 + 0.7**2 / 4, rel=0.02)


def test_the_rank_correlation_is_that_of_scipy_and_of_copies_of_rare_images_it_is_above_0() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 5, 60), rng.integers(0, 3, 60)
    assert correlation(x, y) == pytest.approx(spearmanr(x, y).statistic, abs=1e-12)
    train, rare = mixture(200, 1, 0.2)
    denoiser = IdealDenoiser(to_tensor(mixture(2000, 2)[0]), 1.0)
    of_rare = run(denoiser, train, train[rare], 1.0)
    assert of_rare.values["minority_hit"] == rare.sum() == 40
    assert (of_rare.tables["minority"]["hits"] == rare).all()
    assert 0 < of_rare.values["minority_hits_corr_lo"] < of_rare.values["minority_hits_corr"]  # type: ignore[operator]
    assert run(denoiser, train, train[~rare], 1.0).values["minority_hits_corr_hi"] < 0  # type: ignore[operator]


def test_copies_count_for_all_that_a_training_image_repeats() -> None:
    train = gaussian(30, 1)
    train[7] = train[3]
    samples = np.concatenate([train[[3, 3, 5]], gaussian(4, 9)])
    expected = np.zeros(30, int)
    expected[[3, 5, 7]] = 2, 1, 2
    group = np.arange(30)
    group[7] = 3
    assert (copies(samples, train, group, False) == expected).all()
    table = run(Wiener(0.7), train, samples, 0.7).tables["minority"]
    assert 7 not in table["image"]
    assert dict(zip(table["image"].tolist(), table["hits"].tolist(), strict=True))[3] == 2


def test_without_copies_or_with_few_there_is_no_correlation_or_no_interval() -> None:
    train = gaussian(60, 1)
    none, few = run(Wiener(0.7), train, train[:0], 0.7).values, run(Wiener(0.7), train, train[:5], 0.7).values
    assert (none["minority_hits_corr"], none["minority_hit"]) == (None, 0)
    assert few["minority_hit"] == 5
    assert few["minority_hits_corr"] is not None
    assert few["minority_hits_corr_lo"] is None

    class High(Wiener):
        sigma_range = (5.0, 10.0)

    assert run(High(0.7), train, train, 0.7).values["minority_images"] == 0


def test_the_interval_of_a_correlation_holds_that_of_normal_pairs() -> None:
    """ρ_S = 6/π asin(ρ/2) (Pearson 1907)."""
    truth, held = 6 / np.pi * np.arcsin(0.25), 0
    for seed in range(100):
        z = np.random.default_rng(seed).standard_normal((2, 300))
        lower, upper = interval(z[0], 0.5 * z[0] + np.sqrt(0.75) * z[1])
        held += lower <= truth <= upper
    assert 88 <= held <= 100
