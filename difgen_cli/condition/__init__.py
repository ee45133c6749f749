"""Conditionings: the label that each image has when the network is trained, and when it is scored."""

from dataclasses import dataclass

import numpy as np

VERSION = 1


@dataclass(frozen=True)
class Labels:
    """rest: (n_rest,), held_out: (n_held_out,), int64 in [0, classes); classes 0: unconditional, both all zero."""

    rest: np.ndarray
    held_out: np.ndarray
    classes: int

    def __post_init__(self) -> None:
        for labels in (self.rest, self.held_out):
            if labels.dtype != np.int64 or labels.ndim != 1:
                raise ValueError(f"labels must be one int64 for each image, not {labels.dtype} of shape {labels.shape}")
            if len(labels) and not 0 <= labels.min() <= labels.max() < max(self.classes, 1):
                raise ValueError(f"labels from {labels.min()} to {labels.max()} are not in [0, {self.classes})")


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
