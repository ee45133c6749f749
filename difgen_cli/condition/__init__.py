"""Conditionings: the label that each image has when the network is trained, and when it is scored."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Le

VERSION = 1
# Streams of random numbers of one seed, beside those of the plug-ins: which labels are replaced, and how they move.
NOISE, NOISE_HELD_OUT, PERMUTATION, PERMUTATION_HELD_OUT, PERMUTATION_OTHERS = range(100, 105)


@dataclass(frozen=True)
class Labels:
    """rest: (n_rest,), held_out: (n_held_out,), int64 in [0, classes); classes 0: unconditional, both all zero.

    confidence: (n_rest,) float, how certain each label of the rest is, from 0 to 1 and larger for more certain ones; or
    None, where the conditioning has no such number.
    """

    rest: np.ndarray
    held_out: np.ndarray
    classes: int
    confidence: np.ndarray | None = None

    def __post_init__(self) -> None:
        for labels in (self.rest, self.held_out):
            if labels.dtype != np.int64 or labels.ndim != 1:
                raise ValueError(f"labels must be one int64 for each image, not {labels.dtype} of shape {labels.shape}")
            if len(labels) and not 0 <= labels.min() <= labels.max() < max(self.classes, 1):
                raise ValueError(f"labels from {labels.min()} to {labels.max()} are not in [0, {self.classes})")
        if self.confidence is not None and self.confidence.shape != self.rest.shape:
            raise ValueError(
                f"confidence must be one number for each of the {len(self.rest)} labels, not {self.confidence.shape}"
            )


def alter(
    labels: Labels,
    train: np.ndarray,
    *,
    noise: Annotated[float, Ge(0), Le(1)] = 0.0,
    permuted: bool = False,
    seed: Annotated[int, Ge(0)] = 0,
) -> Labels:
    """Labels of any conditioning, permuted among the images and then made wrong; without labels there is nothing to do.

    `train` (n,): the subset's positions within the rest. Labels keep their numbers, and `classes` stays. Held-out
    images follow the law of the training images, so that the two can still be compared: after a permutation they
    draw from the subset's proportions, and noise replaces as many of theirs.

    noise: share of labels replaced by another one, all others alike in probability (Chen et al. 2024); every image
        decides for itself, so that whatever the subset an image has the same label, and less noise hits a part of them.
    permuted: shuffle the subset's labels among its images: the same counts without similarity.
    seed: of both, and of what the plug-in draws.
    """
    if permuted:
        labels = _permuted(labels, train, seed)
    if noise:
        labels = Labels(
            _noisy(labels.rest, labels.classes, noise, (seed, NOISE)),
            _noisy(labels.held_out, labels.classes, noise, (seed, NOISE_HELD_OUT)),
            labels.classes,
        )
    return labels


def proportions(labels_of_T: np.ndarray, classes: int) -> np.ndarray:
    """The shares of the labels in the subset, (classes,) float64, summing to 1: what samples draw theirs from."""
    if classes and not len(labels_of_T):
        raise ValueError("the proportions of no labels are undefined: give at least one")
    counts = np.bincount(labels_of_T, minlength=classes) if classes else np.zeros(0, np.int64)
    return counts / max(int(counts.sum()), 1)


def without_gaps(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels numbered again from 0 without those that no image has, and the old number of each new one."""
    used, renumbered = np.unique(labels, return_inverse=True)
    return renumbered.astype(np.int64), used


def lent(labels_of_T: np.ndarray, count: int, stream: tuple[int, int]) -> np.ndarray:
    """(count,) labels drawn from the subset's proportions: each is lent by a random image of it."""
    uniform = np.random.default_rng(stream).random(count)
    drawn: np.ndarray = labels_of_T[(uniform * len(labels_of_T)).astype(np.int64)]
    return drawn


def _permuted(labels: Labels, train: np.ndarray, seed: int) -> Labels:
    of_T = labels.rest[train]
    rest = lent(of_T, len(labels.rest), (seed, PERMUTATION_OTHERS))
    rest[train] = np.random.default_rng((seed, PERMUTATION)).permutation(of_T)
    return Labels(rest, lent(of_T, len(labels.held_out), (seed, PERMUTATION_HELD_OUT)), labels.classes)


def _noisy(labels: np.ndarray, classes: int, share: float, stream: tuple[int, int]) -> np.ndarray:
    if classes < 2:
        return labels  # there is no other label
    chosen, other = np.random.default_rng(stream).random((len(labels), 2)).T
    replaced: np.ndarray = (labels + 1 + (other * (classes - 1)).astype(np.int64)) % classes
    return np.where(chosen < share, replaced, labels)
