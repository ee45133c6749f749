"""A U-Net of residual blocks with attention, after DDPM++ as EDM trains it (Song et al. 2021; Karras et al. 2022).

EDM's CIFAR-10 network is `width: 128, depth: 4, multipliers: [2, 2, 2], attention: [16], dropout: 0.13`.
"""

import math
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn
from torch.nn import functional

from difgen_cli.models import Embedding, zero

VERSION = 1
ANY_SIZE = True  # a network made for images of one size takes crops of them too
ROOT_HALF = math.sqrt(0.5)


def build(
    shape: tuple[int, ...],
    classes: int,
    *,
    width: Annotated[int, Gt(0)] = 64,
    depth: Annotated[int, Gt(0)] = 2,
    multipliers: tuple[int, ...] = (1, 2, 2),
    attention: tuple[int, ...] = (),
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.0,
) -> nn.Module:
    """F(x; noise, label) for images of `shape` (C, H, W) of any size, with `classes` conditions (0: none).

    width: channels of the first level; a multiple of 4.
    depth: residual blocks of every level on the way down; the way up has one more.
    multipliers: channels of each level in units of width; each level halves height and width, rounding up.
    attention: heights of the levels that attend over all their pixels.
    dropout: probability of dropping a hidden activation in training.

    Raises ValueError for points, a width that is no multiple of 4, an empty or non-positive list of multipliers,
    and an attention height that no level has.
    """
    if len(shape) != 3:
        raise ValueError(f"the U-Net needs images (C, H, W), not points of shape {shape}: use the mlp")
    if width % 4:
        raise ValueError(f"width must be a multiple of 4 (the groups of its normalisation), not {width}")
    if not multipliers or min(multipliers) < 1:
        raise ValueError(f"multipliers must be one or more whole numbers of at least 1, not {multipliers}")
    heights = level_heights(shape[1], len(multipliers))
    if unknown := sorted(set(attention) - set(heights)):
        raise ValueError(f"attention at height {unknown[0]}: the levels of {shape[1]} pixels have heights {heights}")
    return UNet(shape[0], heights, classes, width, depth, multipliers, attention, dropout)


