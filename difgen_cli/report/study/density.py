"""How densely images lie around each image of a pool, and how far a model's other training images are."""

from __future__ import annotations

import numpy as np

from difgen_cli.neighbours import flat, mirror

NEIGHBOUR = 5  # whose distance is the spacing: the nearest alone is mostly chance


def apart(images: np.ndarray, group: np.ndarray, mirrored: bool = False) -> np.ndarray:
    """Euclidean distances (n, g) of images (n, H, W, C), or points (n, D), to the first of each group, ascending by
    its number; infinite to the own group. With `mirrored` to the nearer of an image and its mirror image.

    group: (n,) of near-duplicates, which count as one image.
    """
    names, firsts = np.unique(group, return_index=True)
    others = flat(images[firsts]).astype(np.float64)
    least = np.full((len(images), len(names)), np.inf)
    for side in (images, mirror(images)) if mirrored and images.ndim == 4 else (images,):
        rows = flat(side).astype(np.float64)
        squares = (rows**2).sum(axis=1)[:, None] + (others**2).sum(axis=1) - 2 * rows @ others.T
        least = np.minimum(least, squares)
    distances = np.asarray(np.sqrt(np.maximum(least, 0.0)))
    distances[group[:, None] == names] = np.inf
    return distances


def spacing(distances: np.ndarray) -> np.ndarray:
    """The distance to the fifth nearest other group, (n,), from those of `apart`; NaN where there are fewer."""
    if distances.shape[1] < NEIGHBOUR:
        return np.full(len(distances), np.nan)
    return _known(np.partition(distances, NEIGHBOUR - 1, axis=1)[:, NEIGHBOUR - 1])


def to_nearest(distances: np.ndarray, among: np.ndarray) -> np.ndarray:
    """The distance to the nearest other group `among` (g,) bool, (n,), from those of `apart`; NaN where none is."""
    return _known(distances[:, among].min(axis=1, initial=np.inf))


def _known(distances: np.ndarray) -> np.ndarray:
    return np.asarray(np.where(np.isfinite(distances), distances, np.nan))
