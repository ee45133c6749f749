"""Canaries: images that are planted in the training set so many times, or never, by a fair coin of their own.

They are taken out of the pool: neither T nor H has one of them, and no metric but `canaries` sees them.
"""

import hashlib
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Gt

from difgen_cli.data._errors import DataError
from difgen_cli.neighbours import nearest

VERSION = 1
# A setting -> another one, and the values of that under which it is read; None: all but its default.
READ_WHEN = {"repeats": ("count", None), "kind": ("count", None), "seed": ("count", None)}
CHOICE, COINS, NOISE, LABELS = range(20_230_700, 20_230_704)  # streams of random numbers, apart from all others
WRONG = "mislabelled"
NEIGHBOUR = 5  # whose distance says how sparse the data are around an image
REFERENCES = 4096  # images among which it is looked for, at most


@dataclass(frozen=True)
class Planting:
    """What `data.canaries` asks for: `count` canaries for each number of repeats."""

    count: int
    repeats: tuple[int, ...]
    kind: str
    seed: int

    @property
    def images(self) -> int:
        """Canaries of all levels together."""
        return self.count * len(self.repeats)

    @property
    def rows(self) -> float:
        """Training images that they are expected to add: half of them are planted."""
        return self.count * sum(self.repeats) / 2

    @property
    def sparse(self) -> bool:
        return self.kind == "sparse"


@dataclass(frozen=True)
class Canaries:
    """The canaries of a training.

    images: (m, H, W, C) or (m, D) float32, scaled, as they are planted
    labels: (m,) int64, under which they are planted; None without a condition
    repeats: (m,) int64, how often a planted one stands in the training set
    planted: (m,) bool, by the coins
    """

    images: np.ndarray
    labels: np.ndarray | None
    repeats: np.ndarray
    planted: np.ndarray

    @property
    def rows(self) -> np.ndarray:
        """Which canary each training image is that they add, (r,) int64."""
        return np.repeat(np.arange(len(self.repeats)), np.where(self.planted, self.repeats, 0))


def canaries(
    *,
    count: Annotated[int, Ge(0)] = 0,
    repeats: tuple[Annotated[int, Gt(0)], ...] = (1, 4, 16),
    kind: Literal["held_out", "noise", "mislabelled", "sparse"] = "held_out",
    seed: Annotated[int, Ge(0)] = 0,
) -> Planting | None:
    """None where there are none. DataError for numbers of repeats that are not ascending.

    count: canaries for each number of repeats; 0 for none. A coin of its own decides for each whether it is planted.
    repeats: how often a planted one stands in the training set; each number has canaries of its own.
    kind: held_out are images as all others. noise: pixels at random, with the label of an image. mislabelled: an image
        with the label of another class. sparse: the images whose fifth nearest neighbour is farthest.
    seed: chooses them, whatever is trained; `data.seed` throws the coins.
    """
    if count == 0:
        return None
    if not repeats or list(repeats) != sorted(set(repeats)):
        raise DataError(
            f"data.canaries.repeats: {list(repeats)} are not different numbers in ascending order; write such as "
            "[1, 4, 16]"
        )
    return Planting(count, repeats, kind, seed)


def chosen(images: np.ndarray, rest: np.ndarray, count: int, *, sparse: bool = False, seed: int = 0) -> np.ndarray:
    """The places of `count` canaries, in random order, among those of `rest` (n,), whatever is trained: (count,) int64.

    Images that stand twice in the pool, byte for byte, are passed over: one that is never planted could be trained on.
    DataError where too few are left, or none to train on.
    """
    once = rest[_unique(images)[rest]]
    if count > len(once) or count >= len(rest):
        raise DataError(
            f"data.canaries.count: {count} canaries are too many for the {len(rest)} images that are not held out, "
            f"{len(once)} of which differ from all others; use fewer"
        )
    order = np.random.default_rng((CHOICE, seed)).permutation(once)
    if sparse:
        farthest = np.argsort(-_reach(images, order, rest), kind="stable")[:count]
        return np.random.default_rng((CHOICE, seed, 1)).permutation(order[farthest])
    return order[:count]


def planted(count: int, seed: int) -> np.ndarray:
    """The coins of `count` canaries, (count,) bool: each follows from `data.seed` and the canary's number alone."""
    return np.random.default_rng((COINS, seed)).random(count) < 0.5


def repeats_of(count: int, repeats: tuple[int, ...]) -> np.ndarray:
    """How often each of `count` canaries of all levels is repeated, (count,) int64: the levels take turns."""
    return np.resize(np.array(repeats, np.int64), count)


def as_planted(images: np.ndarray, kind: str, seed: int, pool: np.ndarray) -> np.ndarray:
    """Canaries as they are planted, uint8 like images (m, H, W, C), or points like (m, D): themselves, or noise.

    pool: images or points, whose mean and deviation points of noise have; pixels are any of 256 levels.
    """
    if kind != "noise":
        return images
    rng = np.random.default_rng((NOISE, seed))
    if images.dtype == np.uint8:
        return rng.integers(0, 256, images.shape, dtype=np.uint8)
    return np.asarray(pool.mean(0) + pool.std(0) * rng.standard_normal(images.shape), images.dtype)


def other_labels(labels: np.ndarray, classes: int, seed: int) -> np.ndarray:
    """Another label for each canary, all others alike in probability: (m,) int64. ValueError for a single class."""
    if classes < 2:
        raise DataError("data.canaries.kind: mislabelled needs a condition with two classes or more; use another kind")
    further = np.random.default_rng((LABELS, seed)).integers(1, classes, len(labels))
    return np.asarray((labels + further) % classes)


def _unique(images: np.ndarray) -> np.ndarray:
    """Whether each image differs from all others of the pool, (M,) bool."""
    digests = [hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).digest() for image in images]
    _, of_image, counts = np.unique(np.array(digests), return_inverse=True, return_counts=True)
    return np.asarray(counts[of_image] == 1)


def _reach(images: np.ndarray, places: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """How far each image's fifth nearest other is, among REFERENCES images of the rest at most: (n,)."""
    among = np.sort(np.random.default_rng(CHOICE).permutation(rest)[:REFERENCES])
    neighbours = min(NEIGHBOUR + 1, len(among))
    x, others = (images[at].astype(np.float32) for at in (places, among))
    distances, _ = nearest(x, others, neighbours)
    inside = np.isin(places, among)  # its own nearest is itself
    return np.asarray(np.where(inside, distances[:, -1], distances[:, max(0, neighbours - 2)]))
