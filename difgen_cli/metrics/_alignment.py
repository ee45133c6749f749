"""Images up to brightness, contrast, a small shift, the mirror and smoothing: how near they lie to training images.

Every image is cut to its interior, its mean is taken away, and it is brought to length 1: brightness and contrast are
gone, and a distance of √(2 − 2 cos) is left. The interior leaves room for shifts, so that no border is made up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property, reduce

import numpy as np

from difgen_cli.neighbours import flat, mirror, nearer, nearest

ALIKE = 0.1  # between unit vectors: images of contrast 0.5 with a difference of 0.05 rms, a near-duplicate
CONSTANT = 1e-6  # rms about the mean: an image of one colour, which has no direction
LEAST, STEP, STEPS = 0.35, 0.01, 240  # pixels, of the smoothings that kernels are made for: 0.35 … 3.9, 1 % apart
GOLDEN = (5**0.5 - 1) / 2
MOST = 1 << 26  # numbers held at once: 256 MiB
CANDIDATES = 8  # training images that a smoothed sample is fitted to
COARSE = (1.0, 2.0)  # pixels, of the smoothing that candidates are found by
SIGMAS = (0.5, 0.65, 0.85, 1.1, 1.4, 1.8, 2.3, 3.0)  # pixels, of the smoothing that a fit starts from
NEXT = 1.3  # between two of them
NARROWINGS = 5  # of the place of the best smoothing, each to 0.62 of its length
BORDERS = ("edge", "symmetric")  # how what lies outside is taken to be, as most programs do


def sides(images: np.ndarray, shift: int) -> list[np.ndarray]:
    """The interior of images (n, H, W, C) as it is, then moved by up to `shift` pixels, then the same mirrored."""
    height, width = images.shape[1:3]
    steps = sorted(
        ((r, c) for r in range(-shift, shift + 1) for c in range(-shift, shift + 1)), key=lambda s: s != (0, 0)
    )
    return [
        side[:, shift + r : height - shift + r, shift + c : width - shift + c]
        for side in (images, mirror(images))
        for r, c in steps
    ]  # fmt: skip


def inside(images: np.ndarray, shift: int) -> np.ndarray:
    """The interior of images, unmoved."""
    return images[:, shift : images.shape[1] - shift, shift : images.shape[2] - shift]


def _inside(planes: np.ndarray, shift: int) -> np.ndarray:
    """The same of images by channels (n, C, H, W)."""
    return planes[:, :, shift : planes.shape[2] - shift, shift : planes.shape[3] - shift]


def _planes(images: np.ndarray) -> np.ndarray:
    """Images (n, H, W, C) by channels: (n, C, H, W) float32."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2), np.float32)


def unit(images: np.ndarray) -> np.ndarray:
    """Images (n, ...) without their mean and at length 1, (n, d) float32; 0 for one of a single value."""
    x = flat(images) - flat(images).mean(axis=1, dtype=np.float64, keepdims=True)
    length = np.linalg.norm(x, axis=1, keepdims=True)
    varied = length > CONSTANT * np.sqrt(x.shape[1])
    return np.asarray(np.divide(x, length, out=np.zeros_like(x), where=varied), np.float32)


def smoothed(images: np.ndarray, sigma: np.ndarray | float, border: str) -> np.ndarray:
    """Images (n, C, H, W) under a Gaussian of `sigma` pixels, one for all or one each (n,), to a few per cent.

    border: how they go on beyond their border, as `numpy.pad` calls it: edge or symmetric.
    """
    steps = np.clip(np.rint(np.log(np.atleast_1d(sigma) / LEAST) / STEP), 0, STEPS).astype(int)
    down, across = (_weights(size, border)[steps, None] for size in images.shape[2:])
    return np.asarray(np.matmul(np.matmul(down, images), across.transpose(0, 1, 3, 2)))


@cache
def _weights(size: int, border: str) -> np.ndarray:
    """For each smoothing (STEPS + 1, size, size) float32: what a line of pixels gives to each of its places.

    What a place beyond the border adds is that of the pixel that stands for it.
    """
    sigma = LEAST * np.exp(STEP * np.arange(STEPS + 1))[:, None, None]
    reach = int(4 * sigma.max() + 0.5)
    stands = np.pad(np.arange(size), reach, mode=border)  # type: ignore[call-overload]
    away = np.arange(-reach, size + reach) - np.arange(size)[:, None]
    kernel = np.where(abs(away) <= 4 * sigma + 0.5, np.exp(-np.square(away) / (2 * sigma**2)), 0.0)
    return np.asarray(kernel / kernel.sum(axis=2, keepdims=True) @ np.eye(size)[stands], np.float32)


