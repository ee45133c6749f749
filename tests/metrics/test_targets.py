"""The variance of the target: two points by hand, the loss of the ideal denoiser, and both ends of the noise."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch
from denoisers import CPU, Arrays, digit_parts, shared
from scipy import stats
from scipy.integrate import quad
from scipy.stats import norm

from difgen_cli.diffusion import IdealDenoiser, to_tensor
from difgen_cli.metrics import targets
from difgen_cli.metrics._intervals import jackknife, left_out, part_of
from difgen_cli.metrics._noise import TRAIN, bank_of_pairs, losses, unit_noise_like


def test_two_points_by_hand() -> None:
    """±a on a line: the posterior mean is a tanh(ax/σ²), the variance a² sech²(ax/σ²), x = a + σn by symmetry."""
    a, sigma_d = 1.5, 1.5
    points = np.array([[a], [-a]], np.float32)
    result = targets.measure(points, None, sigma_d, shared, pairs=40_000)
    for level, word in targets.NAMED.items():
        sigma = level * sigma_d

        def at(n: float, sigma: float = sigma) -> float:
            return float(a**2 / np.cosh(a * (a + sigma * n) / sigma**2) ** 2 * norm.pdf(n))

        by_hand = quad(at, -12, 12, points=[-a / sigma], limit=200)[0]
        assert result.values[f"target_var_{word}"] == pytest.approx(by_hand, rel=0.05, abs=1e-4)
    exact = targets.variances(points, None, np.array([[0.3]]), None, 1.1)
    assert exact == pytest.approx(a**2 / np.cosh(a * 0.3 / 1.1**2) ** 2)


@pytest.mark.parametrize("conditional", [False, True])
def test_the_variance_is_the_ideal_denoisers_loss_on_training_images(conditional: bool) -> None:
    train, _, _, sigma_d = digit_parts(40)
    labels = np.arange(40) % 4 if conditional else None
    found = targets.measure(train, labels, sigma_d, shared, sigmas=(2.0,), pairs=8000).tables["targets"]
    ideal = IdealDenoiser(to_tensor(train), sigma_d, None if labels is None else torch.from_numpy(labels))
    loss = losses(ideal, bank_of_pairs(train, labels, 8000, TRAIN, CPU), found["sigma"]).mean.mean(axis=0)
    assert found["n_pairs"].tolist() == [8000] * 4
    from_level = 3 if conditional else 2  # below, few draws decide
    np.testing.assert_allclose(found["target_var"][from_level:], loss[from_level:], rtol=0.05)


def test_it_is_nothing_without_noise_and_the_variance_of_t_in_all_of_it() -> None:
    train, _, _, sigma_d = digit_parts(30)
    table = targets.measure(train, None, sigma_d, shared, sigmas=(0.01, 1e4)).tables["targets"]
    assert table["target_var"][0] == 0
    assert table["target_var"][-1] == pytest.approx(train.reshape(30, -1).astype(float).var(axis=0).mean(), rel=1e-3)
    mirrored = targets.measure(train, None, sigma_d, shared, mirrored=True, sigmas=(1e4,)).tables["targets"]
    both = np.concatenate([train, train[:, :, ::-1]]).reshape(60, -1).astype(float)
    assert mirrored["target_var"][-1] == pytest.approx(both.var(axis=0).mean(), rel=1e-3)


@pytest.mark.parametrize("conditional", [False, True])
def test_a_part_that_is_left_out_is_a_t_without_it(conditional: bool) -> None:
    """Brute force: the variance over each smaller T, at the noisy images of it; and the jackknife of these by hand."""
    train, _, _, sigma_d = digit_parts(44)
    sigma_d = np.float64(sigma_d)
    train = (train / 3).astype(np.float32)  # so that many images share the weights
    labels = np.arange(44) % 3 if conditional else None
    kept: dict[str, Arrays] = {}
    result = targets.measure(
        train, labels, sigma_d, lambda name, compute: kept.setdefault(name, compute()), sigmas=(), pairs=88
    )
    (arrays,) = kept.values()
    part, noise = part_of(44), np.stack([unit_noise_like(train, TRAIN, j) for j in (0, 1)])
    sets = [(), *combinations(range(20), 1), *combinations(range(20), 2)]
    for k in (0, 3, 20, 21, 100, 210):
        stay = ~np.isin(part, sets[k])
        fewer, at = train[stay], None if labels is None else np.tile(labels[stay], 2)
        x = np.concatenate(train[stay] + sigma_d * noise[:, stay])
        brute = targets.variances(fewer, None if labels is None else labels[stay], x, at, sigma_d).mean()
        assert arrays["without"][2, k] == pytest.approx(brute, rel=1e-9)
    variance, freedom = jackknife(arrays["without"][2])
    value, error = result.values["target_var_100"], np.sqrt(variance)
    factor = np.exp(stats.t.ppf(0.975, freedom) * error / value)
    assert result.values["target_var_100_lo"] == pytest.approx(value / factor)
    assert result.values["target_var_100_hi"] == pytest.approx(value * factor)
    assert result.tables["targets"]["target_var_se"][2] == pytest.approx(error)


def test_few_images_have_no_interval() -> None:
    train, _, _, sigma_d = digit_parts(40)
    pair = np.concatenate([train[:38], train[:2] + np.float32(0.1)])  # 0.25 σ_d: two pairs are all there is
    for images, word, there in ((train[:19], "100", False), (train, "100", True), (pair, "025", False)):
        values = targets.measure(images, None, sigma_d, shared, sigmas=()).values
        assert values[f"target_var_{word}"] is not None
        assert (values[f"target_var_{word}_lo"] is not None) == there
        assert (values[f"target_var_{word}_hi"] is not None) == there


def test_the_jackknife_counts_what_two_parts_make_together_once() -> None:
    """Of 20 numbers: the mean has Student's variance. The square of a mean of unit variance about 1/2 varies by
    4 · 1/4 / 20 and by 2 / 20², which is 0.005 and in the plain jackknife twice that."""
    chance, sets = np.random.default_rng(0), left_out(20)

    def means(x: np.ndarray) -> np.ndarray:
        return np.array([x[~out].mean() for out in sets])

    x = chance.standard_normal(20)
    assert jackknife(means(x)) == pytest.approx((x.var(ddof=1) / 20, 19))
    drawn = [means(chance.standard_normal(20) + 0.5) ** 2 for _ in range(300)]
    plain, once = (
        np.mean([of(own) for own in drawn]) for of in (lambda own: 19 * own[1:21].var(), lambda own: jackknife(own)[0])
    )
    assert plain == pytest.approx(0.06, rel=0.15)
    assert plain - once == pytest.approx(0.005, rel=0.25)
    own = drawn[0]
    taken = 19 * own[1:21].var() - (once := jackknife(own)[0])
    assert jackknife(own)[1] == pytest.approx(once**2 / ((once + taken) ** 2 / 19 + taken**2 / 189))


def test_what_cannot_be_measured_is_one_sentence() -> None:
    train, _, _, sigma_d = digit_parts(2)
    with pytest.raises(ValueError, match="targets needs training images"):
        targets.measure(train[:0], None, sigma_d, shared)
    with pytest.raises(ValueError, match="targets: sigmas must be above 0"):
        targets.measure(train, None, sigma_d, shared, sigmas=(-1.0,))
