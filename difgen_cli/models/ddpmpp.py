"""EDM's DDPM++ and NCSN++ as published (Song et al. 2021; Karras et al. 2022): the defaults are CIFAR-10's DDPM++.

EDM's NCSN++ is `features: fourier, noise_width: 2, encoder: residual, resample_filter: [1, 3, 3, 1]`. Weights that EDM
trained are converted by `from_edm` in `_edm_names.py`.
"""

from dataclasses import dataclass
from typing import Annotated, Literal, cast

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn
from torch.nn import functional

from difgen_cli.models._ddpmpp_layers import (
    EPS,
    SMALL,
    DdpmBlock,
    FourierFeatures,
    OneHotLabels,
    PositionalFeatures,
    Resample,
    ResidualInput,
    xavier,
)
from difgen_cli.models.unet import ROOT_HALF, Chain, normalisation

VERSION = 1
AUGMENT_LABELS = "augment"  # the setting that says how many labels of an augmentation `forward` takes


@dataclass(frozen=True)
class DdpmSettings:
    """The settings of `build`."""

    width: int
    depth: int
    multipliers: tuple[int, ...]
    attention: tuple[int, ...]
    dropout: float
    features: str
    noise_width: int
    encoder: str
    resample_filter: tuple[int, ...]
    augment: int


def build(
    shape: tuple[int, ...],
    classes: int,
    *,
    width: Annotated[int, Gt(0)] = 128,
    depth: Annotated[int, Gt(0)] = 4,
    multipliers: tuple[int, ...] = (2, 2, 2),
    attention: tuple[int, ...] = (16,),
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.13,
    features: Literal["positional", "fourier"] = "positional",
    noise_width: Annotated[int, Gt(0)] = 1,
    encoder: Literal["standard", "residual"] = "standard",
    resample_filter: tuple[int, ...] = (1, 1),
    augment: Annotated[int, Ge(0)] = 0,
) -> nn.Module:
    """F(x; noise, label) for images of `shape` (C, H, W), with `classes` conditions (0: none).

    width: channels of the first convolution; a multiple of 4.
    depth: residual blocks of every level on the way down; the way up has one more.
    multipliers: channels of each level in units of width; each level halves height and width.
    attention: heights of the levels that attend over all their pixels: in all blocks on the way down, in the last one
        on the way up.
    dropout: probability of dropping a hidden activation in training.
    features: how the noise level enters: positional, or fourier with random frequencies.
    noise_width: size of these features in units of width.
    encoder: standard; or residual, which adds the image itself to each lower level.
    resample_filter: taps of the filter, along one side, by which the size changes; an even number of them.
    augment: augmentation labels that `forward` takes (EDM: 9), 0 for none.

    Raises ValueError for points, a width that is no multiple of 4, a list of multipliers that is empty, not positive or
    too long to halve the images so often, an attention height that no level has, and an odd or zero filter.
    """
    settings = DdpmSettings(
        width, depth, multipliers, attention, dropout, features, noise_width, encoder, resample_filter, augment
    )
    if refusal := refused(shape, settings):
        raise ValueError(refusal)
    return DdpmPlusPlus(shape, classes, settings)


def refused(shape: tuple[int, ...], settings: DdpmSettings) -> str | None:
    """Why there is no such network, in one sentence."""
    multipliers, taps = settings.multipliers, settings.resample_filter
    if len(shape) != 3:
        return f"ddpmpp needs images (C, H, W), not points of shape {shape}: use the mlp"
    if settings.width % 4:
        return f"width must be a multiple of 4 (the groups of its normalisation), not {settings.width}"
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
    if not taps or len(taps) % 2 or not sum(taps):
        return f"resample_filter must be an even number of taps whose sum is not 0, not {taps}"
    return None


