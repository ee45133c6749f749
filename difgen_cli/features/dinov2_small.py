"""DINOv2, ViT-S/14: a fourteenth of `dinov2`, for machines without a GPU. Its distances are not those of ViT-L/14."""

from pathlib import Path

import numpy as np

from difgen_cli.features import State, dinov2, verify

VERSION = 1
WEIGHTS = "dinov2_small"


def fit(weights: Path) -> State:
    """The network's weights by their published names. WeightsError for a file that is not what it should be."""
    verify(weights, WEIGHTS)
    return dinov2.load(weights)


def embed(images: np.ndarray, state: State) -> np.ndarray:
    """The class token after the last norm: (n, 384) float32 from scaled images (n, H, W, 1 or 3) of any size."""
    return dinov2.embed(images, state)
