"""DINO (Caron et al. 2021), ViT-S/16 or ViT-B/16: a feature space without labels.

By the names of the published files of the backbone, or of transformers.
"""

from pathlib import Path

import numpy as np

from difgen_cli.features import State, _vit, verify
from difgen_cli.features._entries import filled
from difgen_cli.features._images import embedded
from difgen_cli.features.dinov2 import PREPARATION

VERSION = 1
WEIGHTS = "dino"
NETWORKS = ("backbone.",)  # where the network is in files of several
ELSE = ("head.", "pooler.")  # what only the training used


def fit(weights: Path) -> State:
    """The network's weights by the published names. WeightsError for a file that is not what it should be."""
    verify(weights, WEIGHTS)
    return _vit.load_plain(weights, "a vision transformer of DINO", NETWORKS, ELSE, _vit.HEAD)


def embed(images: np.ndarray, state: State) -> np.ndarray:
    """The class token after the last norm: (n, width) float32 from scaled images (n, H, W, 1 or 3) of any size."""
    return embedded(filled(lambda own: _vit.plain(own, _vit.HEAD), state), PREPARATION, images)
