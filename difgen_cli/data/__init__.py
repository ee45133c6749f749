"""Data sets: a pool of images or points, and its split into a training subset, the rest, and held-out images."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Gt

from difgen_cli.data import _canaries
from difgen_cli.data._canaries import Canaries as Canaries
from difgen_cli.data._canaries import Planting as Planting
from difgen_cli.data._canaries import canaries as canaries
from difgen_cli.data._coins import check_coins as check_coins
from difgen_cli.data._coins import fair as fair
from difgen_cli.data._coins import tossed
from difgen_cli.data._decoding import Conversion as Conversion
from difgen_cli.data._decoding import decode as decode
from difgen_cli.data._decoding import remedy as remedy
from difgen_cli.data._errors import DataError as DataError
from difgen_cli.data._errors import LabelError as LabelError
from difgen_cli.data._matching import fits as fits
from difgen_cli.data._matching import matched as matched
from difgen_cli.data._population import Population as Population

VERSION = 1
HELD_OUT_SEED = 20_150_205  # chooses H, with the setting of that name: no other one can move an image out of H
PIXELS_AT_ONCE = 2**20  # whose levels are counted: as integers they fit into a cache


@dataclass(frozen=True)
class Pool:
    """All images of a data set.

    images: (M, H, W, C) uint8 with C = 1 or 3, or points (M, D) float32, finite
    labels: (M,) int64, indices into `classes`, or None
    classes: the names of the labels, () if there are none
    held_out: (K,) int64 places of the images that the data set itself holds out, or None: they are drawn
    population: the distribution that points were drawn from, where it is known; label k is then its component k
    notes: what a reader must know of the files, such as what was passed over; no part of the data's identity
    """

    images: np.ndarray
    labels: np.ndarray | None = None
    classes: tuple[str, ...] = ()
    held_out: np.ndarray | None = None
    population: Population | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_images(self.images)
        if self.labels is not None:
            _check_labels(self.labels, len(self.images), len(self.classes))
        if self.population is not None and self.images.shape[1:] != self.population.means.shape[1:]:
            raise DataError(
                f"a population of points of {self.population.means.shape[1]} values does not fit data of shape "
                f"{self.images.shape[1:]}"
            )


@dataclass(frozen=True)
class Split:
    """Indices into the pool, int64.

    train: (n,) the training subset T, in the subset's order: the subset of n images is the first n of a larger one
    rest: everything but the held-out draw, and what a retrained model never saw, ascending
    held_out: H, in an order that no setting but `held_out` and `held_out_seed` changes
    unlearn: (n,) bool, which of T are to be unlearnt
    canaries: places that are in none of the three, in the canaries' order
    """

    train: np.ndarray
    rest: np.ndarray
    held_out: np.ndarray
    unlearn: np.ndarray
    canaries: np.ndarray


def split(
    pool: Pool,
    canaries: Mapping[str, Any] | None = None,
    *,
    size: Annotated[int, Gt(0)] | None = None,
    held_out: Annotated[int, Ge(0)] = 512,
    held_out_seed: Annotated[int, Ge(0)] = 0,
    seed: Annotated[int, Ge(0)] = 0,
    half: Literal["A", "B"] | None = None,
    unlearn: Annotated[int | float, Ge(0)] = 0,
    retrain: bool = False,
    draw: Literal["sample", "coin"] = "sample",
) -> Split:
    """Draw the held-out images first, the same ones for every size, seed and half, then a training subset of the rest.

    A held-out image that occurs in the rest as well, byte for byte, is in neither: it would be called a copy in one
    and be copied in the other. DataError where the pool is too small.

    canaries: how many are taken out of the rest before T is drawn, and how they are chosen. H does not change.

    size: images in the training subset; null takes all that there are, or half of them where they are drawn by coins.
    held_out: images drawn for H, never trained on.
    held_out_seed: chooses them. Which images are trained on follows from the rest, so that it moves these as well; a
        data set that says itself which images are held out takes none.
    seed: chooses the training subset.
    half: draw from one of two disjoint halves, A or B, of each seed's order.
    unlearn: how many images of T are to be unlearnt, or below 1 which share of it. They are the first of T, which is in
        random order: the same for every size, and among those of a larger number.
    retrain: train without them, as if they had never been there.
    draw: how the training subset is drawn from all that is not held out. sample: so many images at random. coin: each
        image by a coin of its own, so that `size` is the number that is expected, and not the one that comes out. Fair
        coins make an audit of each training: see the metric one_run.
    """
    count = len(pool.images)
    if held_out >= count:
        raise DataError(
            f"data.held_out: {held_out} leaves nothing to train on, the pool has {count} images: "
            f"choose at most {count - 1}"
        )
    drawn, others = _apart(pool, held_out, held_out_seed)
    out = np.zeros(0, np.int64) if canaries is None else _canaries.chosen(pool.images, others, **canaries)
    rest = others if canaries is None else np.setdiff1d(others, out)
    if draw == "coin":
        check_coins(size, len(rest), half, unlearn)
        train = tossed(rest, size, count, seed)
    else:
        train = _sampled(rest, size, seed, half, count)
    apart = _without_copies(pool.images, drawn, others)
    marked = np.arange(len(train)) < to_unlearn(unlearn, len(train), retrain=retrain)
    if not retrain:
        return Split(train, rest, apart, marked, out)
    return Split(train[~marked], np.setdiff1d(rest, train[marked]), apart, marked[~marked], out)


def _sampled(rest: np.ndarray, size: int | None, seed: int, half: str | None, count: int) -> np.ndarray:
    """The first `size` of the rest in a random order, or of every other image in it; all of them where it is None."""
    order = np.random.default_rng(seed).permutation(rest)
    if half is not None:
        order = order[0 if half == "A" else 1 :: 2]
    if len(order) < (size or 1):
        where = f"half {half} of the pool" if half else "the pool"
        raise DataError(
            f"data.size: {size or 1} is more than the {len(order)} images that {where} of {count} has "
            f"beside {count - len(rest)} held-out ones: choose a smaller size"
        )
    return order[:size]


def to_unlearn(unlearn: int | float, size: int, *, retrain: bool = False) -> int:
    """How many of `size` training images a number of images, or a share below 1, is; DataError where none is left."""
    if unlearn == 0:
        if retrain:
            raise DataError("data.retrain: trains without the images of data.unlearn, which names none: set it too")
        return 0
    count = round(unlearn * size) if unlearn < 1 else int(unlearn)
    if unlearn >= 1 and count != unlearn:
        raise DataError(f"data.unlearn: {unlearn} is neither a share below 1 nor a whole number of images")
    if not 0 < count < size:
        raise DataError(
            f"data.unlearn: {unlearn} is {count} of the {size} training images: choose at least 1 and at most "
            f"{size - 1}"
        )
    return count


def _apart(pool: Pool, held_out: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """H before copies are removed, in its order, and the rest, ascending."""
    count = len(pool.images)
    if pool.held_out is None:
        shuffled = np.random.default_rng((HELD_OUT_SEED, seed) if seed else HELD_OUT_SEED).permutation(count)
        return shuffled[:held_out], np.sort(shuffled[held_out:])
    if seed:
        raise DataError(
            f"data.held_out_seed: this data set itself says which {len(pool.held_out)} of its {count} images are held "
            "out, so that none are drawn: leave the seed out"
        )
    if held_out != len(pool.held_out):
        raise DataError(
            f"data.held_out: this data set itself holds {len(pool.held_out)} of its {count} images out, not {held_out}"
        )
    return pool.held_out, np.setdiff1d(np.arange(count), pool.held_out)


def content(pool: Pool) -> str:
    """SHA-256 (hex) of all that the pool holds: arrays with shape and dtype, and class names. The data's identity."""
    digest = hashlib.sha256()
    population = () if pool.population is None else tuple(pool.population.arrays().values())
    for array in (pool.images, pool.labels, *(() if pool.held_out is None else (pool.held_out,)), *population):
        header = None if array is None else [list(array.shape), array.dtype.str]
        digest.update(json.dumps(header).encode())
        if array is not None:
            digest.update(np.ascontiguousarray(array).data)
    digest.update(json.dumps(pool.classes).encode())
    return digest.hexdigest()


