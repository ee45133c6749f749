"""The toy of Kaiser & Kollmann (2026): points on a circle."""

from typing import Annotated

import numpy as np
from annotated_types import Gt

from difgen_cli.data import Pool

VERSION = 2
HELD_OUT_ALIKE = True  # the points between those that are trained on: no classifier need tell them apart
RADIUS = 10.0


def load(*, points: Annotated[int, Gt(0)] = 20, phase: float = 0.01) -> Pool:
    """(points, 2) float32: equidistant on a circle of radius 10, at angles 2π (k / points + phase).

    Every other point is held out, so that data.held_out must be half of the points.

    points: how many; 2N for a training set of N and as many between them.
    phase: a rotation, as a share of the full turn.
    """
    angles = 2 * np.pi * (np.arange(points) / points + phase)
    circle = (RADIUS * np.stack([np.cos(angles), np.sin(angles)], axis=1)).astype(np.float32)
    return Pool(circle, held_out=np.arange(1, points, 2))
