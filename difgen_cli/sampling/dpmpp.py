"""DPM-Solver++(2M): second order by the estimate of the step before, one evaluation a step (Lu et al. 2022, alg. 2).

Written in σ and in x without the scale α: with λ = −ln σ, x/α and σ/α take the places of x and σ.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from difgen_cli.diffusion import DenoiserLike
from difgen_cli.sampling import estimate

VERSION = 1


@torch.no_grad()
def sample(
    denoiser: DenoiserLike, x: Tensor, levels: Sequence[float], labels: Tensor | None
) -> Iterator[tuple[float, Tensor]]:
    """σ and x at every level, from `x` at the first one; the first step, and one to 0, are of first order."""
    yield levels[0], x
    earlier, last_step = None, 0.0  # D one step ago, and how long that step was in λ
    for sigma, next_sigma in pairwise(levels):
        denoised = target = estimate(denoiser, x, sigma, labels)
        step = math.log(sigma / next_sigma) if next_sigma > 0 else math.inf
        if earlier is not None and math.isfinite(step):
            target = denoised + step / (2 * last_step) * (denoised - earlier)  # 1/(2r) with r = last_step/step
        x = next_sigma / sigma * x + (1 - next_sigma / sigma) * target
        earlier, last_step = denoised, step
        yield next_sigma, x
