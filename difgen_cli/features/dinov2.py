"""DINOv2 (Oquab et al. 2023), ViT-L/14: the space of FD-DINOv2 (Stein et al. 2023) and of EDM2.

The modules carry the parameter names of the published file; files of transformers are renamed. Registers and the gated
units of ViT-g are not known here.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from difgen_cli.features import State, verify
from difgen_cli.features._entries import Entries, count, filled, fitted, joined, read, renamed
from difgen_cli.features._images import IMAGENET, Preparation, embedded

VERSION = 1
WEIGHTS = "dinov2"
HEAD = 64  # values of each head of attention, whatever the size of the network
OFFSET = 0.1  # the published code resamples positions for a grid larger by this; without it features move by up to 0.03
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
    entries = joined(_published(read(weights)), (".attn.q.", ".attn.k.", ".attn.v."), ".attn.qkv.")
    return fitted(network, entries, weights, "DINOv2 without registers")


def network(entries: Mapping[str, Any]) -> "VisionTransformer":
    """The network whose sizes the entries have."""
    width, _, patch, _ = entries["patch_embed.proj.weight"].shape
    return VisionTransformer(
        width=width,
        hidden=len(entries["blocks.0.mlp.fc1.bias"]),
        depth=count(dict(entries), r"blocks\.\d+\.norm1\.weight$"),
        patch=patch,
        positions=entries["pos_embed"].shape[1],
    )


def _published(entries: Entries) -> Entries:
    """With published names, and without what only the training used."""
    return {name: value for name, value in renamed(entries, TRANSFORMERS).items() if name != "mask_token"}


class VisionTransformer(nn.Module):
    """Prepared images (B, 3, H, W) -> class token (B, width)."""

    def __init__(self, width: int, hidden: int, depth: int, patch: int, positions: int) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.empty(1, 1, width))
        self.pos_embed = nn.Parameter(torch.empty(1, positions, width))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, width, patch, patch)})
        self.blocks = nn.ModuleList(DinoBlock(width, hidden) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch_embed["proj"](x)  # (B, width, rows, columns)
        positions = self.positions(*x.shape[2:])
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x.flatten(2).mT], dim=1) + positions
        for block in self.blocks:
            x = block(x)
        normed: Tensor = self.norm(x[:, 0])
        return normed

    def positions(self, rows: int, columns: int) -> Tensor:
        """(1, 1 + rows · columns, width): those of the square grid of training, resampled for another."""
        grid = math.isqrt(self.pos_embed.shape[1] - 1)
        if (rows, columns) == (grid, grid):
            return self.pos_embed
        learnt = self.pos_embed[:, 1:].reshape(1, grid, grid, -1).permute(0, 3, 1, 2)
        scale = ((rows + OFFSET) / grid, (columns + OFFSET) / grid)
        resampled = functional.interpolate(learnt, scale_factor=scale, mode="bicubic")
        return torch.cat([self.pos_embed[:, :1], resampled.flatten(2).mT], dim=1)


class DinoBlock(nn.Module):
    """Attention and two layers, each after a norm and scaled channel by channel (LayerScale)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = DinoAttention(width)
        self.ls1 = LayerScale(width)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, hidden), "fc2": nn.Linear(hidden, width)})
        self.ls2 = LayerScale(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.ls1(self.attn(self.norm1(x)))
        hidden = functional.gelu(self.mlp["fc1"](self.norm2(x)))
        scaled: Tensor = self.ls2(self.mlp["fc2"](hidden))
        return x + scaled


class DinoAttention(nn.Module):
    """Of all tokens (B, T, width) to all."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        attended: Tensor = self.proj(attention(self.qkv(x), HEAD))
        return attended


class LayerScale(nn.Module):
    """A factor for each channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.empty(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


def attention(qkv: Tensor, head: int) -> Tensor:
    """softmax(q kᵀ / √head) v, head by head: (B, T, 3 · width), queries then keys then values, to (B, T, width)."""
    q, k, v = qkv.unflatten(2, (3, -1, head)).permute(2, 0, 3, 1, 4)  # (B, heads, T, head)
    return functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
