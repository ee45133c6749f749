"""MoCo v3 (Chen et al. 2021), ViT-S/16 or ViT-B/16: a feature space of contrasts, without labels.

Taken is the encoder that learns, not its slow copy, without its head. All sizes have 12 heads.
"""

from pathlib import Path

import numpy as np

from difgen_cli.features import State, _vit, verify
from difgen_cli.features._entries import filled
from difgen_cli.features._images import embedded
from difgen_cli.features.dinov2 import PREPARATION

VERSION = 1
WEIGHTS = "mocov3"
NETWORKS = ("base_encoder.",)  # where the network is in files of several
ELSE = ("head.", "pooler.")  # what only the training used


def fit(weights: Path) -> State:
    """The network's weights by the published names. WeightsError for a file that is not what it should be."""
    verify(weights, WEIGHTS)
    return _vit.load_plain(weights, "a vision transformer of MoCo v3", NETWORKS, ELSE, None)


def embed(images: np.ndarray, state: State) -> np.ndarray:
    """The class token after the last norm: (n, width) float32 from scaled images (n, H, W, 1 or 3) of any size."""
    return embedded(filled(lambda own: _vit.plain(own, None), state), PREPARATION, images)
