"""Inversion: a Gaussian comes back and tells nothing, the ideal denoiser tells all, and what a latent's nats are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from denoisers import Wiener, digit_parts, gaussian

from difgen_cli.diffusion import IdealDenoiser, Mixture, MixtureDenoiser, to_tensor
from difgen_cli.metrics import inversion
from difgen_cli.metrics._flow import along, rising


def test_a_gaussian_comes_back_to_a_thousandth_and_tells_nobody() -> None:
    factors = torch.diag(torch.linspace(0.2, 1, 8)).double()[None]
    exact = MixtureDenoiser(Mixture(torch.ones(1).double(), torch.zeros(1, 8).double(), factors, 0.0), 0.7)
    chance = np.random.default_rng(0)
    scales = np.linspace(0.2, 1, 8, dtype=np.float32)
    train, held_out = (scales * chance.standard_normal((256, 8)).astype(np.float32) for _ in range(2))
    values = inversion.measure(exact, train, held_out, None, None, 0.7).values
    assert float(values["dire_error"] or 1) < 1e-3
    assert float(values["dire_error_control"] or 1) < 1e-3
    assert values["dire_auc"] == pytest.approx(0.5, abs=0.06)
    assert float(values["dire_auc_lo"] or 1) < 0.5 < float(values["dire_auc_hi"] or 0)
    assert values["inv_nll_gap"] == pytest.approx(0, abs=0.06)
    assert float(values["inv_nll_gap_lo"] or 1) < 0 < float(values["inv_nll_gap_hi"] or 0)


def test_the_flow_of_a_gaussian_is_a_scaling_in_closed_form() -> None:
    """x(σ) = x √(σ² + σ_d²)/√(σ₀² + σ_d²), up and down, and its error falls with the square of the step at least."""
    x, sigma_d = torch.from_numpy(gaussian(50, 0)), 0.7
    errors = []
    for steps in (16, 32):
        levels = rising(steps, 0.1, 5.0)
        exact = x * ((levels[-1] ** 2 + sigma_d**2) / (levels[0] ** 2 + sigma_d**2)) ** 0.5
        errors.append(float((along(Wiener(sigma_d), x, levels, None) - exact).abs().max()))
        assert along(Wiener(sigma_d), exact, levels[::-1], None) == pytest.approx(x, abs=0.02)
    assert errors[1] < errors[0] / 3.5
    assert len(rising(16, 0.1, 5.0)) == 17


def test_a_latents_nats_are_those_of_the_normal_density() -> None:
    from scipy.stats import norm

    x, levels = gaussian(20, 3), [0.3, 2.0]

    class Still(Wiener):
        """The slope is 0: every image is its own latent."""

        def forward(self, x: torch.Tensor, sigma: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
            return x

    error, nats = inversion.inverted(Still(1.0), (x, None), 20, levels)
    assert (error == 0).all()
    np.testing.assert_allclose(nats, -norm.logpdf(x, scale=2.0).mean(axis=1), rtol=1e-5)


def test_the_ideal_denoiser_brings_training_images_back_and_no_others() -> None:
    train, held_out, _, sigma_d = digit_parts(64)
    values = inversion.measure(IdealDenoiser(to_tensor(train), sigma_d), train, held_out, None, None, sigma_d).values
    assert float(values["dire_auc"] or 0) > 0.9
    assert float(values["inv_nll_gap"] or 0) > 0
    assert values["inv_images"] == 64


def test_repeats_count_once_and_conditions_without_training_images_are_left_out() -> None:
    train, held_out, _, sigma_d = digit_parts(20)
    labels, other = np.arange(20) % 2, np.arange(len(held_out)) % 4
    twice = np.concatenate([train, train])
    ideal = IdealDenoiser(to_tensor(train), sigma_d, torch.from_numpy(labels))
    values = inversion.measure(ideal, twice, held_out, np.tile(labels, 2), other, sigma_d).values
    assert values["inv_images"] == 20


def test_what_cannot_be_inverted_is_one_sentence() -> None:
    train, held_out = gaussian(5, 0), gaussian(6, 1)
    with pytest.raises(ValueError, match=r"sigma_min 2\.0 must be below sigma_max 1\.0"):
        inversion.measure(Wiener(0.7), train, held_out, None, None, 0.7, sigma_min=2.0, sigma_max=1.0)
    with pytest.raises(ValueError, match="did the training diverge"):
        inversion.measure(Wiener(0.7, np.nan), train, held_out, None, None, 0.7)
    with pytest.raises(ValueError, match="inversion needs training images"):
        inversion.measure(Wiener(0.7), train[:0], held_out, None, None, 0.7)