def level_heights(height: int, levels: int) -> list[int]:
    """The height of every level, halved and rounded up each time: 28, 14, 7, 4."""
    return [-(-height // 2**level) for level in range(levels)]


class UNet(nn.Module):
    """Encoder and decoder with a skip connection from every encoder block; the output starts at zero."""

    def __init__(
        self,
        channels: int,
        heights: list[int],
        classes: int,
        width: int,
        depth: int,
        multipliers: tuple[int, ...],
        attention: tuple[int, ...],
        dropout: float,
    ) -> None:
        super().__init__()
        self.classes = classes
        self.embedding = Embedding(classes, 4 * width)
        self.first = nn.Conv2d(channels, width, 3, padding=1)
        widths = [width * multiplier for multiplier in multipliers]
        attends = [height in attention for height in heights]

        def block(inputs: int, outputs: int, attend: bool) -> UnetBlock:
            return UnetBlock(inputs, outputs, 4 * width, attend, dropout)

        self.down = nn.ModuleList()
        skips = [width]
        for level, outputs in enumerate(widths):
            for _ in range(depth):
                self.down.append(block(skips[-1], outputs, attends[level]))
                skips.append(outputs)
            if level + 1 < len(widths):
                self.down.append(Halve(outputs))
                skips.append(outputs)
        hidden = widths[-1]
        self.middle = Chain([block(hidden, hidden, True), block(hidden, hidden, False)])
        self.up = nn.ModuleList()
        for level, outputs in reversed(list(enumerate(widths))):
            for _ in range(depth + 1):
                self.up.append(block(hidden + skips.pop(), outputs, attends[level]))
                hidden = outputs
        self.norm = normalisation(hidden)
        self.last = zero(nn.Conv2d(hidden, channels, 3, padding=1))

    def forward(self, x: Tensor, noise: Tensor, labels: Tensor | None) -> Tensor:
        """Like x, which is (B, C, H, W)."""
        embedding = self.embedding(noise, labels)
        hidden = self.first(x)
        skips = [hidden]
        for block in self.down:
            hidden = block(hidden, embedding)
            skips.append(hidden)
        hidden = self.middle(hidden, embedding)
        for block in self.up:
            skip = skips.pop()
            hidden = block(torch.cat([enlarge(hidden, skip), skip], dim=1), embedding)
        output: Tensor = self.last(functional.silu(self.norm(hidden)))
        return output


class Chain(nn.ModuleList):
    """Blocks one after another, each given the embedding too: one module, so that a hook sees what the last gives."""

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """(B, C', H, W) from (B, C, H, W) and (B, embedding)."""
        for block in self:
            x = block(x, embedding)
        return x


class UnetBlock(nn.Module):
    """Two convolutions, scaled and shifted by the embedding in between, and attention (Karras 2022, appendix F.3)."""

    def __init__(self, inputs: int, outputs: int, embedding: int, attend: bool, dropout: float) -> None:
        super().__init__()
        self.norm = normalisation(inputs)
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.modulation = nn.Linear(embedding, 2 * outputs)
        self.inner_norm = normalisation(outputs)
        self.dropout = Dropout(dropout)
        self.second = zero(nn.Conv2d(outputs, outputs, 3, padding=1))
        self.shortcut = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)
        self.attention = UnetAttention(outputs) if attend else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """(B, outputs, H, W) from (B, inputs, H, W) and (B, embedding)."""
        hidden = self.first(functional.silu(self.norm(x)))
        scale, shift = self.modulation(embedding)[:, :, None, None].chunk(2, dim=1)
        hidden = functional.silu(torch.addcmul(shift, self.inner_norm(hidden), scale + 1))
        hidden = self.second(self.dropout(hidden))
        # Both terms have about unit variance: √½ keeps their sum there.
        output: Tensor = self.attention((self.shortcut(x) + hidden) * ROOT_HALF)
        return output


class Dropout(nn.Dropout):
    """nn.Dropout, which draws the same mask in whatever order in memory x is, and compiled too."""

    def forward(self, x: Tensor) -> Tensor:
        """Like x."""
        if not self.training or self.p == 0:
            return super().forward(x)
        if x.is_cuda and not torch.compiler.is_compiling():  # a GPU draws while it multiplies, in the order of memory
            return super().forward(x.contiguous())
        # torch 2.13 compiles a mask that is drawn in place so that it is read before it is drawn: this one is returned.
        return x * functional.dropout(torch.ones(x.shape, dtype=x.dtype, device=x.device), self.p)


class UnetAttention(nn.Module):
    """Self-attention over the pixels, heads of at most 64 channels, added to its input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = next(h for h in range(-(-channels // 64), channels + 1) if channels % h == 0)
        self.norm = normalisation(channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = zero(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Like x, which is (B, C, H, W)."""
        b, c, h, w = x.shape
        qkv = self.qkv(self.norm(x)).reshape(b, 3, self.heads, c // self.heads, h * w).transpose(-1, -2)
        # (B, heads, H W, C / heads) each; fused attention asks for contiguous channels, and is left out without a word.
        attended = functional.scaled_dot_product_attention(*qkv.contiguous().unbind(1))
        update: Tensor = self.out(attended.transpose(-1, -2).reshape(b, c, h, w))
        return (x + update) * ROOT_HALF


class Halve(nn.Module):
    """Half the height and width, rounded up: the mean over 2 × 2 pixels (fewer at an odd edge), then a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """(B, C, ⌈H/2⌉, ⌈W/2⌉); the embedding is not used, so that all parts of a level are called alike."""
        halved: Tensor = self.conv(functional.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False))
        return halved


def enlarge(x: Tensor, like: Tensor) -> Tensor:
    """x itself at the size of `like`; else every pixel doubled both ways, and cut to that size where it is odd."""
    if x.shape[-2:] == like.shape[-2:]:
        return x
    # torch 2.13 compiles the gradient of `interpolate` to zero within this network; repeats are the same numbers, and
    # slower as they are written.
    twice = repeated if torch.compiler.is_compiling() else interpolated
    return twice(x)[:, :, : like.shape[2], : like.shape[3]]


def interpolated(x: Tensor) -> Tensor:
    """Every pixel doubled both ways, (B, C, H, W) to (B, C, 2 H, 2 W)."""
    return functional.interpolate(x, scale_factor=2.0, mode="nearest")


def repeated(x: Tensor) -> Tensor:
    """The same by repeating."""
    return x.repeat_interleave(2, dim=-1).repeat_interleave(2, dim=-2)


def normalisation(channels: int, eps: float = 1e-5) -> nn.GroupNorm:
    """Groups of at least 4 channels, 32 groups at most, as EDM has them."""
    groups = next(g for g in range(min(32, max(1, channels // 4)), 0, -1) if channels % g == 0)
    return nn.GroupNorm(groups, channels, eps=eps)
