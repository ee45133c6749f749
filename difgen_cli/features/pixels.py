"""The pixels themselves: for distances to training images, not for quality."""

import numpy as np

from difgen_cli.features import State, flat

VERSION = 1


def fit() -> State:
    """Nothing to fit."""
    return {}


def embed(images: np.ndarray, state: State) -> np.ndarray:
    """Scaled images or points as rows: (n, H · W · C) or (n, D) float32."""
    return flat(images)
