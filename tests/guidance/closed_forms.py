"""Denoisers in closed form, and watchers of what is asked of them, for the tests of guidance."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from difgen_cli.diffusion import Denoiser
from difgen_cli.models import unet


class Gaussian:
    """The exact denoiser of N(mean, deviation²) in every dimension, whatever the label: μ + s²/(s² + σ²) (x − μ)."""

    def __init__(self, mean: float, deviation: float) -> None:
        self.mean, self.deviation, self.sigma_data = mean, deviation, 1.0

    def __call__(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None, /) -> Tensor:
        variance = sigma.square().view(-1, *[1] * (x.dim() - 1))
        return self.mean + self.deviation**2 / (self.deviation**2 + variance) * (x - self.mean)


class Conditional:
    """One denoiser for the condition, another where it is dropped: what CFG sees of a conditional model."""

    def __init__(self, told: Gaussian, dropped: Gaussian) -> None:
        self.told, self.dropped, self.sigma_data = told, dropped, 1.0

    def __call__(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None, /) -> Tensor:
        return (self.dropped if labels is None else self.told)(x, sigma)


class Watched:
    """Remembers what it was asked; gives back x, dimmed by a share of each image's own mean."""

    sigma_data = 1.0

    def __init__(self) -> None:
        self.asked: list[tuple[Tensor, Tensor, Tensor | None]] = []

    def __call__(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None, /) -> Tensor:
        self.asked.append((x, sigma, labels))
        return x - x.mean((1, 2, 3), keepdim=True) / 2


def small_unet(classes: int = 0) -> Denoiser:
    """An untrained U-Net for images (1, 12, 12) whose last layer does something."""
    torch.manual_seed(0)
    network = unet.build((1, 12, 12), classes, width=8, depth=1, multipliers=(1, 2))
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.2)
    return Denoiser(network, 0.6).eval().requires_grad_(False)


def batch(count: int = 5, seed: int = 1) -> tuple[Tensor, Tensor]:
    """x (count, 1, 12, 12) and σ (count,) from 0.05 to 5."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 1, 12, 12, generator=generator), torch.logspace(-1.3, 0.7, count)
