"""The probability flow of a denoiser, up to noise and down again: deterministic walks that metrics take themselves."""

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from difgen_cli.metrics._noise import BLOCK_ELEMENTS, estimate

if TYPE_CHECKING:
    import torch

    from difgen_cli.diffusion import DenoiserLike

BLOCK_IMAGES = 512  # that walk together


def along(
    denoiser: "DenoiserLike", x: "torch.Tensor", levels: Sequence[float], labels: "torch.Tensor | None"
) -> "torch.Tensor":
    """x (n, ...) at the first of absolute noise levels, all above 0, carried to the last: like x.

    dx/dσ = (x − D(x; σ))/σ by Heun's steps, two evaluations each, whether the levels fall or rise (Karras et al. 2022,
    algorithm 1). NaN where the denoiser is not for one of the levels.
    """
    import torch

    block = max(1, min(BLOCK_IMAGES, BLOCK_ELEMENTS // x[0].numel()))
    ends = []
    for start in range(0, len(x), block):
        rows = slice(start, start + block)
        now, own = x[rows], None if labels is None else labels[rows]
        for sigma, following in pairwise(levels):
            slope = (now - estimate(denoiser, now, sigma, own)) / sigma
            ahead = now + (following - sigma) * slope
            slope_ahead = (ahead - estimate(denoiser, ahead, following, own)) / following
            now = now + (following - sigma) / 2 * (slope + slope_ahead)
        ends.append(now)
    return torch.cat(ends)


def rising(steps: int, lowest: float, highest: float, rho: float = 7.0) -> list[float]:
    """`steps` + 1 levels from the lowest to the highest, even in σ^(1/ρ) (Karras et al. 2022, eq. 5)."""
    ends = lowest ** (1 / rho), highest ** (1 / rho)
    return [float(level) for level in np.linspace(*ends, steps + 1) ** rho]
