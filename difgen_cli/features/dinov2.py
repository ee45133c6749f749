"""DINOv2 (Oquab et al. 2023), ViT-L/14: the space of FD-DINOv2 (Stein et al. 2023) and of EDM2.

The modules carry the parameter names of the published file; files of transformers are renamed. Registers and the gated
units of ViT-g are not known here.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from difgen_cli.features import State, _vit, verify
from difgen_cli.features._entries import Entries, filled, fitted, joined, read, renamed
from difgen_cli.features._images import IMAGENET, Preparation, embedded
from difgen_cli.features._vit import VisionTransformer

VERSION = 1
WEIGHTS = "dinov2"
PREPARATION = Preparation(224, "bicubic", "skew", *IMAGENET)

TRANSFORMERS = (  # names in transformers' files, old and new -> published names
    (r"^dinov2\.", ""),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^embeddings\.", ""),
    (r"^encoder\.layer\.", "blocks."),
    (r"\.attention\.(?:attention\.)?(?:query|q_proj)\.", ".attn.q."),
    (r"\.attention\.(?:attention\.)?(?:key|k_proj)\.", ".attn.k."),
    (r"\.attention\.(?:attention\.)?(?:value|v_proj)\.", ".attn.v."),
    (r"\.attention\.(?:output\.dense|o_proj)\.", ".attn.proj."),
    (r"\.layer_scale([12])\.lambda1$", r".ls\1.gamma"),
    (r"^layernorm\.", "norm."),
)


def fit(weights: Path) -> State:
    """The network's weights by their published names. WeightsError for a file that is not what it should be."""
    verify(weights, WEIGHTS)
    return load(weights)


def embed(images: np.ndarray, state: State) -> np.ndarray:
    """The class token after the last norm: (n, 1024) float32 from scaled images (n, H, W, 1 or 3) of any size."""
    return embedded(filled(network, state), PREPARATION, images)


def load(weights: Path) -> State:
    """A file of any size of DINOv2, in the published layout or in that of transformers."""
    entries = joined(_published(read(weights)), _vit.APART, ".attn.qkv.")
    return fitted(network, entries, weights, "DINOv2 without registers")


def network(entries: Mapping[str, Any]) -> VisionTransformer:
    """The network whose sizes the entries have."""
    return _vit.network(entries, scaled=True)


def _published(entries: Entries) -> Entries:
    """With published names, and without what only the training used."""
    return {name: value for name, value in renamed(entries, TRANSFORMERS).items() if name != "mask_token"}
