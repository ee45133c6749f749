"""No conditioning."""

import numpy as np

from difgen_cli.condition import Labels

VERSION = 1


def fit(images: np.ndarray, held_out: np.ndarray) -> Labels:
    """Unconditional: `classes` is 0."""
    return Labels(np.zeros(len(images), np.int64), np.zeros(len(held_out), np.int64), 0)
