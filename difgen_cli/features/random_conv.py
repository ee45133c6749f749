"""Features of a convolutional network with random weights: the embedded measure of quality without labels."""

from typing import Annotated

import numpy as np
from annotated_types import Ge

from difgen_cli.features import State, in_blocks, one_thread

VERSION = 1
CHANNELS = (32, 64, 64)
FEATURES = 64


def fit(images: np.ndarray, *, seed: Annotated[int, Ge(0)] = 0) -> State:
    """Three layers of 3 × 3 filters by He's rule (2015) and an orthonormal projection to 64 values, float32.

    Of `images` (n, H, W, C) only C matters. ValueError for points.

    seed: of the weights.
    """
    if images.ndim != 4:
        raise ValueError(
            f"the feature space random_conv needs images, not points of {images.shape[1]} values: use pixels"
        )
    rng = np.random.default_rng(seed)
    state, inputs = {}, images.shape[3]
    for layer, outputs in enumerate(CHANNELS):
        filters = rng.standard_normal((outputs, inputs, 3, 3)) * np.sqrt(2 / (9 * inputs))
        state[f"filters{layer}"] = filters.astype(np.float32)
        inputs = outputs
    projection, _ = np.linalg.qr(rng.standard_normal((4 * inputs, FEATURES)))
    return state | {"projection": projection.astype(np.float32)}


def embed(images: np.ndarray, state: State) -> np.ndarray:
    """(n, 64) float32: the last layer's means over the four quarters of the image, projected."""
    import torch
    from torch.nn import functional

    from difgen_cli.diffusion import to_tensor

    filters = [torch.from_numpy(state[f"filters{layer}"]) for layer in range(len(CHANNELS))]
    projection = torch.from_numpy(state["projection"])

    def features(block: np.ndarray) -> np.ndarray:
        x = to_tensor(block)
        for layer, weight in enumerate(filters):
            x = functional.conv2d(x, weight, stride=1 if layer == 0 else 2, padding=1).relu()
        return (functional.adaptive_avg_pool2d(x, 2).flatten(1) @ projection).numpy()

    with one_thread(), torch.no_grad():
        return in_blocks(features, images)
