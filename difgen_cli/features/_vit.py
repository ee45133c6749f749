"""Vision transformers (Dosovitskiy et al. 2021) by the parameter names of timm, which most published files have.

DINO, iBOT and MoCo v3 are plain ones; those of DINOv2 have a factor for each channel after each part (LayerScale).
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from difgen_cli.features import State
from difgen_cli.features._entries import Entries, count, fitted, joined, read, renamed

HEAD = 64  # values of each head of attention, in most networks whatever their size
OFFSET = 0.1  # the published code resamples positions for a grid larger by this; without it features move by up to 0.03

TRANSFORMERS = (  # names of a plain transformer in transformers' files, old and new -> timm's
    (r"^vit\.", ""),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^embeddings\.", ""),
    (r"^(?:encoder\.layer|layers)\.", "blocks."),
    (r"\.attention\.(?:attention\.)?(?:query|q_proj)\.", ".attn.q."),
    (r"\.attention\.(?:attention\.)?(?:key|k_proj)\.", ".attn.k."),
    (r"\.attention\.(?:attention\.)?(?:value|v_proj)\.", ".attn.v."),
    (r"\.attention\.(?:output\.dense|o_proj)\.", ".attn.proj."),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"\.output\.dense\.", ".mlp.fc2."),
    (r"^layernorm\.", "norm."),
)
APART = (".attn.q.", ".attn.k.", ".attn.v.")


def load_plain(weights: Path, what: str, prefixes: Sequence[str], others: Sequence[str], head: int | None) -> State:
    """The weights of a plain vision transformer by timm's names, from a published file or one of transformers.

    prefixes: of the chosen network's entries in files with several networks; the first that occurs is taken, and what
    has none of them is left out. others: beginnings of entries that only the training used. head: see `plain`.
    WeightsError for what is another network.
    """
    entries = read(weights)
    prefix = next((prefix for prefix in prefixes if any(name.startswith(prefix) for name in entries)), "")
    chosen = {name.removeprefix(prefix): value for name, value in entries.items() if name.startswith(prefix)}
    named = joined(renamed(chosen, TRANSFORMERS), APART, ".attn.qkv.")
    kept = {name: value for name, value in named.items() if not name.startswith(tuple(others))}
    return fitted(lambda own: plain(own, head), kept, weights, what)


def plain(entries: State | Entries, head: int | None = HEAD) -> "VisionTransformer":
    """The plain network whose sizes the entries have. head: values of each head of attention; None: 12 heads."""
    width = entries["patch_embed.proj.weight"].shape[0]
    return network(entries, head or width // 12, scaled=False)


def network(entries: Mapping[str, Any], head: int = HEAD, *, scaled: bool) -> "VisionTransformer":
    """The network whose sizes the entries have."""
    width, _, patch, _ = entries["patch_embed.proj.weight"].shape
    return VisionTransformer(
        width=width,
        hidden=len(entries["blocks.0.mlp.fc1.bias"]),
        depth=count(dict(entries), r"blocks\.\d+\.norm1\.weight$"),
        patch=patch,
        positions=entries["pos_embed"].shape[1],
        head=head,
        scaled=scaled,
    )


class VisionTransformer(nn.Module):
    """Prepared images (B, 3, H, W) -> class token (B, width)."""

    def __init__(
        self, width: int, hidden: int, depth: int, patch: int, positions: int, head: int = HEAD, *, scaled: bool = True
    ) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.empty(1, 1, width))
        self.pos_embed = nn.Parameter(torch.empty(1, positions, width))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, width, patch, patch)})
        self.blocks = nn.ModuleList(VisionBlock(width, hidden, head, scaled=scaled) for _ in range(depth))
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


class VisionBlock(nn.Module):
    """Attention and two layers, each after a norm and, where `scaled`, scaled channel by channel (LayerScale)."""

    def __init__(self, width: int, hidden: int, head: int, *, scaled: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = VisionAttention(width, head)
        self.ls1 = LayerScale(width) if scaled else nn.Identity()
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, hidden), "fc2": nn.Linear(hidden, width)})
        self.ls2 = LayerScale(width) if scaled else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.ls1(self.attn(self.norm1(x)))
        hidden = functional.gelu(self.mlp["fc1"](self.norm2(x)))
        scaled: Tensor = self.ls2(self.mlp["fc2"](hidden))
        return x + scaled


class VisionAttention(nn.Module):
    """Of all tokens (B, T, width) to all."""

    def __init__(self, width: int, head: int) -> None:
        super().__init__()
        self.head = head
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        attended: Tensor = self.proj(attention(self.qkv(x), self.head))
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
