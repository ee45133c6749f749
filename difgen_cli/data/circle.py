"""The toy of Kaiser & Kollmann (2026): points on a circle."""

from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt

from difgen_cli.data import DataError, Pool

VERSION = 2
HELD_OUT_ALIKE = True  # the points between those that are trained on: no classifier need tell them apart
RADIUS = 10.0


def load(*, points: Annotated[int, Gt(0)] = 20, phase: float = 0.01, classes: Annotated[int, Ge(0)] = 0) -> Pool:
    """(points, 2) float32: equidistant on a circle of radius 10, at angles 2π (k / points + phase).

    Every other point is held out, so that data.held_out must be half of the points. With classes each arc of as many
    points has a label, and a training point is in the arc of the held-out point after it. DataError for arcs of odd or
    of unequal numbers of points.

    points: how many; 2N for a training set of N and as many between them.
    phase: a rotation, as a share of the full turn.
    classes: arcs with a label each; 0: no labels. Half of the points: a label for each training point.
    """
    if classes and points % (2 * classes):
        raise DataError(
            f"data.classes: {classes} arcs of {points} points cannot have as many training points each: choose a "
            "divisor of half of data.points"
        )
    angles = 2 * np.pi * (np.arange(points) / points + phase)
    circle = (RADIUS * np.stack([np.cos(angles), np.sin(angles)], axis=1)).astype(np.float32)
    labels = np.arange(points) * classes // points if classes else None
    names = tuple(f"arc {number}" for number in range(classes))
    return Pool(circle, labels, names, held_out=np.arange(1, points, 2))
