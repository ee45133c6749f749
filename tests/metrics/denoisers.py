"""Denoisers in closed form, data for them, and brute force, for the tests of the metrics that ask a denoiser."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from difgen_cli.data import scaled, sigma_data, split
from difgen_cli.data.digits import load
from difgen_cli.diffusion import IdealDenoiser, to_tensor

Arrays = dict[str, np.ndarray]
CPU = torch.device("cpu")


def shared(_: str, compute: Callable[[], Arrays]) -> Arrays:
    return compute()


class Wiener(nn.Module):
    """The posterior mean of isotropic Gaussian data, times a factor."""

    def __init__(self, sigma_d: float, factor: float = 1.0) -> None:
        super().__init__()
        self.sigma_data, self.factor = sigma_d, factor

    def forward(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        shrink = self.factor / (1 + (sigma / self.sigma_data) ** 2)
        return shrink.view(-1, *[1] * (x.dim() - 1)) * x


class ErrorProne(nn.Module):
    """Kaiser & Kollmann's y_δ: the ideal denoiser seen through additional noise of deviation δ."""

    def __init__(self, train: np.ndarray, delta: float) -> None:
        super().__init__()
        self.ideal, self.delta, self.sigma_data = IdealDenoiser(to_tensor(train), 1.0), delta, 1.0

    def forward(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        d2, s2 = self.delta**2, sigma.square()[:, None]
        return (d2 * x + s2 * self.ideal(x, (s2[:, 0] + d2).sqrt())) / (s2 + d2)


class OfLabel(nn.Module):
    """Denoises to the constant image of each label, 0.1 too high; refuses labels that it never saw."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.classes, self.sigma_data = classes, 1.0

    def forward(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        assert labels is not None
        assert labels.max() < self.classes
        return labels.view(-1, *[1] * (x.dim() - 1)).float().expand_as(x) + 0.1


def digit_parts(size: int, held_out: int = 512) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """T, H, the pool without H, and σ_d."""
    pool = load()
    found = split(pool, size=size, held_out=held_out)
    train, of_H, rest = (scaled(pool.images[places]) for places in (found.train, found.held_out, found.rest))
    return train, of_H, rest, sigma_data(pool.images[found.rest])


def gaussian(n: int, seed: int, d: int = 8, sigma_d: float = 0.7) -> np.ndarray:
    return (sigma_d * np.random.default_rng((seed, n)).standard_normal((n, d))).astype(np.float32)
