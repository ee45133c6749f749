"""EDM2's magnitude-preserving U-Net, configuration G (Karras et al. 2024): the defaults are its S at 64 × 64.

XS, S, M, L, XL and XXL are `width` 128, 192, 256, 320, 384 and 448. Weights under EDM2's names are converted by
`from_edm2` in `_edm2_names.py`. The network follows the paper and has its numbers of weights; its output was never
compared with that of published weights, which were not at hand.
"""

from dataclasses import dataclass
from typing import Annotated, cast

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn

from difgen_cli.models._ddpmpp_layers import Resample
from difgen_cli.models._edm2_layers import (
    EVEN,
    FILTER,
    MpBlock,
    MpConv,
    MpFourierFeatures,
    MpLabels,
    MpLinear,
    mp_cat,
    mp_silu,
)
from difgen_cli.models.unet import Chain

VERSION = 1


@dataclass(frozen=True)
class Edm2Settings:
    """The settings of `build`."""

    width: int
    depth: int
    multipliers: tuple[int, ...]
    attention: tuple[int, ...]
    head_channels: int
    dropout: float


def build(
    shape: tuple[int, ...],
    classes: int,
    *,
    width: Annotated[int, Gt(0)] = 192,
    depth: Annotated[int, Gt(0)] = 3,
    multipliers: tuple[int, ...] = (1, 2, 3, 4),
    attention: tuple[int, ...] = (16, 8),
    head_channels: Annotated[int, Gt(0)] = 64,
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.0,
) -> nn.Module:
    """F(x; noise, label) for images of `shape` (C, H, W), with `classes` conditions (0: none).

    width: channels of the first convolution and features of the noise level.
    depth: residual blocks of every level on the way down; the way up has one more.
    multipliers: channels of each level in units of width; each level halves height and width.
    attention: heights of the levels that attend over all their pixels.
    head_channels: channels of each head of the attention, by which the channels of a level that attends are divided;
        the lowest level always attends, once.
    dropout: probability of dropping a hidden activation in training.

    Raises ValueError for points, a list of multipliers that is empty, not positive or too long to halve the images so
    often, an attention height that no level has, and channels that do not divide into heads.
    """
    settings = Edm2Settings(width, depth, multipliers, attention, head_channels, dropout)
    if refusal := refused(shape, settings):
        raise ValueError(refusal)
    return Edm2(shape, classes, settings)


def refused(shape: tuple[int, ...], settings: Edm2Settings) -> str | None:
    """Why there is no such network, in one sentence."""
    multipliers = settings.multipliers
    if len(shape) != 3:
        return f"edm2 needs images (C, H, W), not points of shape {shape}: use the mlp"
    if not multipliers or min(multipliers) < 1:
        return f"multipliers must be one or more whole numbers of at least 1, not {multipliers}"
    parts = 2 ** (len(multipliers) - 1)
    if shape[1] % parts or shape[2] % parts:
        return (
            f"multipliers of {len(multipliers)} levels need a height and width that {parts} divides, not "
            f"{shape[1]} × {shape[2]}: use fewer levels, or the unet, which rounds up"
        )
    heights = [shape[1] >> level for level in range(len(multipliers))]
    if unknown := sorted(set(settings.attention) - set(heights)):
        return f"attention at height {unknown[0]}: the levels of {shape[1]} pixels have heights {heights}"
    attending = [m for m, height in zip(multipliers, heights, strict=True) if height in settings.attention]
    for multiplier in (*attending, multipliers[-1]):
        if settings.width * multiplier % settings.head_channels:
            return (
                f"head_channels must divide the {settings.width * multiplier} channels that attend, not "
                f"{settings.head_channels}"
            )
    return None


class Edm2(nn.Module):
    """Encoder and decoder with a skip connection from every encoder block; the output starts at zero.

    `constrain` is the forced weight normalisation of the paper, before each step of training. It is no part of
    `forward`, so that an objective may evaluate the network several times in one step, or compile it.
    """

    def __init__(self, shape: tuple[int, ...], classes: int, settings: Edm2Settings) -> None:
        super().__init__()
        self.classes = classes
        widths = [settings.width * multiplier for multiplier in settings.multipliers]
        attends = [shape[1] >> level in settings.attention for level in range(len(widths))]
        self.embedding = Edm2Embedding(classes, settings.width, max(widths))
        self.first = MpConv(shape[0] + 1, settings.width, 3)  # of the image and a channel of ones: there is no bias

        def block(
            inputs: int, outputs: int, attend: bool = False, *, encodes: bool = False, resample: Resample | None = None
        ) -> MpBlock:
            heads = outputs // settings.head_channels if attend else 0
            return MpBlock(
                inputs, outputs, max(widths), settings.dropout, encodes=encodes, heads=heads, resample=resample
            )

        self.down, skips, hidden = nn.ModuleList(), [settings.width], settings.width
        for level, outputs in enumerate(widths):
            blocks = nn.ModuleList()
            if level:
                blocks.append(block(hidden, hidden, encodes=True, resample=Resample(FILTER, up=False)))
                skips.append(hidden)
            for _ in range(settings.depth):
                blocks.append(block(hidden, outputs, attends[level], encodes=True))
                hidden = outputs
                skips.append(hidden)
            self.down.append(blocks)
        self.middle = Chain([block(hidden, hidden, True), block(hidden, hidden)])
        self.up = nn.ModuleList()
        for level, outputs in reversed(list(enumerate(widths))):
            last = level == len(widths) - 1
            blocks = nn.ModuleList([] if last else [block(hidden, hidden, resample=Resample(FILTER, up=True))])
            for _ in range(settings.depth + 1):
                blocks.append(block(hidden + skips.pop(), outputs, attends[level]))
                hidden = outputs
            self.up.append(blocks)
        self.last = MpConv(hidden, shape[0], 3)
        self.gain = nn.Parameter(torch.zeros(()))  # of the output

    def forward(self, x: Tensor, noise: Tensor, labels: Tensor | None) -> Tensor:
        """Like x, which is (B, C, H, W)."""
        embedding = self.embedding(noise, labels)
        hidden = self.first(torch.cat([x, torch.ones_like(x[:, :1])], dim=1))
        skips = [hidden]
        for blocks in self.down:
            for block in cast("nn.ModuleList", blocks):
                hidden = block(hidden, embedding)
                skips.append(hidden)
        hidden = self.middle(hidden, embedding)
        for level, blocks in enumerate(self.up):
            for index, block in enumerate(cast("nn.ModuleList", blocks)):
                doubles = level > 0 and index == 0
                hidden = block(hidden if doubles else mp_cat(hidden, skips.pop(), EVEN), embedding)
        output: Tensor = self.gain * self.last(hidden)
        return output

    def constrain(self) -> None:
        """Bring the weights of every layer back to the length that they are used with."""
        for layer in self.modules():
            if isinstance(layer, MpConv | MpLinear):
                layer.constrain()


class Edm2Embedding(nn.Module):
    """Noise level and condition as one vector (B, width)."""

    def __init__(self, classes: int, features: int, width: int) -> None:
        super().__init__()
        self.features = MpFourierFeatures(features)
        self.noise = MpLinear(features, width)
        self.labels = MpLabels(classes, width)

    def forward(self, noise: Tensor, labels: Tensor | None) -> Tensor:
        """(B, width) from ln σ / 4 (B,) and labels (B,) or None."""
        return mp_silu(self.labels(self.noise(self.features(noise)), labels))
