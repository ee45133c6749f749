"""Euler's first-order steps along the probability-flow ODE: DDIM in σ (Song et al. 2021; Karras et al. 2022)."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from difgen_cli.diffusion import DenoiserLike
from difgen_cli.sampling import slope

VERSION = 1
DEFAULTS = {"steps": 48}


@torch.no_grad()
def sample(
    denoiser: DenoiserLike, x: Tensor, levels: Sequence[float], labels: Tensor | None
) -> Iterator[tuple[float, Tensor]]:
    """σ and x at every level, from `x` at the first one; one evaluation of the denoiser a step."""
    yield levels[0], x
    for sigma, next_sigma in pairwise(levels):
        x = x + (next_sigma - sigma) * slope(denoiser, x, sigma, labels)
        yield next_sigma, x
