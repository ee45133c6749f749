"""Exact nearest neighbours at any size: candidates by matrix products in float32, distances again in float64.

What the products lose is bounded, and whoever could be nearer within the bound is a candidate too: the result is that
of a search in float64. Memory beside the arrays themselves: a centred copy of the references, and a tile of products.
"""

import numpy as np

ROWS, COLUMNS = 2048, 2048  # queries and references of a tile: 16 MiB of products, which stay in the cache
SPARE = 2  # candidates beyond those asked for: few queries then need a second look
AGAIN = 256  # queries that are looked at again at once
CACHED = 1 << 16  # differences in float64 at once: 512 KiB
UNIT = 2.0**-24  # unit roundoff of float32
NEAR_DUPLICATE = 0.05  # root mean square over pixels of images in [−1, 1]
SIDE = 4  # of the blocks of pixels that a first look adds up
EXACT = 1 + 1e-9  # times a distance in float64: more than its own rounding


def flat(images: np.ndarray) -> np.ndarray:
    """Images or points as rows: (n, d) float32."""
    return np.ascontiguousarray(images.reshape(len(images), int(np.prod(images.shape[1:]))), np.float32)


def mirror(images: np.ndarray) -> np.ndarray:
    """Images (n, H, W, C) from right to left, as `train.flip` does it; a view."""
    return images[:, :, ::-1]


def with_mirrors(images: np.ndarray) -> np.ndarray:
    """Images (n, H, W, C), and after them all their mirror images: (2n, H, W, C)."""
    return np.concatenate([images, mirror(images)])


