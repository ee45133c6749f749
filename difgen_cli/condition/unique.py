"""One label for each training image: the finest conditioning."""

import numpy as np

from difgen_cli.condition import Labels

VERSION = 1


def fit(images: np.ndarray, held_out: np.ndarray, train: np.ndarray) -> Labels:
    """Training image i has the label i; all others, held out or not in the subset, that of the nearest training image.

    `train` (n,): the subset's positions within `images`; distances are Euclidean over pixels.
    """
    subset = images[train]
    labels = _nearest(images, subset)
    labels[train] = np.arange(len(train))  # even where two training images are the same
    return Labels(labels, _nearest(held_out, subset), len(train))


def _nearest(images: np.ndarray, subset: np.ndarray) -> np.ndarray:
    from sklearn.metrics import pairwise_distances_argmin

    if not len(images):
        return np.zeros(0, np.int64)
    points = [array.reshape(len(array), -1) for array in (images, subset)]
    return np.asarray(pairwise_distances_argmin(*points), np.int64)
