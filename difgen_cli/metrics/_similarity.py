"""Cosines of features, and the shares of images that are as similar to a training image as copies are."""

import numpy as np

from difgen_cli.metrics import Value, wilson
from difgen_cli.metrics._groups import share_interval
from difgen_cli.neighbours import nearest

PAIRED = 2  # images at most that are one another's nearest: both are hits, and are one event


def directions(features: np.ndarray) -> np.ndarray:
    """Rows (n, d) float64 of unit length; a row of zeros, which has no direction, stays so."""
    x = np.asarray(features, np.float64)
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return np.asarray(np.divide(x, length, out=np.zeros_like(x), where=length > 0))


def cosines(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Of each row (n, d) with the same row of the other: (n,) in [−1, 1]; 0 with a row of zeros."""
    return np.asarray(np.clip(np.einsum("nd,nd->n", directions(one), directions(other)), -1, 1))


def nearest_cosines(sides: list[np.ndarray], references: np.ndarray, *, exclude_self: bool = False) -> np.ndarray:
    """The largest cosine (n,) of each image, seen as each of its sides (n, d), with any reference (m, d).

    exclude_self: the sides are of the references themselves, in their order, and none is its own neighbour. Empty where
    there is no other.
    """
    if len(references) <= exclude_self:
        return np.zeros(0)
    unit, best = directions(references), np.full(len(sides[0]), -1.0)
    for side in sides:
        queries = directions(side)
        places = nearest(queries, unit, 1, exclude_self=exclude_self)[1][:, 0]
        np.maximum(best, cosines(queries, unit[places]), out=best)
    return best


def share_columns(name: str, hits: np.ndarray, groups: np.ndarray | None = None) -> dict[str, Value]:
    """`name`, the share of hits (n,), with `_lo` and `_hi`: Wilson's, or over `groups` (n,); None of no images."""
    if not len(hits):
        return dict.fromkeys((name, f"{name}_lo", f"{name}_hi"))
    lower, upper = share_interval(hits, groups)
    return {name: float(hits.mean()), f"{name}_lo": lower, f"{name}_hi": upper}


def background_columns(name: str, hits: np.ndarray) -> dict[str, Value]:
    """The same for training images beside their nearest other ones: worth half as many, as hits come in pairs."""
    if not len(hits):
        return share_columns(name, hits)
    lower, upper = wilson(float(hits.sum()) / PAIRED, len(hits) / PAIRED)
    return {name: float(hits.mean()), f"{name}_lo": lower, f"{name}_hi": upper}
