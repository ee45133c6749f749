"""The parts of a data set as arrays: what is trained on, what is held out, and their labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from difgen_cli import condition
from difgen_cli.data import Canaries


@dataclass(frozen=True)
class Holdout:
    """A pool apart from its held-out images: rest and held out, scaled to [−1, 1], with their class labels.

    Conditionings are fitted with all images that were drawn; metrics see those that are apart from the rest.
    """

    rest: np.ndarray  # (n_rest, H, W, C) float32
    rest_labels: np.ndarray | None
    rest_places: np.ndarray  # within the pool, (n_rest,) int64
    drawn: np.ndarray  # (m_drawn, H, W, C) float32
    drawn_labels: np.ndarray | None
    drawn_places: np.ndarray
    apart: np.ndarray  # (m,) int64 places of those drawn that have no near-duplicate among the rest
    held_out: np.ndarray  # (m, H, W, C) float32
    sigma_data: float
    canaries: np.ndarray  # (c, H, W, C) float32, in their order: neither in the rest nor held out
    canary_labels: np.ndarray | None  # the data set's own, like those of H
    canary_places: np.ndarray  # within the pool, (c,) int64

    @property
    def unseen(self) -> np.ndarray:
        """What conditionings label beside the rest: all that was drawn for H, and canaries after it."""
        return np.concatenate([self.drawn, self.canaries]) if len(self.canaries) else self.drawn

    @property
    def unseen_labels(self) -> np.ndarray | None:
        if self.drawn_labels is None or self.canary_labels is None:
            return None
        return np.concatenate([self.drawn_labels, self.canary_labels])

    @property
    def unseen_places(self) -> np.ndarray:
        return np.concatenate([self.drawn_places, self.canary_places])

    @property
    def held_out_labels(self) -> np.ndarray | None:
        return None if self.drawn_labels is None else self.drawn_labels[self.apart]

    def require(self, least: int) -> None:
        """ValueError where near-duplicates among the rest leave fewer than `least` of the images drawn for H."""
        if len(self.drawn) >= least > len(self.held_out):
            raise ValueError(
                f"only {len(self.held_out)} of {len(self.drawn)} held-out images can be compared with: an image that "
                "may be trained on is nearly the same as each of the others; hold out more, or other ones"
            )

    @property
    def left_out(self) -> int | None:
        """How many of those drawn have a near-duplicate; None where none was drawn."""
        return len(self.drawn) - len(self.apart) if len(self.drawn) else None


@dataclass(frozen=True)
class Subset:
    """What a trajectory trains on."""

    holdout: Holdout
    positions: np.ndarray  # of T within the rest, (n,) int64
    images: np.ndarray  # T, (n, H, W, C) float32, and after it a row for each time that a canary is planted
    sigma_data: float  # of all that is not held out, without what a retrained model never saw
    canaries: Canaries | None = None  # under their own labels, where there are any


@dataclass(frozen=True)
class Conditions:
    """The labels of T and of canaries, of the rest with T, and of H; classes 0 and None where there is no condition."""

    train: np.ndarray | None
    rest: np.ndarray | None
    held_out: np.ndarray | None
    classes: int
    canaries: np.ndarray | None = None  # under which they are planted, (c,); None without any
    planted: int = 0  # rows of canaries, which stand after T

    @property
    def proportions(self) -> np.ndarray | None:
        """Shares of the labels in T, without canaries: what samples are drawn with."""
        if self.train is None:
            return None
        return condition.proportions(self.train[: len(self.train) - self.planted], self.classes)
