"""Which images are close to which: all pairs within a distance, in float64, without looking at most of them."""

from collections.abc import Iterator

import numpy as np

from difgen_cli.neighbours import search
from difgen_cli.neighbours.search import EXACT, Search, flat, half_norms_of

SIDE = 4  # of the blocks of pixels that a first look adds up
SUMMED = 1.001  # times the limit: more than the rounding of those sums
SLACK = 1e-9  # of the largest coordinate along an axis: more than its rounding
SAMPLED = 256  # images that the axis is taken from
DOUBTFUL = 1 << 12  # pairs whose distance is taken in float64 at once


def close(queries: np.ndarray, references: np.ndarray, limit: float) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of places in queries (n, H, W, C) and references (m, H, W, C) less than `limit` apart in float64, in parts.

    Neither sums over blocks of pixels, over the root of their size, nor coordinates along an axis are farther apart
    than the images. In the order of such a coordinate, each query has but a window of references to be compared with.
    """
    if not (len(queries) and len(references)):
        return
    small, others = (flat(_in_blocks(part)) for part in (queries, references))
    along, across = (part.astype(np.float64) @ _axis(others) for part in (small, others))
    order, places = along.argsort(), across.argsort()
    reach = SUMMED * limit + SLACK * max(abs(along).max(), abs(across).max())
    coarse = Search(others[places], len(others))
    for start in range(0, len(order), search.ROWS):
        rows = order[start : start + search.ROWS]
        low, high = np.searchsorted(across[places], [along[rows[0]] - reach, along[rows[-1]] + reach])
        centred = small[rows] - coarse.centre
        worst = coarse.worst(np.full(len(rows), SUMMED * limit), half_norms_of(centred), centred.shape[1])
        for left in range(low, high, search.COLUMNS):
            part = slice(left, min(left + search.COLUMNS, high))
            near = coarse.half_norms[part] - centred @ coarse.centred[part].T <= worst[:, None]
            some, them = rows[near.any(axis=1)], places[part][near.any(axis=0)]
            if len(some):
                i, j = _closer(flat(queries[some]), flat(references[them]), limit)
                yield some[i], them[j]


def distances_of(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Of each row (n, d) to its own, in float64: (n,)."""
    difference = one.astype(np.float64) - other
    return np.asarray(np.sqrt(np.einsum("nd,nd->n", difference, difference)))


def _closer(queries: np.ndarray, references: np.ndarray, limit: float) -> tuple[np.ndarray, np.ndarray]:
    """The same of few rows (b, d) and (c, d): float64 decides where the rounding of float32 leaves a doubt."""
    search = Search(references, len(references))
    centred = queries - search.centre
    scores, own = search.half_norms - centred @ search.centred.T, half_norms_of(centred)
    upper = search.worst(np.full(len(queries), limit), own, queries.shape[1])
    lost = search.worst(np.zeros(len(queries)), own, queries.shape[1]) + own
    near = scores < ((limit / EXACT) ** 2 / 2 - own - lost)[:, None]
    i, j = np.nonzero(~near & (scores <= upper[:, None]))
    for start in range(0, len(i), DOUBTFUL):
        part = slice(start, start + DOUBTFUL)
        near[i[part], j[part]] = distances_of(queries[i[part]], references[j[part]]) < limit
    rows, columns = np.nonzero(near)
    return rows, columns


def _in_blocks(images: np.ndarray) -> np.ndarray:
    """Sums over blocks of pixels, over the root of their size; the images themselves where they are small."""
    n, height, width, channels = images.shape
    if min(height, width) < 4 * SIDE or width % SIDE:
        return images
    whole = images[:, : height - height % SIDE].reshape(n, height // SIDE, SIDE, width // SIDE, SIDE, channels)
    return np.asarray(whole.sum(axis=(2, 4)) / SIDE)


def _axis(rows: np.ndarray) -> np.ndarray:
    """(d,) float64 of length 1, along which a sample of the rows (n, d) varies most; 0 where they are all equal."""
    sample = rows[:: max(1, len(rows) // SAMPLED)][:SAMPLED].astype(np.float64)
    sample -= sample.mean(axis=0)
    few = sample.shape[1] <= len(sample)  # of the two products the smaller one, whose axis is the same
    axis = np.linalg.eigh(sample.T @ sample if few else sample @ sample.T)[1][:, -1]
    axis = axis if few else sample.T @ axis
    length = np.linalg.norm(axis)
    return np.asarray(axis / length if length > 0 else axis)
