"""Heun's second-order steps along the probability-flow ODE (Karras et al. 2022, algorithm 1, deterministic).

With churn, noise is added and removed again on the way (algorithm 2).
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Annotated

import torch
from annotated_types import Ge, Gt
from torch import Tensor

from difgen_cli.diffusion import DenoiserLike
from difgen_cli.sampling import slope
from difgen_cli.sampling._random import Randomness

VERSION = 1
# a setting -> another one, and the values of that under which it is read: all but the default
READ_WHEN = {"s_min": ("s_churn", None), "s_max": ("s_churn", None), "s_noise": ("s_churn", None)}
CHURN_MOST = 2**0.5 - 1  # a step never adds more noise than there is (Karras et al. 2022, alg. 2)


@torch.no_grad()
def sample(
    denoiser: DenoiserLike,
    x: Tensor,
    levels: Sequence[float],
    labels: Tensor | None,
    rng: Randomness,
    *,
    s_churn: Annotated[float, Ge(0)] = 0.0,
    s_min: Annotated[float, Ge(0)] = 0.0,
    s_max: Annotated[float, Gt(0)] | None = None,
    s_noise: Annotated[float, Gt(0)] = 1.0,
) -> Iterator[tuple[float, Tensor]]:
    """σ and x at every level, from `x` at the first one; two evaluations of the denoiser a step, one in a step to 0.

    s_churn: how much noise is added and removed again, over all steps; 0: none.
    s_min: the lowest noise level at which it is added, in units of σ_d.
    s_max: the highest, in units of σ_d; null: any.
    s_noise: the deviation of what is added.
    """
    lowest, highest = s_min * denoiser.sigma_data, float("inf") if s_max is None else s_max * denoiser.sigma_data
    yield levels[0], x
    for sigma, next_sigma in pairwise(levels):
        if s_churn > 0 and lowest <= sigma <= highest:
            raised = sigma * (1 + min(s_churn / (len(levels) - 1), CHURN_MOST))
            x = x + (raised**2 - sigma**2) ** 0.5 * s_noise * rng.normal(x)
            sigma = raised
        start = slope(denoiser, x, sigma, labels)
        euler = x + (next_sigma - sigma) * start
        if next_sigma > 0:  # the last step is Euler's: there is no slope at 0
            euler = x + (next_sigma - sigma) / 2 * (start + slope(denoiser, euler, next_sigma, labels))
        x = euler
        yield next_sigma, x
