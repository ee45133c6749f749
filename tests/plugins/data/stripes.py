"""Grey stripes of random phase and width."""

from typing import Annotated

import numpy as np
from annotated_types import Gt

from difgen_cli.data import Pool

SOURCES = ()  # reads no file


def load(*, count: Annotated[int, Gt(0)] = 64) -> Pool:
    """(count, 8, 8, 1) uint8.

    count: how many images.
    """
    rng = np.random.default_rng(0)
    phase, width = rng.random((count, 1, 1)) * 6, rng.random((count, 1, 1)) * 2 + 0.5
    waves = np.sin(np.arange(8) / width + phase) * np.ones((1, 8, 1))
    return Pool(np.rint((waves + 1) * 127.5).astype(np.uint8)[..., None])
