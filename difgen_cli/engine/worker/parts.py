"""The parts of a data set as arrays: what is trained on, what is held out, and their labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from difgen_cli import condition


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

    @property
    def held_out_labels(self) -> np.ndarray | None:
        return None if self.drawn_labels is None else self.drawn_labels[self.apart]

    @property
    def left_out(self) -> int | None:
        """How many of those drawn have a near-duplicate; None where none was drawn."""
        return len(self.drawn) - len(self.apart) if len(self.drawn) else None


@dataclass(frozen=True)
class Subset:
    """What a trajectory trains on."""

    holdout: Holdout
    positions: np.ndarray  # of T within the rest, (n,) int64
    images: np.ndarray  # T, (n, H, W, C) float32
    sigma_data: float  # of all that is not held out, without what a retrained model never saw


@dataclass(frozen=True)
class Conditions:
    """The labels of T, of the rest with T, and of H; classes 0 and labels None where there is no condition."""

    train: np.ndarray | None
    rest: np.ndarray | None
    held_out: np.ndarray | None
    classes: int

    @property
    def proportions(self) -> np.ndarray | None:
        """Shares of the labels in T: what samples are drawn with."""
        return None if self.train is None else condition.proportions(self.train, self.classes)