Nearest = tuple[np.ndarray, np.ndarray]  # distances (n, 2) to the nearest and the second, and their places (n, 2)


@dataclass(frozen=True)
class AlignmentReference:
    """Training images (N, H, W, C) with their groups (N,) of repeats and near-duplicates.

    The interior of none of them is of one colour, nor is that of a query.
    """

    images: np.ndarray
    group: np.ndarray
    shift: int

    @cached_property
    def rows(self) -> np.ndarray:
        return unit(inside(self.images, self.shift))

    @cached_property
    def smooth(self) -> list[np.ndarray]:
        """Rows of the images under each coarse smoothing."""
        return [self._smooth_rows(self.planes, sigma) for sigma in COARSE]

    @cached_property
    def planes(self) -> np.ndarray:
        """The images by channels (N, C, H, W), without their mean."""
        return _planes(self.images - self.images.mean(axis=(1, 2, 3), keepdims=True))

    def aligned(self, queries: np.ndarray) -> Nearest:
        """The nearest of the images to queries (n, H, W, C) in whatever way they are moved or mirrored, and the nearest
        that is not the same image but for tone, shift and mirror; infinite and −1 where there is none."""
        step = max(1, MOST // (2 * (2 * self.shift + 1) ** 2 * self.rows.shape[1]))
        parts = [self._aligned(queries[k : k + step]) for k in range(0, len(queries), step)]
        return _joined(parts)

    def ways(self, queries: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Distance of each query to the image at its place in each way of `sides`: (n, ways)."""
        return np.stack([_apart(unit(side), self.rows[places]) for side in sides(queries, self.shift)], axis=1)

    def smoothed(self, queries: np.ndarray) -> Nearest:
        """The same for the images under the Gaussian that fits best, of those that are nearest under coarse ones."""
        step = max(1, MOST // (4 * CANDIDATES * self.rows.shape[1]))
        return _joined([self._smoothed(queries[k : k + step]) for k in range(0, len(queries), step)])

    def fitted(self, queries: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Distance of each query to the images at its places (n, k), each under the Gaussian that fits best: (n, k)."""
        rows, (some, at) = self._plane_rows(queries), np.unique(places, return_inverse=True)
        images, at = self.planes[some], at.reshape(-1)
        rows = np.repeat(rows, places.shape[1], axis=0)
        tried = [(sigma, border) for border in BORDERS for sigma in SIGMAS]
        similarity = np.stack([self._cosines(images, *one, rows, at) for one in tried])
        best = similarity.argmax(axis=0)
        sigma, border = np.array(SIGMAS)[best % len(SIGMAS)], best // len(SIGMAS)
        cosines, pairs = similarity.max(axis=0), np.arange(len(rows))
        for k, name in enumerate(BORDERS):
            part = pairs[border == k]

            def at_sigma(logs: np.ndarray, part: np.ndarray = part, name: str = name) -> np.ndarray:
                return self._cosines(images[at[part]], np.exp(logs), name, rows[part], np.arange(len(part)))

            if len(part):
                cosines[part] = np.maximum(cosines[part], _highest(at_sigma, np.log(sigma[part]), np.log(NEXT)))
        return np.asarray(np.sqrt(np.maximum(0, 2 - 2 * cosines)).reshape(places.shape))

    def _cosines(
        self, images: np.ndarray, sigma: np.ndarray | float, border: str, rows: np.ndarray, at: np.ndarray
    ) -> np.ndarray:
        """Of unit rows (p, d) with smoothed images, without their mean, at places (p,): (p,) float64."""
        x = flat(_inside(smoothed(images, sigma, border), self.shift))
        length = np.einsum("nd,nd->n", x, x) - np.square(x.sum(axis=1)) / x.shape[1]
        products = np.einsum("pd,pd->p", rows, x[at])
        return np.asarray(products / np.sqrt(np.maximum(length, 1e-12))[at], np.float64)

    def _plane_rows(self, images: np.ndarray) -> np.ndarray:
        return unit(_inside(_planes(images), self.shift))

    def _smooth_rows(self, planes: np.ndarray, sigma: float) -> np.ndarray:
        return unit(_inside(smoothed(planes, sigma, BORDERS[0]), self.shift))

    def _aligned(self, queries: np.ndarray) -> Nearest:
        looks = [unit(side) for side in sides(queries, self.shift)]
        for look in looks:  # one that shows one colour would be equally far from all
            look[~look.any(axis=1)] = looks[0][~look.any(axis=1)]
        distances, places = nearest(np.concatenate(looks), self.rows)
        each = zip(np.split(distances, len(looks)), np.split(places, len(looks)), strict=True)
        return self._apart_from_first(looks, [self.rows], reduce(nearer, each))

    def _smoothed(self, queries: np.ndarray) -> Nearest:
        rows = self._plane_rows(queries)
        _, places = reduce(nearer, (nearest(rows, smooth, CANDIDATES) for smooth in self.smooth))
        distances = np.where(places >= 0, self.fitted(queries, np.maximum(places, 0)), np.inf)
        order = np.argsort(distances, axis=1, kind="stable")
        distances, places = (np.take_along_axis(part, order, axis=1) for part in (distances, places))
        for k in range(1, places.shape[1]):
            distances[self._same(places[:, 0], places[:, k]), k] = np.inf
        second = distances[:, 1:].argmin(axis=1) + 1 if places.shape[1] > 1 else np.zeros(len(rows), int)
        both = np.stack([np.zeros(len(rows), int), second], axis=1)
        distances, places = (np.take_along_axis(part, both, axis=1) for part in (distances, places))
        return self._apart_from_first([rows], self.smooth, (distances, places))

    def _apart_from_first(self, looks: list[np.ndarray], references: list[np.ndarray], pair: Nearest) -> Nearest:
        """With a second neighbour that is another image than the first, where it is not."""
        distances, places = pair
        again = np.flatnonzero(self._same(places[:, 0], places[:, 1]))
        step = max(1, MOST // (2 * len(self.rows)))
        for start in range(0, len(again), step):
            part = again[start : start + step]
            cosines = np.max([look[part] @ rows.T for look in looks for rows in references], axis=0)
            cosines[self._marks(places[part, 0])] = -np.inf
            second = cosines.argmax(axis=1)
            reached = np.isfinite(cosines[np.arange(len(part)), second])
            exact = np.min([_apart(look[part], rows[second]) for look in looks for rows in references], axis=0)
            distances[part, 1], places[part, 1] = np.where(reached, exact, np.inf), np.where(reached, second, -1)
        return distances, places

    def _same(self, places: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Whether the images at two places (n,) are the same but for tone, shift and mirror; −1 is no image."""
        same = (others >= 0) & (self.group[places] == self.group[others])
        for start in range(0, len(asked := np.flatnonzero((others >= 0) & ~same)), step := 4096):
            part = asked[start : start + step]
            same[part] = self.ways(self.images[places[part]], others[part]).min(axis=1) < ALIKE
        return np.asarray(same)

    def _marks(self, places: np.ndarray) -> np.ndarray:
        """Whether each image is the same as the one at each place, but for tone, shift and mirror: (n, N)."""
        some, inverse = np.unique(places, return_inverse=True)
        cosines = np.max([unit(side) @ self.rows.T for side in sides(self.images[some], self.shift)], axis=0)
        same = (cosines > 1 - ALIKE**2 / 2) | (self.group[some, None] == self.group)
        return np.asarray(same[inverse])


def _highest(value: Callable[[np.ndarray], np.ndarray], start: np.ndarray, reach: float) -> np.ndarray:
    """The highest value (n,) found within `reach` of the start (n,), each by its own golden-section search."""
    low, high = start - reach, start + reach
    left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    of_left, of_right = value(left), value(right)
    best = np.maximum(of_left, of_right)
    for _ in range(NARROWINGS):
        lower = of_left > of_right
        low, high = np.where(lower, low, left), np.where(lower, right, high)
        new = np.where(lower, high - GOLDEN * (high - low), low + GOLDEN * (high - low))
        of_new = value(new)
        left, right = np.where(lower, new, right), np.where(lower, left, new)
        of_left, of_right = np.where(lower, of_new, of_right), np.where(lower, of_left, of_new)
        best = np.maximum(best, of_new)
    return np.asarray(best)


def _apart(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Of each row (n, d) to its own, in float64: (n,)."""
    difference = one.astype(np.float64) - other
    return np.asarray(np.sqrt(np.einsum("nd,nd->n", difference, difference)))


def _joined(parts: list[Nearest]) -> Nearest:
    if not parts:
        return np.zeros((0, 2)), np.zeros((0, 2), np.int64)
    return np.concatenate([distances for distances, _ in parts]), np.concatenate([places for _, places in parts])
