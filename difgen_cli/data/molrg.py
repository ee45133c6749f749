"""A mixture of low-rank Gaussians (Wang et al. 2024): data whose intrinsic dimension is known."""

from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt, Lt

from difgen_cli.data import DataError, Pool, Population

VERSION = 1


def load(
    *,
    components: Annotated[int, Gt(0)] = 2,
    dimension: Annotated[int, Gt(0)] = 48,
    rank: Annotated[int, Gt(0)] = 6,
    points: Annotated[int, Gt(0)] = 8192,
    noise: Annotated[float, Ge(0), Lt(1)] = 0.0,
    draw: Annotated[int, Ge(0)] = 0,
) -> Pool:
    """(points, dimension) float32: x = U_k a + noise U_k⊥ e of component k, with a and e of unit Gaussians.

    The components are equally likely and have mean 0; their subspaces U_k are random and orthogonal to each other, as
    the paper's theorem wants them. Labels say which component a point is of. A subspace is known from as many points
    of it as it has dimensions, so that learning should set in at about components × rank training points.

    components: subspaces; with their rank at most as many as the dimension holds.
    dimension: of the space that they lie in.
    rank: the dimension of each subspace, the intrinsic one.
    points: all of them; with fewer, the first of more.
    noise: deviation off the subspace, from 0 to below 1, the deviation in it.
    draw: chooses the subspaces and the points.
    """
    if components * rank > dimension:
        raise DataError(
            f"data.rank: {components} orthogonal subspaces of {rank} dimensions do not fit into {dimension}: "
            "lower data.rank or data.components, or raise data.dimension"
        )
    frame, _ = np.linalg.qr(np.random.default_rng((draw, 0)).standard_normal((dimension, components * rank)))
    bases = frame.reshape(dimension, components, rank).transpose(1, 0, 2)
    factors = np.sqrt(1 - noise**2) * bases  # so that the noise adds nothing within the subspace
    weights, means = np.full(components, 1 / components), np.zeros((components, dimension))
    population = Population(weights, means, factors, noise)
    x, labels = population.draw(points, draw)
    return Pool(x, labels, tuple(str(k) for k in range(components)), population=population)
