"""DDIM as it is published: in z = √ᾱ x, whose clean and noisy parts have variances that sum to 1 (Song et al. 2021)."""

from itertools import pairwise
from typing import Annotated

from annotated_types import Ge, Le

from difgen_cli.sampling import estimate

DEFAULTS = {"steps": 50}


def sample(denoiser, x, levels, labels, rng, *, eta: Annotated[float, Ge(0), Le(1)] = 0.0):
    """σ and x at every level, from `x` at the first one.

    eta: share of the noise of DDPM that is drawn anew in each step (eq. 16); 0 draws none.
    """
    unit = denoiser.sigma_data
    alpha = [1 / (1 + (sigma / unit) ** 2) for sigma in levels]  # ᾱ of each level
    z = alpha[0] ** 0.5 * x / unit
    yield levels[0], x
    for (sigma, after), (a, b) in zip(pairwise(levels), pairwise(alpha), strict=True):
        clean = estimate(denoiser, unit * z / a**0.5, sigma, labels) / unit
        noise = (z - a**0.5 * clean) / (1 - a) ** 0.5
        fresh = eta * ((1 - b) / (1 - a) * (1 - a / b)) ** 0.5 if eta else 0.0
        z = b**0.5 * clean + (1 - b - fresh**2) ** 0.5 * noise  # eq. 12
        if fresh:
            z = z + fresh * rng.normal(z)
        yield after, unit * z / b**0.5
