"""The preconditioning, the loss and the ideal denoiser against closed forms and brute force."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from difgen_cli.diffusion import (
    Denoiser,
    IdealDenoiser,
    closed_forms,
    loss,
    loss_weight,
    per_item,
    preconditioning,
    to_array,
    to_tensor,
    training_sigma,
)


class Constant(nn.Module):
    """F = a constant, which leaves the preconditioning alone to be seen."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, x: Tensor, noise: Tensor, labels: Tensor | None) -> Tensor:
        return torch.full_like(x, self.value)


def brute_force(x: np.ndarray, sigma: float, train: np.ndarray) -> np.ndarray:
    """The posterior mean of one x, term by term."""
    logits = [-float(((x - t) ** 2).sum()) / (2 * sigma**2) for t in train]
    weights = np.array([math.exp(logit - max(logits)) for logit in logits])
    return np.tensordot(weights / weights.sum(), train, axes=1)


def test_at_low_noise_the_denoiser_returns_its_input():
    x = torch.randn(4, 1, 8, 8)
    denoised = Denoiser(Constant(1.0), 0.7)(x, torch.full((4,), 1e-5))
    torch.testing.assert_close(denoised, x, rtol=0, atol=2e-5)


def test_at_high_noise_the_denoiser_returns_sigma_data_times_the_network():
    x = torch.randn(4, 1, 8, 8) * 1e5
    denoised = Denoiser(Constant(1.0), 0.7)(x, torch.full((4,), 1e5))
    # What is left of x is c_skip x, with c_skip = σ_d² / σ².
    torch.testing.assert_close(denoised, torch.full_like(x, 0.7), rtol=0, atol=1e-4)


def test_preconditioning_equals_table_1_of_edm():
    sigma, sigma_data = torch.tensor([0.01, 0.5, 3.0], dtype=torch.float64), 0.5
    c_skip, c_out, c_in, c_noise = preconditioning(sigma, sigma_data)
    torch.testing.assert_close(c_skip, sigma_data**2 / (sigma**2 + sigma_data**2))
    torch.testing.assert_close(c_out, sigma * sigma_data / (sigma**2 + sigma_data**2).sqrt())
    torch.testing.assert_close(c_in, 1 / (sigma**2 + sigma_data**2).sqrt())
    torch.testing.assert_close(c_noise, sigma.log() / 4)


@pytest.mark.parametrize("sigma", [0.02, 0.7, 20.0])
def test_input_and_target_of_the_network_have_unit_variance(sigma: float):
    generator, sigma_data, n = torch.Generator().manual_seed(0), 0.7, 400_000
    clean = sigma_data * torch.randn(n, generator=generator, dtype=torch.float64)
    noisy = clean + sigma * torch.randn(n, generator=generator, dtype=torch.float64)
    c_skip, c_out, c_in, _ = preconditioning(torch.tensor([sigma], dtype=torch.float64), sigma_data)
    assert (c_in * noisy).var().item() == pytest.approx(1, abs=0.01)
    assert ((clean - c_skip * noisy) / c_out).var().item() == pytest.approx(1, abs=0.01)


def test_the_loss_of_an_untrained_network_is_one_at_every_noise_level():
    generator = torch.Generator().manual_seed(0)
    images = 0.7 * torch.randn(20_000, 4, generator=generator)
    for sigma in (0.02, 0.7, 20.0):
        noise = torch.randn(images.shape, generator=generator)
        value = loss(Denoiser(Constant(0.0), 0.7), images, torch.full((20_000,), sigma), noise, None)
        assert value.item() == pytest.approx(1, abs=0.02)


def test_the_loss_weight_equals_one_over_c_out_squared():
    sigma = torch.tensor([0.01, 0.5, 30.0], dtype=torch.float64)
    _, c_out, _, _ = preconditioning(sigma, 0.75)
    torch.testing.assert_close(loss_weight(sigma, 0.75), c_out**-2)


