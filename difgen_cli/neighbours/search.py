"""Exact nearest neighbours at any size: candidates by matrix products in float32, distances again in float64.

What the products lose is bounded, and whoever could be nearer within the bound is a candidate too: the result is that
of a search in float64. Large searches in many dimensions begin with a sieve of few, exact as well, or have candidates
from a card (`choose_with`). Memory beside the arrays themselves: a centred copy of the references, their shadows, and a
block of products.
"""

from collections.abc import Callable

import numpy as np

ROWS, COLUMNS = 2048, 2048  # queries and references of a tile: 16 MiB of products, which stay in the cache
SPARE = 2  # candidates beyond those asked for: few queries then need a second look
AGAIN = 256  # queries that are looked at again at once
CACHED = 1 << 16  # differences in float64 at once: 512 KiB
AXES = 256  # of the sieve
SIFTED = 1 << 25  # scores of the sieve held at once: 128 MiB
FEW = 64  # one in so many references may pass the sieve; where more do, it saves nothing
WORTH = 1 << 36  # products of numbers in a search, from which on a sieve repays its making
UNIT = 2.0**-24  # unit roundoff of float32
EXACT = 1 + 1e-9  # times a distance in float64: more than its own rounding
ROWS_OF_CARD, SPARE_OF_CARD = 8192, 6  # of a card, whose second look is the host's

# The lowest scores of centred queries and their positions, from references, half norms, a count and the queries' own
# positions, as `Search._candidates` has them; None where whoever chooses cannot.
Choose = Callable[[np.ndarray, np.ndarray, np.ndarray, int, np.ndarray | None], tuple[np.ndarray, np.ndarray] | None]
_choosers: list[Choose] = []


