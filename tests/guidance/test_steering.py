"""Negative weights, classifier guidance and guidance away from training images, against closed forms."""

from __future__ import annotations

import numpy as np
import torch
from guidance.closed_forms import Gaussian, batch, small_unet

from difgen_cli.diffusion import Mixture, MixtureDenoiser
from difgen_cli.diffusion.classes import GaussianClasses
from difgen_cli.guidance import Meter, Metered, away, classifier, guided, swg, term


def test_windows_with_a_weight_of_minus_one_are_a_restricted_receptive_field() -> None:
    model, (x, sigma) = small_unet(), batch()
    windows = swg.negative(model, (1, 12, 12), crop=6, windows=3)
    found = guided(model, [term(windows, weight=-1.0)])(x, sigma)
    torch.testing.assert_close(found, windows(x, sigma), rtol=0, atol=1e-6)
    assert (found - model(x, sigma)).abs().max() > 1e-3


def gaussian_classes() -> tuple[torch.Tensor, torch.Tensor]:
    """300 points (D = 3) of three Gaussians that differ in their means."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [150, 100, 50])
    means = np.array([[1.0, 0, 0], [-1, 1, 0], [0, -1, 0.5]])
    spread = np.array([[0.5, 0, 0], [0.2, 0.4, 0], [0, 0, 0.1]])
    return torch.tensor(means[labels] + rng.standard_normal((300, 3)) @ spread.T), torch.tensor(labels)


def test_a_classifier_of_weight_one_turns_the_denoiser_of_all_classes_into_that_of_each() -> None:
    """By Bayes: D(x; y) = D(x) + σ² ∇ log p(y | x; σ), exactly, where the classes are Gaussians of one covariance."""
    train, labels = gaussian_classes()
    classes = GaussianClasses(train, labels, 3)
    factor = classes.axes.T * classes.variances.sqrt()
    mixture = Mixture(classes.log_prior.exp(), classes.means, factor.expand(3, 3, 3), 0.0)
    exact = MixtureDenoiser(mixture, 1.0)

    def unconditional(x: torch.Tensor, sigma: torch.Tensor, _: torch.Tensor | None = None) -> torch.Tensor:
        return exact(x, sigma)

    unconditional.sigma_data = 1.0  # type: ignore[attr-defined]
    x, sigma = torch.randn(64, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)), torch.rand(64) + 0.1
    asked = torch.arange(64) % 3
    with torch.no_grad():
        found = guided(unconditional, [term(classifier.negative(unconditional, classes))])(x, sigma, asked)
    torch.testing.assert_close(found, exact(x, sigma, asked), rtol=1e-5, atol=1e-6)
    assert (found - exact(x, sigma)).abs().max() > 0.1


def test_probabilities_of_fewer_images_than_pixels_are_those_of_the_full_covariance() -> None:
    rng = np.random.default_rng(1)
    train, labels = torch.tensor(rng.standard_normal((6, 1, 3, 4))), torch.tensor([0, 0, 0, 1, 1, 1])
    x, sigma = torch.tensor(rng.standard_normal((5, 1, 3, 4))), torch.tensor([0.2, 0.5, 1.0, 2.0, 5.0])
    flat = train.flatten(1)
    means = torch.stack([flat[:3].mean(0), flat[3:].mean(0)])
    centred = flat - means[labels]
    for place in range(5):
        covariance = centred.T @ centred / 6 + sigma[place].double() ** 2 * torch.eye(12)
        normals = [torch.distributions.MultivariateNormal(mean, covariance) for mean in means]
        likely = torch.stack([n.log_prob(x[place].flatten()) for n in normals]).log_softmax(0)
        torch.testing.assert_close(GaussianClasses(train, labels, 2)(x, sigma)[place], likely)


def test_samples_are_pushed_from_the_training_image_that_is_nearest_to_the_estimate() -> None:
    model, (x, sigma), weight = Gaussian(0.2, 0.5), batch(), 0.3
    train = torch.randn(7, 1, 12, 12, generator=torch.Generator().manual_seed(4))
    estimate, meter = model(x, sigma), Meter()
    nearest = train[[int((train - d).square().sum((1, 2, 3)).argmin()) for d in estimate]]
    metered = Metered(model, meter)
    found = guided(metered, [term(away.negative(metered, train), weight=weight)])(x, sigma)
    torch.testing.assert_close(found, estimate + weight * (estimate - nearest))
    assert meter.evaluations == 5, "the network is asked once"


def test_a_sample_that_is_not_within_reach_is_left_alone() -> None:
    model, (x, sigma) = Gaussian(0.2, 0.5), batch()
    train = torch.randn(7, 1, 12, 12, generator=torch.Generator().manual_seed(4))
    estimate = model(x, sigma)
    distances = ((train[None] - estimate[:, None]).square().mean((2, 3, 4)).min(1).values).sqrt()
    middle = float(distances.median()) + 1e-6
    found = guided(model, [term(away.negative(model, train, within=middle), weight=0.5)])(x, sigma)
    moved = (found - estimate).flatten(1).abs().max(1).values > 1e-4
    assert moved.tolist() == (distances < middle).tolist()
    assert 0 < moved.sum() < 5
