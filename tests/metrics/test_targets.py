"""The variance of the target: two points by hand, the loss of the ideal denoiser, and both ends of the noise."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from denoisers import CPU, digit_parts, shared
from scipy.integrate import quad
from scipy.stats import norm

from difgen_cli.diffusion import IdealDenoiser, to_tensor
from difgen_cli.metrics import targets
from difgen_cli.metrics._noise import TRAIN, bank_of_pairs, losses


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


def test_what_cannot_be_measured_is_one_sentence() -> None:
    train, _, _, sigma_d = digit_parts(2)
    with pytest.raises(ValueError, match="targets needs training images"):
        targets.measure(train[:0], None, sigma_d, shared)
    with pytest.raises(ValueError, match="targets: sigmas must be above 0"):
        targets.measure(train, None, sigma_d, shared, sigmas=(-1.0,))