def choose_with(choose: Choose | None) -> None:
    """From now on another chooses the candidates of large searches in this process; None: nobody else."""
    _choosers[:] = [choose] if choose else []


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
    available = min(k, len(r) - exclude_self)
    if available <= 0 or not len(q):
        return distances, indices
    search = Search(r, k + exclude_self)
    look: Search | _Sieve = search
    rows = ROWS
    if _choosers and len(q) * r.size >= WORTH:
        search.choosers, rows = _choosers, ROWS_OF_CARD
    elif r.shape[1] >= 4 * AXES and len(search.places) >= 8 * AXES >= 64 * k and len(q) * r.size >= WORTH:
        look, rows = _Sieve(search), max(1, min(ROWS, SIFTED // len(search.places)))
    for start in range(0, len(q), rows):
        block = slice(start, start + rows)
        own = _positions(search.places, np.arange(len(r))[block]) if exclude_self else None
        distances[block, :available], positions = look(q[block], available, own)
        indices[block, :available] = search.places[positions]
    return distances, indices


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


class Search:
    """References (m, d) float32, at their `places` among those given, ready for blocks of queries.

    Of equal ones only `most` are kept: others are never among so many nearest.
    """

    def __init__(self, references: np.ndarray, most: int) -> None:
        # ‖q − r‖² = ‖q‖² − 2 (q·r − ‖r‖²/2) loses digits with the norms: centred, they are as small as can be.
        self.centre = references.mean(axis=0)
        self.centred = references - self.centre
        half_norms = half_norms_of(self.centred)
        self.places = _first_of_equals(references, half_norms, most)
        if len(self.places) < len(references):
            references, half_norms = references[self.places], half_norms[self.places]
            self.centred = self.centred[self.places]
        self.references = references
        self.half_norms = half_norms.astype(np.float32)
        self.longest = float(np.sqrt(2 * half_norms.max()))
        self.choosers: list[Choose] = []  # others that choose the candidates

    def __call__(self, queries: np.ndarray, k: int, own: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Distances (b, k) and positions (b, k) for queries (b, d); `own`: a query's own position, −1 for none."""
        centred = queries - self.centre
        count = k + (SPARE_OF_CARD if self.choosers else SPARE)
        scores, chosen = self._candidates(centred, min(count, len(self.references) - (own is not None)), own)
        distances, positions = (part[:, :k] for part in _ordered(self.distances(queries, chosen), chosen))
        worst = self.worst(distances[:, -1], half_norms_of(centred), centred.shape[1])
        doubtful = np.flatnonzero(scores[:, -1] <= worst)  # one that was not chosen could be nearer after all
        for rows in np.split(doubtful, range(AGAIN, len(doubtful), AGAIN)):
            near = self.half_norms - centred[rows] @ self.centred.T <= worst[rows, None]
            for row, columns in zip(rows, near, strict=True):
                more = np.flatnonzero(columns)
                more = more[more != own[row]] if own is not None else more
                distances[row], positions[row] = self.among(queries[row], more, k)
        return distances, positions

    def among(self, query: np.ndarray, positions: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Of one query (d,) the k nearest at some positions: distances (k,) and positions (k,)."""
        exact = self.distances(np.broadcast_to(query, (len(positions), len(query))), positions[:, None])
        distances, ordered = _ordered(exact.T, positions[None])
        return distances[0, :k], ordered[0, :k]

    def _candidates(self, queries: np.ndarray, count: int, own: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """The `count` smallest scores (b, count), ascending, of centred queries (b, d), and their positions.

        A score is half the squared distance but for ‖q‖²/2, which is the same for all references.
        """
        for choose in self.choosers:
            if (candidates := choose(queries, self.centred, self.half_norms, count, own)) is not None:
                return candidates
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
            lowest, columns = _smallest(scores[rows], min(count, scores.shape[1]))
            both = np.hstack([best[rows], lowest]), np.hstack([positions[rows], start + columns])
            best[rows], positions[rows] = (part[:, :count] for part in _ordered(*both))
        return best, positions

    def distances(self, queries: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """Of each query (b, d) to the references at its positions (b, c): Σ(q − r)² in float64, a few at a time."""
        squares = np.empty(positions.shape)
        step = max(1, CACHED // max(1, positions.shape[1] * queries.shape[1]))
        for start in range(0, len(queries), step):
            part = slice(start, start + step)
            difference = queries[part, None].astype(np.float64) - self.references[positions[part]]
            squares[part] = np.einsum("bcd,bcd->bc", difference, difference)
        return np.sqrt(squares)

    def worst(self, distances: np.ndarray, half_norms: np.ndarray, terms: int) -> np.ndarray:
        """The largest score, as it may come out, of a reference that is at most so far (b,) from its query.

        A product of `terms` numbers in float32 is off by at most γ ‖q‖‖r‖, γ = n u/(1 − n u), in whatever order they
        are summed (Higham 2002, section 3.1); centring, the norm and the difference add less than 16 roundings.
        """
        n, lengths = terms + 16, np.sqrt(2 * half_norms)
        smallest = float(np.finfo(np.float32).tiny)  # products below it are lost
        lost = n * UNIT / (1 - n * UNIT) * self.longest * (lengths + self.longest / 2) + n * smallest
        return np.asarray((EXACT * distances) ** 2 / 2 - half_norms + lost)


class _Sieve:
    """Search among shadows in few dimensions, which are never farther apart than what casts them.

    A shadow has the coordinates along some orthonormal axes A and the length of what is left: ‖q − r‖² is at least
    ‖Aᵀ(q − r)‖² + (‖q⊥‖ − ‖r⊥‖)². Photographs are near their first principal axes, so that few of them pass. Where too
    many do, as of white noise, the whole search has the query.
    """

    def __init__(self, search: Search) -> None:
        self.search = search
        self.axes = _principal_axes(search.centred)
        self.shadows = self._shadows(search.centred)

    def __call__(self, queries: np.ndarray, k: int, own: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """As the search itself."""
        search, centred = self.search, queries - self.search.centre
        scores, chosen = self._scores(centred, k, own)
        reached = np.sort(search.distances(queries, chosen), axis=1)[:, k - 1]
        half_norms = half_norms_of(centred)
        passed = scores <= search.worst(reached, half_norms, self.shadows.shape[1])[:, None]
        worst = search.worst(reached, half_norms, centred.shape[1])
        many = passed.sum(axis=1) > len(search.places) // FEW
        distances, positions = np.empty((len(queries), k)), np.empty((len(queries), k), np.int64)
        if many.any():
            distances[many], positions[many] = search(queries[many], k, None if own is None else own[many])
        for row in np.flatnonzero(~many):
            more = np.flatnonzero(passed[row])
            more = more[search.half_norms[more] - search.centred[more] @ centred[row] <= worst[row]]
            distances[row], positions[row] = search.among(queries[row], more, k)
        return distances, positions

    def _scores(self, centred: np.ndarray, k: int, own: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Scores (b, m) of the shadows, and k + SPARE positions of low ones (b, k + SPARE): the least ones of parts."""
        shadows, m = self._shadows(centred), len(self.shadows)
        scores, least = np.empty((len(centred), m), np.float32), []
        width = min(COLUMNS, m // (4 * (k + SPARE)))
        for start in range(0, m - width + 1, width):
            part = slice(start, start + width if start + 2 * width <= m else m)
            np.subtract(self.search.half_norms[part], shadows @ self.shadows[part].T, out=scores[:, part])
            if own is not None:
                here = np.flatnonzero((own >= part.start) & (own < part.stop))
                scores[here, own[here]] = np.inf
            least.append(start + scores[:, part].argmin(axis=1))
        positions = np.stack(least, axis=1)
        low = np.argpartition(np.take_along_axis(scores, positions, axis=1), k + SPARE, axis=1)[:, : k + SPARE]
        return scores, np.take_along_axis(positions, low, axis=1)

    def _shadows(self, centred: np.ndarray) -> np.ndarray:
        """(n, axes + 1) float32 of rows (n, d): the coordinates in float64, the rest rounded up, which is safe."""
        shadows = np.empty((len(centred), self.axes.shape[1] + 1), np.float32)
        for start in range(0, len(centred), ROWS):
            part = slice(start, start + ROWS)
            rows = centred[part].astype(np.float64)
            along, whole = rows @ self.axes, np.einsum("nd,nd->n", rows, rows)
            rest = np.sqrt(np.maximum(0, whole - np.einsum("na,na->n", along, along)))
            shadows[part, :-1], shadows[part, -1] = along, rest + 1e-6 * np.sqrt(whole)
        return shadows


def _principal_axes(rows: np.ndarray) -> np.ndarray:
    """(d, AXES) float64, orthonormal: the first ones of a sample, as any orthonormal axes will do."""
    sample = rows[:: max(1, len(rows) // (4 * AXES))][: 8 * AXES].astype(np.float64)
    _, vectors = np.linalg.eigh(sample @ sample.T)
    return np.asarray(np.linalg.qr(sample.T @ vectors[:, -AXES:])[0])


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


def half_norms_of(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.einsum("nd,nd->n", x, x, dtype=np.float64) / 2)
