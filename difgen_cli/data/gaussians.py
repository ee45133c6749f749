"""A mixture of Gaussians of full rank, whose score is known."""

from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt

from difgen_cli.data import Pool, Population

VERSION = 1


def load(
    *,
    components: Annotated[int, Gt(0)] = 4,
    dimension: Annotated[int, Gt(0)] = 2,
    points: Annotated[int, Gt(0)] = 8192,
    separation: Annotated[float, Ge(0)] = 1.0,
    deviation: Annotated[float, Gt(0)] = 0.25,
    anisotropy: Annotated[float, Ge(1)] = 1.0,
    draw: Annotated[int, Ge(0)] = 0,
) -> Pool:
    """(points, dimension) float32 of equally likely components, with their labels.

    One component is a Gaussian, whose exact denoiser is the Wiener filter.

    components: Gaussians; their means are drawn from a Gaussian themselves.
    dimension: of the space.
    points: all of them; with fewer, the first of more.
    separation: deviation of the means, in each direction.
    deviation: of a component, in its widest direction.
    anisotropy: how many times narrower a component is in its narrowest direction; the others lie evenly between on a
        logarithmic scale, and the directions are random.
    draw: chooses the components and the points.
    """
    rng = np.random.default_rng((draw, 0))
    means = separation * rng.standard_normal((components, dimension))
    narrowest = deviation / anisotropy
    variances = np.geomspace(deviation, narrowest, dimension) ** 2 if dimension > 1 else np.array([deviation**2])
    noise = float(np.sqrt(variances.min()))
    axes, _ = np.linalg.qr(rng.standard_normal((components, dimension, dimension)))
    factors = axes * np.sqrt(np.maximum(variances - noise**2, 0))
    weights = np.full(components, 1 / components)
    population = Population(weights, means, factors, noise)
    x, labels = population.draw(points, draw)
    return Pool(x, labels, tuple(str(k) for k in range(components)), population=population)
