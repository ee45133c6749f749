"""Repeats and near-duplicates of an image are one image: which they are, and neighbours that are not among them.

Two images are near-duplicates where they are less than 0.05 rms apart, as they are, or mirrored where training showed
mirror images too; points, whose density knows no such scale, where they are equal. The relation is not transitive: of
three frames of a film the first and the last may be farther apart than the limit. Two rules follow from it.

- A *second neighbour* is the nearest image that is no near-duplicate of the first one itself. Whatever is skipped is as
  near to the first one as the limit says, so that no chain of near-duplicates hides an image that is another one.
- *Counts* need classes, and take groups: images that a chain of near-duplicates joins (connected components).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce

import numpy as np

from difgen_cli.neighbours import search
from difgen_cli.neighbours.pairs import DOUBTFUL, close, distances_of
from difgen_cli.neighbours.search import EXACT, Search, flat, half_norms_of, mirror, nearer, nearest

NEAR_DUPLICATE = 0.05  # root mean square over pixels of images in [−1, 1]
ROWS = 1 << 14  # images in float32 at once
MARKS = 1 << 26  # of who is whose near-duplicate, held at once: 64 MiB

Look = tuple[np.ndarray, np.ndarray]  # queries (n, ...), and all references (N, ...) as the queries are to see them


def near_duplicates(images: np.ndarray, others: np.ndarray, mirrored: bool = True) -> np.ndarray:
    """Whether each image (n, H, W, C) has one among the others that is nearly the same, as it is or `mirrored`: (n,).

    Nearly the same: 6.4 of 255 grey levels apart, a PSNR of 32 dB, which is what a photograph loses as a JPEG file. On
    Fashion-MNIST such pairs are the same photograph, and from 0.05 on they are garments of one cut; CIFAR-10 and the
    digits have none. Points, whose density knows no such scale, have none either.
    """
    near = np.zeros(len(images), bool)
    if images.ndim == 4:
        for side in (images, mirror(images)) if mirrored else (images,):
            for rows, _ in close(side, others, _limit(images)):
                near[rows] = True
    return near


def groups(images: np.ndarray, mirrored: bool = False) -> np.ndarray:
    """The place of the first image of each image's group: (n,) int64, for images (n, H, W, C) or points (n, D).

    A group is what near-duplicates join, also over others in between: its ends may differ by more than one pair does.
    Equal points are a group.
    """
    first = _first_equal(images, mirrored)
    if images.ndim != 4:
        return first
    kept = np.flatnonzero(first == np.arange(len(images)))
    once = images if len(kept) == len(images) else images[kept]
    label = np.arange(len(kept))
    for side in (once, mirror(once)) if mirrored else (once,):
        for rows, columns in close(side, once, _limit(images)):
            label = _joined(label, rows, columns)
    return np.asarray(kept[label[np.searchsorted(kept, first)]])


def related(
    images: Callable[[np.ndarray], np.ndarray], count: int, places: np.ndarray, mirrored: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Places, ascending, of the images that are nearly the same as one of those at `places`, these among them, and the
    group of each: a place within the result, (r,) int64 each.

    images: gives those at some of `count` places; so many as are looked at together, and never all of them.
    """
    asked = images(places)
    parts = (np.arange(start, min(start + ROWS, count)) for start in range(0, count, ROWS))
    near = [part[near_duplicates(images(part), asked, mirrored)] for part in parts]
    near_or_asked = np.union1d(np.concatenate(near), places)
    return near_or_asked, groups(images(near_or_asked), mirrored)


def distinct(images: np.ndarray, mirrored: bool = False, count: int | None = None) -> np.ndarray:
    """Places, ascending, of one image of each group, its first: all of 0 … n − 1 where no image repeats another.

    count: the first so many, for which no more images are looked at than are needed.
    """
    looked = len(images) if count is None else min(count, len(images))
    while True:
        first = groups(images[:looked], mirrored)
        places = np.flatnonzero(first == np.arange(looked))
        if looked == len(images) or len(places) >= (count or 0):
            return places if count is None else places[:count]
        looked = min(2 * looked, len(images))