def scaled(images: np.ndarray) -> np.ndarray:
    """uint8 as float32 in [−1, 1]; float32 points unchanged."""
    if images.dtype == np.uint8:
        return images.astype(np.float32) / np.float32(127.5) - np.float32(1)
    return images.astype(np.float32, copy=False)


def to_uint8(x: np.ndarray) -> np.ndarray:
    """The inverse of `scaled` for images: [−1, 1] as uint8, rounded, and clipped outside. ValueError for NaN."""
    if not np.isfinite(x).all():
        raise ValueError("images to be rounded hold NaN or infinite values: did the training or the sampling diverge?")
    levels = np.rint((np.asarray(x, np.float32) + 1) * np.float32(127.5))
    return np.asarray(np.clip(levels, 0, 255), np.uint8)


def sigma_data(images: np.ndarray) -> float:
    """σ_d: the standard deviation over all pixels of all the scaled images together."""
    if images.dtype != np.uint8:
        return float(images.std(dtype=np.float64))
    pixels, counts = images.reshape(-1), np.zeros(256, np.int64)
    for start in range(0, len(pixels), PIXELS_AT_ONCE):  # exact, and no copy of all images with eight bytes a pixel
        counts += np.bincount(pixels[start : start + PIXELS_AT_ONCE], minlength=256)
    levels = np.arange(256) / 127.5 - 1
    mean = counts @ levels / counts.sum()
    return float(np.sqrt(counts @ (levels - mean) ** 2 / counts.sum()))


