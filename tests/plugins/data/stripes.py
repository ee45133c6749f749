"""A data set of one's own: grey stripes of random phase and width."""

from typing import Annotated

import numpy as np
from annotated_types import Gt

from difgen_cli.data import Pool


def load(*, count: Annotated[int, Gt(0)] = 64) -> Pool:
    """count: how many images, 8 × 8, grey."""
    draw = np.random.default_rng(0)
    phase, width = draw.random((count, 1, 1)) * 6, draw.random((count, 1, 1)) * 2 + 0.5
    waves = np.sin(np.arange(8) / width + phase) * np.ones((1, 8, 1))
    return Pool(np.rint((waves + 1) * 127.5).astype(np.uint8)[..., None])