@dataclass(frozen=True)
class Repeats:
    """Images (N, H, W, C), or points (N, D), with their groups (N,): who is no other image than whom."""

    images: np.ndarray
    group: np.ndarray
    mirrored: bool = False

    @staticmethod
    def of(images: np.ndarray, mirrored: bool = False, within: np.ndarray | None = None) -> Repeats:
        """With the groups that they have; `within` (N,), each one's distance to its nearest other, spares a search."""
        if within is None:
            return Repeats(images, groups(images, mirrored), mirrored)
        limit = EXACT * _limit(images) if images.ndim == 4 else 0.0
        near = np.flatnonzero(within <= limit)
        group = np.arange(len(images))
        group[near] = near[groups(images[near], mirrored)]
        return Repeats(images, group, mirrored)

    @property
    def count(self) -> int:
        """Groups: images, each counted once."""
        return len(np.unique(self.group))

    @cached_property
    def members(self) -> np.ndarray:
        """Places, ascending, of images that have a near-duplicate."""
        return np.flatnonzero(np.bincount(self.group, minlength=len(self.group))[self.group] > 1)

    def nearest(self, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Distances (n, 2) and places (n, 2) of the nearest image, and of the nearest that is none of its
        near-duplicates: infinite and −1 where every other image is one.

        Where no image has a near-duplicate, that is what the search for two gives, to the last bit.
        """
        return self.neighbours([(side, self.images) for side in self._sides(queries)])

    def neighbours(self, looks: Sequence[Look]) -> tuple[np.ndarray, np.ndarray]:
        """The same for queries seen in several ways, each at the nearest of them: mirrored, cut out, or as features."""
        distances, places = reduce(nearer, (nearest(*look) for look in looks))
        again = np.flatnonzero(self._near(places[:, 0], places[:, 1]))
        if len(again):
            some = [(queries[again], references) for queries, references in looks]
            distances[again, 1], places[again, 1] = self._beyond(some, places[again, 0])
        return distances, places

    def apart(self, looks: Sequence[Look] | None = None, within: np.ndarray | None = None) -> np.ndarray:
        """Of each image the distance to the nearest that is neither itself nor its near-duplicate; infinite for none.

        looks: at these images, in the same order, as features for instance; by default as they are. within: (N,) that
        to the nearest other, where it is known.
        """
        looks = looks or [(side, self.images) for side in self._sides(self.images)]
        if within is None:
            within = reduce(nearer, (nearest(*look, 1, exclude_self=True) for look in looks))[0][:, 0]
        distances = within.copy()
        if len(self.members):
            some = [(queries[self.members], references) for queries, references in looks]
            distances[self.members] = self._beyond(some, self.members)[0]
        return np.asarray(distances)

    def _sides(self, queries: np.ndarray) -> tuple[np.ndarray, ...]:
        return (queries, mirror(queries)) if self.mirrored else (queries,)

    def _near(self, places: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Whether the image at each place is a near-duplicate of the other one, (n,); −1 is no image."""
        near = (others >= 0) & (self.group[places] == self.group[others])
        if self.images.ndim == 4:
            for start in range(0, len(pairs := np.flatnonzero(near)), DOUBTFUL):
                part = pairs[start : start + DOUBTFUL]
                one, other = self.images[places[part]], flat(self.images[others[part]])
                sides = [distances_of(flat(side), other) for side in self._sides(one)]
                near[part] = np.min(sides, axis=0) < _limit(self.images)
        return np.asarray(near)

    def _beyond(self, looks: Sequence[Look], of: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of each query the distance (n,) to the nearest reference that is no near-duplicate of the image at the place
        `of` (n,), nor that image, and its place (n,)."""
        kept = self._kept  # an exact repeat is as far as its first, and skipped where that is
        searches = [(flat(q), Search(flat(r)[kept], len(kept))) for q, r in looks]
        distances, places = np.full(len(of), np.inf), np.full(len(of), -1)
        order, step = np.argsort(of, kind="stable"), max(1, min(MARKS, search.SIFTED) // len(kept))
        for start in range(0, len(order), step):
            rows = order[start : start + step]
            skipped = self._marks(of[rows])[:, kept]
            for queries, other in searches:
                reached, at = _unless(other, queries[rows], skipped)
                at = np.where(at >= 0, kept[at], -1)
                closer = (reached < distances[rows]) | ((reached == distances[rows]) & (at < places[rows]))
                distances[rows], places[rows] = (
                    np.where(closer, new, old[rows]) for new, old in ((reached, distances), (at, places))
                )
        return distances, places

    @cached_property
    def _kept(self) -> np.ndarray:
        """Places of images that are no exact repeat of an earlier one, as they are or mirrored."""
        first = np.arange(len(self.images))
        first[self.members] = self.members[_first_equal(self.images[self.members], self.mirrored)]
        return np.flatnonzero(first == np.arange(len(first)))

    def _marks(self, places: np.ndarray) -> np.ndarray:
        """Whether each image is a near-duplicate of the one at each place, or that one itself: (n, N)."""
        some, inverse = np.unique(places, return_inverse=True)
        marks = self.group[some, None] == self.group
        if self.images.ndim == 4:
            candidates = np.flatnonzero(marks.any(axis=0))
            marks[:] = False
            for side in self._sides(self.images[some]):
                for rows, columns in close(side, self.images[candidates], _limit(self.images)):
                    marks[rows, candidates[columns]] = True
        return np.asarray(marks[inverse])


def _limit(images: np.ndarray) -> float:
    """The distance below which two images (n, H, W, C) are near-duplicates."""
    return float(NEAR_DUPLICATE * np.sqrt(images[0].size)) if len(images) else 0.0


def _unless(search: Search, queries: np.ndarray, skipped: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance (b,) of each query (b, d) to the nearest reference that is not skipped (b, m), and its position.

    Infinite and −1 where all are.
    """
    centred = queries - search.centre
    scores = search.half_norms - centred @ search.centred.T
    scores[skipped] = np.inf
    best = scores.argmin(axis=1)
    some = ~skipped.all(axis=1)
    reached = np.where(some, search.distances(queries, best[:, None])[:, 0], np.inf)
    worst = search.worst(reached, half_norms_of(centred), queries.shape[1])
    positions = np.full(len(queries), -1)
    for row in np.flatnonzero(some):
        near = np.flatnonzero(scores[row] <= worst[row])
        distance, position = search.among(queries[row], near, 1)
        reached[row], positions[row] = distance[0], position[0]
    return reached, positions


def _first_equal(images: np.ndarray, mirrored: bool) -> np.ndarray:
    """The place of the first image that equals each one in every value, as it is or mirrored: (n,); by 128-bit hash."""
    seen: dict[bytes, int] = {}
    first = np.empty(len(images), np.int64)
    for place, image in enumerate(images):
        sides = (image, image[:, ::-1]) if mirrored else (image,)
        name = min(hashlib.blake2b((side + 0.0).tobytes(), digest_size=16).digest() for side in sides)  # no −0
        first[place] = seen.setdefault(name, place)
    return first


def _joined(label: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Labels (n,), each the place of its group's first, once the pairs are in one group each."""
    while True:
        a, b = label[one], label[other]
        differ = a != b
        if not differ.any():
            return label
        one, other = one[differ], other[differ]
        parent = np.arange(len(label))
        np.minimum.at(parent, np.maximum(a, b)[differ], np.minimum(a, b)[differ])
        while (parent[parent] != parent).any():
            parent = parent[parent]
        label = parent[label]