def _without_copies(images: np.ndarray, drawn: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """`drawn` without the images that the rest has too."""
    seen = set(digests(images, rest)) if len(drawn) else set()
    return drawn[[digest not in seen for digest in digests(images, drawn)]] if len(drawn) else drawn


def digests(images: np.ndarray, places: Iterable[int] | None = None) -> list[bytes]:
    """Of each image, or of those at some places, a hash of 128 bits: equal where images are, byte for byte."""
    some = range(len(images)) if places is None else places
    return [hashlib.blake2b(np.ascontiguousarray(images[i]).data, digest_size=16).digest() for i in some]


def _check_images(images: np.ndarray) -> None:
    if images.ndim == 4 and images.dtype == np.uint8 and images.shape[-1] in (1, 3):
        pass
    elif images.ndim == 2 and images.dtype == np.float32:
        if not np.isfinite(images).all():
            row = int(np.nonzero(~np.isfinite(images).all(axis=1))[0][0])
            raise DataError(f"point {row} holds NaN or an infinite value: remove it, every value must be finite")
    else:
        raise DataError(
            f"a pool of shape {images.shape} and type {images.dtype} is neither images (M, H, W, 1 or 3) of uint8 "
            "nor points (M, D) of float32: convert it"
        )
    if images.size == 0:
        raise DataError(f"a pool of shape {images.shape} holds nothing: at least one image is needed")


def _check_labels(labels: np.ndarray, images: int, classes: int) -> None:
    if labels.shape != (images,) or labels.dtype != np.int64:
        raise DataError(
            f"labels of shape {labels.shape} and type {labels.dtype} do not fit {images} images: give one int64 each"
        )
    outside = np.nonzero((labels < 0) | (labels >= classes))[0]
    if len(outside):
        row = int(outside[0])
        raise DataError(
            f"label {labels[row]} of image {row} is not one of the {classes} classes: "
            f"labels run from 0 to {classes - 1}"
        )
