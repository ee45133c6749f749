"""Heun's second-order steps along the probability-flow ODE (Karras et al. 2022, algorithm 1, deterministic)."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Annotated

import torch
from annotated_types import Gt
from torch import Tensor

from difgen_cli.diffusion import DenoiserLike
from difgen_cli.sampling import noise_levels, slope

VERSION = 1


@torch.no_grad()
def sample(
    denoiser: DenoiserLike,
    noise: Tensor,
    labels: Tensor | None,
    *,
    steps: Annotated[int, Gt(0)] = 24,
    rho: Annotated[float, Gt(0)] = 7.0,
    sigma_min: Annotated[float, Gt(0)] = 0.004,
    sigma_max: Annotated[float, Gt(0)] = 160.0,
) -> Iterator[tuple[float, Tensor]]:
    """σ and x, like `noise` (unit Gaussian), at every level down to σ = 0; 2 · steps − 1 evaluations of the denoiser.

    steps: steps of the ODE, the last one to σ = 0.
    rho: how much the steps crowd towards low noise.
    sigma_min: the last noise level before 0, in units of σ_d.
    sigma_max: the first noise level, in units of σ_d.
    """
    levels = noise_levels(steps, rho, sigma_min, sigma_max, denoiser.sigma_data)
    x = noise * levels[0]
    yield levels[0], x
    for sigma, next_sigma in pairwise(levels):
        start = slope(denoiser, x, sigma, labels)
        euler = x + (next_sigma - sigma) * start
        if next_sigma > 0:  # the last step is Euler's: there is no slope at 0
            euler = x + (next_sigma - sigma) / 2 * (start + slope(denoiser, euler, next_sigma, labels))
        x = euler
        yield next_sigma, x
