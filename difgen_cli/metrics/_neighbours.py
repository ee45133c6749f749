"""Exact nearest neighbours: candidates by matrix products in float32, their distances again in float64."""

import numpy as np

TILE = 1 << 22  # products held at once: 16 MiB
SPARE = 2  # candidates beyond those asked for: float32 products may swap distances that nearly tie


def flat(images: np.ndarray) -> np.ndarray:
    """Images or points as rows: (n, d) float32."""
    return np.ascontiguousarray(images.reshape(len(images), int(np.prod(images.shape[1:]))), np.float32)


def nearest(
    queries: np.ndarray, references: np.ndarray, k: int = 2, *, exclude_self: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Euclidean distances (n, k) float64, ascending, to the k nearest references, and their indices (n, k) int64.

    Where there are fewer than k references, the distance is infinite and the index −1. With `exclude_self` the
    queries are the references, and none is its own neighbour.
    """
    q, r = flat(queries), flat(references)
    distances = np.full((len(q), k), np.inf)
    indices = np.full((len(q), k), -1, np.int64)
    candidates = min(max(4, k + SPARE), len(r) - exclude_self)
    if candidates <= 0:
        return distances, indices
    found = min(k, candidates)
    # ‖q − r‖² = ‖q‖² − 2 (q·r − ‖r‖²/2) loses digits with the norms: centred, they are as small as can be.
    centre = r.mean(axis=0)
    centred = r - centre
    half_norms = np.einsum("nd,nd->n", centred, centred) / 2
    rows = max(1, TILE // len(r))
    for start in range(0, len(q), rows):
        block = q[start : start + rows]
        scores = half_norms - (block - centre) @ centred.T  # (b, N): half the squared distance but for ‖q‖²/2
        if exclude_self:
            scores[np.arange(len(block)), np.arange(start, start + len(block))] = np.inf
        chosen = _smallest(scores, candidates)
        exact = np.stack([_distance(block, r[column]) for column in chosen.T], axis=1)
        order = np.argsort(exact, axis=1, kind="stable")[:, :found]
        distances[start : start + rows, :found] = np.take_along_axis(exact, order, axis=1)
        indices[start : start + rows, :found] = np.take_along_axis(chosen, order, axis=1)
    return distances, indices


def _smallest(scores: np.ndarray, count: int) -> np.ndarray:
    """Columns of each row's `count` smallest scores, ascending by column; overwrites `scores`.

    A few passes of argmin, which is vectorised, are faster than one argpartition.
    """
    rows = np.arange(len(scores))
    columns = np.empty((len(scores), count), np.int64)
    for place in range(count):
        columns[:, place] = scores.argmin(axis=1)
        scores[rows, columns[:, place]] = np.inf
    columns.sort(axis=1)
    return columns


def _distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    difference = a.astype(np.float64) - b
    return np.asarray(np.sqrt(np.einsum("nd,nd->n", difference, difference)))
