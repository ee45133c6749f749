"""CLIP's image tower (Radford et al. 2021), ViT-B/32 of OpenAI: the space of FD-CLIP (Kynkäänniemi et al. 2023).

The modules carry the parameter names of OpenAI's file without `visual.`; files of transformers are renamed. OpenAI's
networks have x · σ(1.702 x) where most later ones, such as those trained on LAION, have GELU; files do not say which,
so that only OpenAI's belong here.
"""

import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from difgen_cli.features import State, proved, verify
from difgen_cli.features._entries import Entries, count, filled, fitted, joined, read, renamed
from difgen_cli.features._images import Preparation, embedded
from difgen_cli.features._vit import HEAD, attention

VERSION = 1
WEIGHTS = "clip"
COLOURS = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))

TRANSFORMERS = (  # names in transformers' files -> OpenAI's
    (r"^embeddings\.patch_embedding\.", "conv1."),
    (r"^embeddings\.position_embedding\.weight$", "positional_embedding"),
    (r"^embeddings\.", ""),
    (r"^pre_layrnorm\.", "ln_pre."),  # their spelling
    (r"^post_layernorm\.", "ln_post."),
    (r"^encoder\.layers\.", "transformer.resblocks."),
    (r"\.self_attn\.", ".attn."),
    (r"\.layer_norm([12])\.", r".ln_\1."),
    (r"\.mlp\.fc1\.", ".mlp.c_fc."),
    (r"\.mlp\.fc2\.", ".mlp.c_proj."),
)


def fit(weights: Path) -> State:
    """The image tower's weights by OpenAI's names. WeightsError for a file that is not what it should be.

    OpenAI's file is TorchScript: it is opened only because its hash is right, and nothing of it is run.
    """
    verify(weights, WEIGHTS)
    entries = _tower(_opened(weights) if proved(weights, WEIGHTS) else read(weights))
    return fitted(network, entries, weights, "CLIP's image tower")


def embed(images: np.ndarray, state: State) -> np.ndarray:
    """The projected class token, not normalised: (n, 512) float32 from scaled images (n, H, W, 1 or 3) of any size."""
    return embedded(filled(network, state), preparation(state), images)


def preparation(state: Mapping[str, Any]) -> Preparation:
    """For the side of images, in pixels, that the positions stand for: 224 with ViT-B/32."""
    grid = math.isqrt(len(state["positional_embedding"]) - 1)
    return Preparation(grid * state["conv1.weight"].shape[2], "bicubic", "crop", *COLOURS)


def network(entries: Mapping[str, Any]) -> "ImageTower":
    """The network whose sizes the entries have."""
    width, _, patch, _ = entries["conv1.weight"].shape
    return ImageTower(
        width=width,
        hidden=len(entries["transformer.resblocks.0.mlp.c_fc.bias"]),
        depth=count(dict(entries), r"transformer\.resblocks\.\d+\.ln_1\.weight$"),
        patch=patch,
        positions=len(entries["positional_embedding"]),
        outputs=entries["proj"].shape[1],
    )


def _opened(path: Path) -> Entries:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # TorchScript is; the file of 2021 is not
        entries: Entries = torch.jit.load(path, map_location="cpu").state_dict()
    return {name: value.float() for name, value in entries.items()}


def _tower(entries: Entries) -> Entries:
    """The image's part of a file, by OpenAI's names."""
    if any(name.startswith("visual.") for name in entries):
        return {name.removeprefix("visual."): v for name, v in entries.items() if name.startswith("visual.")}
    tower = {name.removeprefix("vision_model."): v for name, v in entries.items() if name.startswith("vision_model.")}
    tower.pop("embeddings.position_ids", None)
    if tower and "visual_projection.weight" in entries:
        tower["proj"] = entries["visual_projection.weight"].T
    parts = (".attn.q_proj.", ".attn.k_proj.", ".attn.v_proj.")
    return joined(renamed(tower, TRANSFORMERS), parts, ".attn.in_proj_") if tower else entries


class ImageTower(nn.Module):
    """Prepared images (B, 3, H, W) -> projected class token (B, outputs)."""

    def __init__(self, width: int, hidden: int, depth: int, patch: int, positions: int, outputs: int) -> None:
        super().__init__()
        self.class_embedding = nn.Parameter(torch.empty(width))
        self.positional_embedding = nn.Parameter(torch.empty(positions, width))
        self.proj = nn.Parameter(torch.empty(width, outputs))
        self.conv1 = nn.Conv2d(3, width, patch, patch, bias=False)
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = nn.ModuleDict(
            {"resblocks": nn.Sequential(*(ClipBlock(width, hidden) for _ in range(depth)))}
        )
        self.ln_post = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x).flatten(2).mT  # (B, patches, width)
        x = torch.cat([self.class_embedding.expand(len(x), 1, -1), x], dim=1) + self.positional_embedding
        x = self.transformer["resblocks"](self.ln_pre(x))
        projected: Tensor = self.ln_post(x[:, 0]) @ self.proj
        return projected


class ClipBlock(nn.Module):
    """Attention and two layers, each after a norm."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.attn = ClipAttention(width)
        self.ln_1 = nn.LayerNorm(width)
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(width, hidden), "c_proj": nn.Linear(hidden, width)})
        self.ln_2 = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))
        hidden = self.mlp["c_fc"](self.ln_2(x))
        update: Tensor = self.mlp["c_proj"](hidden * torch.sigmoid(1.702 * hidden))
        return x + update


class ClipAttention(nn.Module):
    """Of all tokens (B, T, width) to all, with the parameter names of torch's MultiheadAttention."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.empty(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        qkv = nn.functional.linear(x, self.in_proj_weight, self.in_proj_bias)
        attended: Tensor = self.out_proj(attention(qkv, HEAD))
        return attended