@pytest.mark.parametrize("sigma_data", [0.5, 0.75, 7.0])
def test_training_noise_is_log_normal_around_a_mean_that_follows_the_scale_of_the_data(sigma_data: float):
    normal = torch.randn(200_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    log_sigma = training_sigma(normal, sigma_data).log()
    assert log_sigma.mean().item() == pytest.approx(-1.2 + math.log(sigma_data / 0.5), abs=0.01)
    assert log_sigma.std().item() == pytest.approx(1.2, abs=0.01)


@pytest.mark.parametrize("sigma_data", [0.0, -1.0, math.nan, math.inf])
def test_data_without_a_spread_is_refused(sigma_data: float):
    with pytest.raises(ValueError, match="sigma_data must be finite and above 0"):
        Denoiser(Constant(0.0), sigma_data)


@pytest.mark.parametrize("sigma", [0.002, 0.3, 2.0, 80.0])
def test_the_ideal_denoiser_equals_the_posterior_mean_term_by_term(sigma: float):
    rng = np.random.default_rng(0)
    train, x = rng.normal(size=(37, 12)), rng.normal(size=(9, 12)) * (1 + sigma)
    denoised = IdealDenoiser(torch.tensor(train), 0.7)(torch.tensor(x), torch.full((9,), sigma, dtype=torch.float64))
    expected = np.stack([brute_force(row, sigma, train) for row in x])
    np.testing.assert_allclose(denoised.numpy(), expected, rtol=0, atol=1e-9)


def test_the_ideal_denoiser_does_not_depend_on_its_blocks(monkeypatch: pytest.MonkeyPatch):
    generator = torch.Generator().manual_seed(0)
    ideal = IdealDenoiser(torch.randn(101, 1, 4, 4, generator=generator), 0.7)
    x, sigma = torch.randn(53, 1, 4, 4, generator=generator), torch.rand(53, generator=generator) + 0.1
    whole = ideal(x, sigma)
    monkeypatch.setattr(closed_forms, "BLOCK_ELEMENTS", 256)
    torch.testing.assert_close(ideal(x, sigma), whole, rtol=0, atol=1e-6)


def test_the_conditional_ideal_denoiser_sees_only_its_label():
    rng = np.random.default_rng(0)
    train, labels = rng.normal(size=(30, 5)), np.arange(30) % 3
    x, asked = rng.normal(size=(12, 5)), np.arange(12) % 3
    ideal = IdealDenoiser(torch.tensor(train), 0.7, torch.tensor(labels))
    sigma = torch.full((12,), 0.8, dtype=torch.float64)
    expected = [brute_force(row, 0.8, train[labels == label]) for row, label in zip(x, asked, strict=True)]
    np.testing.assert_allclose(ideal(torch.tensor(x), sigma, torch.tensor(asked)).numpy(), expected, atol=1e-9)
    dropped = [brute_force(row, 0.8, train) for row in x]
    np.testing.assert_allclose(ideal(torch.tensor(x), sigma).numpy(), dropped, atol=1e-9)


def test_a_label_without_training_images_has_no_ideal_denoiser():
    ideal = IdealDenoiser(torch.randn(4, 2), 0.7, torch.tensor([0, 0, 1, 1]))
    with pytest.raises(ValueError, match="label 2 has no training image"):
        ideal(torch.randn(3, 2), torch.ones(3), torch.tensor([0, 1, 2]))


def test_labels_given_to_an_unconditional_ideal_denoiser_are_refused_and_not_ignored():
    with pytest.raises(ValueError, match="without labels"):
        IdealDenoiser(torch.randn(4, 2), 0.7)(torch.randn(3, 2), torch.ones(3), torch.zeros(3, dtype=torch.int64))


@pytest.mark.parametrize("sigma", [0.2, 1.0])
def test_excess_training_loss_equals_the_distance_to_the_ideal_denoiser(sigma: float):
    """E‖D − x₀‖² − E‖D* − x₀‖² = E‖D − D*‖² over x₀ of T, for any D: D* is the projection (metrics.md, ideal)."""
    generator, draws = torch.Generator().manual_seed(0), 40_000
    train = torch.randn(6, 4, generator=generator)
    clean = train[torch.arange(draws) % 6]
    noise, level = torch.randn(clean.shape, generator=generator), torch.full((draws,), sigma)
    noisy = clean + sigma * noise
    denoiser, ideal = Denoiser(Constant(0.3), 0.7), IdealDenoiser(train, 0.7)
    denoised, best = denoiser(noisy, level), ideal(noisy, level)
    excess = ((denoised - clean) ** 2 - (best - clean) ** 2).mean(1) * loss_weight(level, 0.7)
    distance = ((denoised - best) ** 2).mean(1) * loss_weight(level, 0.7)
    error = ((excess - distance).std() / math.sqrt(draws)).item()
    assert excess.mean().item() == pytest.approx(distance.mean().item(), abs=4 * error)
    assert error < 0.05 * distance.mean().item()
    trained, floor = (loss(d, clean, level, noise, None).item() for d in (denoiser, ideal))
    assert trained - floor == pytest.approx(excess.mean().item(), rel=1e-3)


def test_images_survive_the_way_to_tensors_and_back():
    images = np.random.default_rng(0).normal(size=(3, 5, 7, 2)).astype(np.float32)
    assert to_tensor(images).shape == (3, 2, 5, 7)
    assert to_tensor(images)[1, 0, 4, 6] == images[1, 4, 6, 0]
    np.testing.assert_array_equal(to_array(to_tensor(images)), images)
    points = images[:, 0, 0]
    np.testing.assert_array_equal(to_array(to_tensor(points)), points)


def test_values_per_item_multiply_item_by_item():
    x = torch.ones(3, 2, 2, 2)
    assert (per_item(torch.tensor([1.0, 2.0, 3.0]), x) * x).sum(dim=(1, 2, 3)).tolist() == [8.0, 16.0, 24.0]
