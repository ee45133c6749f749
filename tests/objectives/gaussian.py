"""A Gaussian whose posterior mean is known, and networks that are exactly right but for what is planted."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from difgen_cli.diffusion import COEFFICIENTS, Denoiser, per_item

DIMENSIONS = 6
BANDS = 4  # of ln s, each with an affine map of its own


def spectrum(sigma_data: float) -> Tensor:
    """Variances along the axes, with mean σ_d²."""
    values = torch.logspace(0, -2, DIMENSIONS, dtype=torch.float64)
    return values / values.mean() * sigma_data**2


def data(count: int, sigma_data: float, generator: torch.Generator) -> Tensor:
    """Points (count, D) float32, centred."""
    normal = torch.randn(count, DIMENSIONS, generator=generator, dtype=torch.float64)
    return (normal * spectrum(sigma_data).sqrt()).float()


class Exact(nn.Module):
    """The posterior mean of the Gaussian, in float64; σ absolute."""

    def __init__(self, sigma_data: float) -> None:
        super().__init__()
        self.sigma_data = sigma_data

    def forward(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        variances = spectrum(self.sigma_data)
        gain = variances / (variances + sigma.double().square()[:, None])
        return (gain * x.double()).to(x.dtype)


class Answer(nn.Module):
    """F of the exact posterior mean in the terms of a prediction, plus θ (affine in each band of σ), θ at zero.

    `error` is added to F: what a wrong weight, law or sign would have to be found by.
    """

    def __init__(self, exact: Exact, prediction: str, error: float = 0.0) -> None:
        super().__init__()
        self.exact, self.prediction, self.error = exact, prediction, error
        self.theta = nn.Parameter(torch.zeros(BANDS, DIMENSIONS + 1, DIMENSIONS))

    def forward(self, x: Tensor, noise: Tensor, labels: Tensor | None) -> Tensor:
        unit = self.exact.sigma_data
        log_sigma = 4 * noise.double() - (torch.tensor(unit).log() if self.prediction == "edm" else 0.0)
        s = log_sigma.exp()
        skip, out, scale = (per_item(c, x) for c in COEFFICIENTS[self.prediction](s))
        seen = x.double() / scale * unit
        answer = (self.exact(seen, s * unit) - skip * seen) / (unit * out)
        band = ((log_sigma + 4) / 2).long().clamp(0, BANDS - 1)
        affine = torch.cat([x, torch.ones_like(x[:, :1])], 1)
        return answer.to(x.dtype) + self.error + torch.einsum("bd,bde->be", affine, self.theta[band])


def z_of_gradient(loss: Callable[[int], Tensor], theta: nn.Parameter, repeats: int = 60) -> Tensor:
    """The mean gradient of θ over fresh batches in units of its standard error: its square is 1 on average at zero."""
    gradients = []
    for repeat in range(repeats):
        theta.grad = None
        loss(repeat).backward()
        assert theta.grad is not None
        gradients.append(theta.grad.flatten().clone())
    stacked = torch.stack(gradients)
    spread = stacked.std(0)
    varied = spread > 0
    return stacked.mean(0)[varied] / (spread[varied] / repeats**0.5)


def denoiser(prediction: str, sigma_data: float, error: float = 0.0) -> tuple[Denoiser, Answer]:
    network = Answer(Exact(sigma_data), prediction, error)
    return Denoiser(network, sigma_data, prediction), network
