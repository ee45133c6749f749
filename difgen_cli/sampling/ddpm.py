"""Ancestral sampling (Ho et al. 2020) with Song et al.'s η: 1 is DDPM with the smaller variance, 0 is DDIM.

Written in σ and in x without the scale √ᾱ, in which Song et al. 2021 (DDIM), eqs. 12 and 16, become the step below.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor

from difgen_cli.diffusion import DenoiserLike
from difgen_cli.sampling import estimate
from difgen_cli.sampling._random import Randomness

VERSION = 1
DEFAULTS = {"steps": 250}


@torch.no_grad()
def sample(
    denoiser: DenoiserLike,
    x: Tensor,
    levels: Sequence[float],
    labels: Tensor | None,
    rng: Randomness,
    *,
    eta: Annotated[float, Ge(0), Le(1)] = 1.0,
) -> Iterator[tuple[float, Tensor]]:
    """σ and x at every level, from `x` at the first one; one evaluation of the denoiser a step.

    eta: how much of the posterior's noise is drawn anew in each step; 0: none, as DDIM.

    Raises ValueError for levels that rise, with an eta above 0: their posterior has no variance.
    """
    if eta > 0 and any(b > a for a, b in pairwise(levels)):
        raise ValueError("ddpm: levels that rise need eta 0; a step up adds noise by itself")
    yield levels[0], x
    for sigma, next_sigma in pairwise(levels):
        # q(x′ | x, x₀) has the mean x₀ + (σ′/σ)² (x − x₀) and the variance σ′² (1 − (σ′/σ)²).
        fresh = eta * next_sigma * (1 - (next_sigma / sigma) ** 2) ** 0.5 if eta > 0 else 0.0
        denoised = estimate(denoiser, x, sigma, labels)
        x = denoised + (next_sigma**2 - fresh**2) ** 0.5 / sigma * (x - denoised)
        if fresh > 0:
            x = x + fresh * rng.normal(x)
        yield next_sigma, x