def nearest(
    queries: np.ndarray,
    references: np.ndarray,
    k: int = 2,
    *,
    exclude_self: bool = False,
    mirrored: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Euclidean distances (n, k) float64, ascending, to the k nearest references, and their indices (n, k) int64.

    Of references at the same distance the first come first. Where there are fewer than k references, the distance is
    infinite and the index −1. With `exclude_self` the queries are the references, and none is its own neighbour. With
    `mirrored` an image and its mirror image are one: the distance is to whichever is nearer.
    """
    if mirrored:
        looks = (nearest(side, references, k, exclude_self=exclude_self) for side in (queries, mirror(queries)))
        return nearer(*looks)
    q, r = flat(queries), flat(references)
    distances = np.full((len(q), k), np.inf)
    indices = np.full((len(q), k), -1, np.int64)
    there = min(k, len(r) - exclude_self)
    if there <= 0 or not len(q):
        return distances, indices
    search = _Search(r, k + exclude_self)
    for start in range(0, len(q), ROWS):
        block = slice(start, start + ROWS)
        own = _positions(search.places, np.arange(len(r))[block]) if exclude_self else None
        distances[block, :there], found = search(q[block], there, own)
        indices[block, :there] = search.places[found]
    return distances, indices


def near_duplicates(images: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Whether each image (n, H, W, C) has one among the others that is nearly the same, as it is or mirrored: (n,).

    Nearly the same: 6.4 of 255 grey levels apart, a PSNR of 32 dB, which is what a photograph loses as a JPEG file. On
    Fashion-MNIST such pairs are the same photograph, and from 0.05 on they are garments of one cut; CIFAR-10 and the
    digits have none. Points, whose density knows no such scale, have none either.
    """
    found = np.zeros(len(images), bool)
    if images.ndim != 4 or not (len(images) and len(others)):
        return found
    limit = NEAR_DUPLICATE * np.sqrt(images[0].size)
    # Sums over blocks, over the root of their size, are never farther apart than the images: few need a second look.
    coarse, _ = nearest(_in_blocks(images), _in_blocks(others), 1, mirrored=True)
    suspects = np.flatnonzero(coarse[:, 0] < 1.001 * limit)
    found[suspects] = nearest(images[suspects], others, 1, mirrored=True)[0][:, 0] < limit
    return found


def _in_blocks(images: np.ndarray) -> np.ndarray:
    n, height, width, channels = images.shape
    if min(height, width) < 4 * SIDE or width % SIDE:
        return images
    whole = images[:, : height - height % SIDE].reshape(n, height // SIDE, SIDE, width // SIDE, SIDE, channels)
    return np.asarray(whole.sum(axis=(2, 4)) / SIDE)


def nearer(one: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Of two searches for the k nearest in the same references, the k nearest of both, each reference once."""
    distances, indices = (np.concatenate(parts, axis=1) for parts in zip(one, other, strict=True))
    distances, indices = _ordered(distances, indices)
    again = np.tril(indices[:, :, None] == indices[:, None, :], -1).any(axis=2)  # an earlier column has it
    distances[again], indices[again] = np.inf, -1
    distances, indices = _ordered(distances, indices)
    return distances[:, : one[0].shape[1]], indices[:, : one[0].shape[1]]


def _ordered(distances: np.ndarray, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each row by distance, at the same distance by index."""
    order = np.lexsort((indices, distances), axis=1)
    return np.take_along_axis(distances, order, axis=1), np.take_along_axis(indices, order, axis=1)


class _Search:
    """References (m, d) float32, at their `places` among those given, ready for blocks of queries.

    Of equal ones only `most` are kept: others are never among so many nearest.
    """

    def __init__(self, references: np.ndarray, most: int) -> None:
        # ‖q − r‖² = ‖q‖² − 2 (q·r − ‖r‖²/2) loses digits with the norms: centred, they are as small as can be.
        self.centre = references.mean(axis=0)
        self.centred = references - self.centre
        half_norms = _half_norms(self.centred)
        self.places = _first_of_equals(references, half_norms, most)
        if len(self.places) < len(references):
            references, half_norms = references[self.places], half_norms[self.places]
            self.centred = self.centred[self.places]
        self.references = references
        self.half_norms = half_norms.astype(np.float32)
        self.longest = float(np.sqrt(2 * half_norms.max()))

    def __call__(self, queries: np.ndarray, k: int, own: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Distances (b, k) and positions (b, k) for queries (b, d); `own`: a query's own position, −1 for none."""
        centred = queries - self.centre
        scores, chosen = self._candidates(centred, min(k + SPARE, len(self.references) - (own is not None)), own)
        distances, positions = (part[:, :k] for part in _ordered(self._distances(queries, chosen), chosen))
        half_norms = _half_norms(centred)
        worst = (EXACT * distances[:, -1]) ** 2 / 2 - half_norms + self._lost(np.sqrt(2 * half_norms))
        doubtful = np.flatnonzero(scores[:, -1] <= worst)  # one that was not chosen could be nearer after all
        for rows in np.split(doubtful, range(AGAIN, len(doubtful), AGAIN)):
            near = self.half_norms - centred[rows] @ self.centred.T <= worst[rows, None]
            for row, columns in zip(rows, near, strict=True):
                more = np.flatnonzero(columns)
                more = more[more != own[row], None] if own is not None else more[:, None]
                exact = self._distances(np.broadcast_to(queries[row], (len(more), queries.shape[1])), more)
                distances[row], positions[row] = (part[0, :k] for part in _ordered(exact.T, more.T))
        return distances, positions

    def _candidates(self, queries: np.ndarray, count: int, own: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """The `count` smallest scores (b, count), ascending, of centred queries (b, d), and their positions.

        A score is half the squared distance but for ‖q‖²/2, which is the same for all references.
        """
        best = np.full((len(queries), count), np.inf, np.float32)
        positions = np.full((len(queries), count), -1, np.int64)
        for start in range(0, len(self.references), COLUMNS):
            part = slice(start, start + COLUMNS)
            scores = queries @ self.centred[part].T
            np.subtract(self.half_norms[part], scores, out=scores)
            if own is not None:
                here = np.flatnonzero((own >= start) & (own < start + COLUMNS))
                scores[here, own[here] - start] = np.inf
            rows = np.flatnonzero(scores.min(axis=1) < best[:, -1])
            found, columns = _smallest(scores[rows], min(count, scores.shape[1]))
            both = np.hstack([best[rows], found]), np.hstack([positions[rows], start + columns])
            best[rows], positions[rows] = (part[:, :count] for part in _ordered(*both))
        return best, positions

    def _distances(self, queries: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """Of each query (b, d) to the references at its positions (b, c): Σ(q − r)² in float64, a few at a time."""
        squares = np.empty(positions.shape)
        step = max(1, CACHED // max(1, positions.shape[1] * queries.shape[1]))
        for start in range(0, len(queries), step):
            part = slice(start, start + step)
            difference = queries[part, None].astype(np.float64) - self.references[positions[part]]
            squares[part] = np.einsum("bcd,bcd->bc", difference, difference)
        return np.sqrt(squares)

    def _lost(self, lengths: np.ndarray) -> np.ndarray:
        """How far a score may be off, for queries of these centred lengths and every reference.

        A product of d terms in float32 is off by at most γ_d ‖q‖‖r‖, γ_n = n u/(1 − n u), in whatever order they are
        summed (Higham 2002, section 3.1); centring, the norm and the difference add less than 16 roundings.
        """
        n = self.centred.shape[1] + 16
        smallest = float(np.finfo(np.float32).tiny)  # products below it are lost
        return np.asarray(n * UNIT / (1 - n * UNIT) * self.longest * (lengths + self.longest / 2) + n * smallest)


def _smallest(scores: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Each row's `count` smallest scores and their columns; overwrites `scores`.

    A few passes of argmin, which is vectorised, are faster than one argpartition.
    """
    rows = np.arange(len(scores))
    smallest, columns = np.empty((len(scores), count), scores.dtype), np.empty((len(scores), count), np.int64)
    for place in range(count):
        columns[:, place] = scores.argmin(axis=1)
        smallest[:, place] = scores[rows, columns[:, place]]
        scores[rows, columns[:, place]] = np.inf
    return smallest, columns


def _first_of_equals(references: np.ndarray, norms: np.ndarray, count: int) -> np.ndarray:
    """Places, ascending, of references that do not repeat `count` earlier ones; equal ones have equal norms.

    A thousand equal images would else all be candidates of every query near them.
    """
    _, of_norm, sharing = np.unique(norms, return_inverse=True, return_counts=True)
    seen: dict[bytes, int] = {}
    needed = np.ones(len(references), bool)
    for place in np.flatnonzero(sharing[of_norm] > count):
        content = references[place].tobytes()
        seen[content] = seen.get(content, 0) + 1
        needed[place] = seen[content] <= count
    return np.flatnonzero(needed)


def _positions(places: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Where in `places`, ascending, the wanted ones are; −1 for those that are not."""
    at = np.minimum(np.searchsorted(places, wanted), len(places) - 1)
    return np.where(places[at] == wanted, at, -1)


def _half_norms(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.einsum("nd,nd->n", x, x, dtype=np.float64) / 2)