class DdpmPlusPlus(nn.Module):
    """Encoder and decoder with a skip connection from every encoder block; the output starts near zero."""

    def __init__(self, shape: tuple[int, ...], classes: int, settings: DdpmSettings) -> None:
        super().__init__()
        self.classes = classes
        width, taps = settings.width, settings.resample_filter
        self.embedding = DdpmEmbedding(classes, settings)
        self.first = xavier(nn.Conv2d(shape[0], width, 3, padding=1))
        widths = [width * multiplier for multiplier in settings.multipliers]
        attends = [shape[1] >> level in settings.attention for level in range(len(widths))]

        def block(inputs: int, outputs: int, attend: bool = False, resample: Resample | None = None) -> DdpmBlock:
            return DdpmBlock(inputs, outputs, 4 * width, settings.dropout, attend=attend, resample=resample)

        self.down, self.inputs = nn.ModuleList(), nn.ModuleList()
        skips, hidden, image = [width], width, shape[0]
        for level, outputs in enumerate(widths):
            blocks = nn.ModuleList()
            if level:
                blocks.append(block(hidden, hidden, resample=Resample(taps, up=False)))
                skips.append(hidden)
                if settings.encoder == "residual":
                    self.inputs.append(ResidualInput(image, hidden, taps))
                    image = hidden
            for _ in range(settings.depth):
                blocks.append(block(hidden, outputs, attends[level]))
                hidden = outputs
                skips.append(hidden)
            self.down.append(blocks)
        self.middle = Chain([block(hidden, hidden, True), block(hidden, hidden)])
        self.up = nn.ModuleList()
        for level, outputs in reversed(list(enumerate(widths))):
            last = level == len(widths) - 1
            blocks = nn.ModuleList([] if last else [block(hidden, hidden, resample=Resample(taps, up=True))])
            for index in range(settings.depth + 1):
                attend = attends[level] and index == settings.depth
                blocks.append(block(hidden + skips.pop(), outputs, attend))
                hidden = outputs
            self.up.append(blocks)
        self.norm = normalisation(hidden, EPS)
        self.last = xavier(nn.Conv2d(hidden, shape[0], 3, padding=1), SMALL)

    def forward(self, x: Tensor, noise: Tensor, labels: Tensor | None, augment: Tensor | None = None) -> Tensor:
        """Like x, which is (B, C, H, W); `augment` (B, augment) are the labels of its augmentation, None: zeros."""
        embedding = self.embedding(noise, labels, augment)
        hidden, skips = self._encoded(x, embedding)
        hidden = self.middle(hidden, embedding)
        for level, blocks in enumerate(self.up):
            for index, block in enumerate(cast("nn.ModuleList", blocks)):
                doubles = level > 0 and index == 0
                hidden = block(hidden if doubles else torch.cat([hidden, skips.pop()], dim=1), embedding)
        output: Tensor = self.last(functional.silu(self.norm(hidden)))
        return output

    def _encoded(self, x: Tensor, embedding: Tensor) -> tuple[Tensor, list[Tensor]]:
        """What the encoder ends with, and its skip connections."""
        hidden, image = self.first(x), x
        skips = [hidden]
        for level, blocks in enumerate(self.down):
            for index, block in enumerate(cast("nn.ModuleList", blocks)):
                hidden = block(hidden, embedding)
                if level and not index and len(self.inputs):
                    hidden = image = (hidden + self.inputs[level - 1](image)) * ROOT_HALF
                skips.append(hidden)
        return hidden, skips


class DdpmEmbedding(nn.Module):
    """Noise level, condition and augmentation as one vector (B, 4 width): their sum, then two layers."""

    def __init__(self, classes: int, settings: DdpmSettings) -> None:
        super().__init__()
        size, width = settings.noise_width * settings.width, 4 * settings.width
        self.features = PositionalFeatures(size) if settings.features == "positional" else FourierFeatures(size)
        self.labels = OneHotLabels(classes, size)
        self.augment = xavier(nn.Linear(settings.augment, size, bias=False)) if settings.augment else None
        self.first = xavier(nn.Linear(size, width))
        self.second = xavier(nn.Linear(width, width))

    def forward(self, noise: Tensor, labels: Tensor | None, augment: Tensor | None) -> Tensor:
        """(B, 4 width) from ln σ / 4 (B,), labels (B,) or None, and augmentation labels (B, augment) or None."""
        hidden = self.labels(self.features(noise), labels)
        if augment is not None:
            if self.augment is None:
                raise ValueError("this network was built with augment=0, but is given augmentation labels")
            hidden = hidden + self.augment(augment)
        return functional.silu(self.second(functional.silu(self.first(hidden))))
