"""Principal components of the pixels: for distances to training images, not for quality."""

from typing import Annotated

import numpy as np
from annotated_types import Gt

from difgen_cli.features import State, flat, in_blocks

VERSION = 1


def fit(images: np.ndarray, *, components: Annotated[int, Gt(0)] = 64) -> State:
    """The mean (p,) and the leading directions (d, p) of the images' p pixels, float32.

    components: how many directions d, at most; there are no more than pixels or images.
    """
    from sklearn.decomposition import PCA
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    points = flat(images)
    with threadpool_limits(1):
        analysis = PCA(min(components, *points.shape), random_state=0).fit(points)
    return {"mean": analysis.mean_.astype(np.float32), "directions": analysis.components_.astype(np.float32)}


def embed(images: np.ndarray, state: State) -> np.ndarray:
    """Coordinates along the directions, not whitened: (n, d) float32."""
    return in_blocks(lambda block: (block - state["mean"]) @ state["directions"].T, flat(images))
