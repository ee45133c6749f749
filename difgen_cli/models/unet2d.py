"""The U-Net of diffusers, UNet2DModel, with its names of parameters, so that its weights fit.

`settings_of` in `_unet2d_names.py` gives the settings for a `config.json`. Such weights are told timesteps. A network
trained here is told ln σ / 4: a `noise_scale` above 1 lets more of its frequencies tell levels apart.
"""

from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn
from torch.nn import functional

from difgen_cli.models._unet2d_layers import (
    DownLevel,
    LabelTable,
    Middle,
    StepEmbedding,
    StepFeatures,
    Unet2dSettings,
    UpLevel,
)

VERSION = 1


def build(
    shape: tuple[int, ...],
    classes: int,
    *,
    block_out_channels: tuple[int, ...] = (64, 128, 128),
    layers_per_block: Annotated[int, Gt(0)] = 2,
    attention: tuple[int, ...] = (1,),
    up_attention: tuple[int, ...] | None = None,
    add_attention: bool = True,
    attention_head_dim: Annotated[int, Gt(0)] | None = 8,
    norm_num_groups: Annotated[int, Gt(0)] = 32,
    norm_eps: Annotated[float, Gt(0)] = 1e-5,
    resnet_time_scale_shift: Literal["default", "scale_shift"] = "default",
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.0,
    downsample_padding: Literal[0, 1] = 1,
    mid_block_scale_factor: Annotated[float, Gt(0)] = 1.0,
    flip_sin_to_cos: bool = True,
    freq_shift: Literal[0, 1] = 0,
    dropped_row: bool = True,
    noise_scale: Annotated[float, Gt(0)] = 1.0,
) -> nn.Module:
    """F(x; noise, label) for images of `shape` (C, H, W), with `classes` conditions (0: none).

    Settings that diffusers has too have its names.

    block_out_channels: channels of each level, each a multiple of norm_num_groups; each level halves height and width.
    layers_per_block: residual blocks of every level on the way down; the way up has one more.
    attention: levels that attend over all their pixels, counted from 0, that of the whole image.
    up_attention: the same on the way up; as on the way down without it.
    add_attention: attend between the way down and the way up too.
    attention_head_dim: channels of a head; without it one head has all.
    norm_num_groups: groups of every normalisation.
    norm_eps: added to its variance.
    resnet_time_scale_shift: default, which shifts by the embedding; or scale_shift, which scales too.
    dropout: probability of dropping a hidden activation in training.
    downsample_padding: pixels around the image before it is halved; 0 adds one at the far edges alone.
    mid_block_scale_factor: what the sums between the way down and the way up are divided by.
    flip_sin_to_cos: cosines of the noise level come before its sines.
    freq_shift: 1 makes the lowest frequency exactly 1 / 10,000.
    dropped_row: the table of labels has a row for the dropped condition, one more than classes.
    noise_scale: factor of the noise level before its cosines and sines; 1 for timesteps.

    Raises ValueError for points, channels that groups or heads do not divide, levels that are none, and images that the
    levels cannot halve.
    """
    up = attention if up_attention is None else up_attention
    settings = Unet2dSettings(
        block_out_channels, layers_per_block, attention, up, add_attention, attention_head_dim, norm_num_groups,
        norm_eps, resnet_time_scale_shift == "scale_shift", dropout, downsample_padding, mid_block_scale_factor,
        4 * block_out_channels[0] if block_out_channels else 0,
    )  # fmt: skip
    if refusal := refused(shape, settings):
        raise ValueError(refusal)
    features = StepFeatures(block_out_channels[0], noise_scale, freq_shift, flip_sin_to_cos)
    return Unet2d(shape[0], classes, settings, features, classes + dropped_row)


def refused(shape: tuple[int, ...], settings: Unet2dSettings) -> str | None:
    """Why there is no such network, in one sentence."""
    if len(shape) != 3:
        return f"unet2d needs images (C, H, W), not points of shape {shape}: use the mlp"
    widths, levels = settings.widths, range(len(settings.widths))
    if not widths or any(width < 1 or width % settings.groups for width in widths):
        return f"block_out_channels must be one or more multiples of norm_num_groups, {settings.groups}, not {widths}"
    if widths[0] % 2 or widths[0] < 4:
        return f"block_out_channels must begin with an even number of at least 4, not {widths[0]}"
    for name, attending in (("attention", settings.attention), ("up_attention", settings.up_attention)):
        if unknown := sorted(set(attending) - set(levels)):
            return f"{name} at level {unknown[0]}: the levels are {', '.join(map(str, levels))}"
    attends = {*settings.attention, *settings.up_attention} | ({levels[-1]} if settings.middle_attention else set())
    for level in sorted(attends):
        if settings.head_width and widths[level] % settings.head_width:
            return f"attention_head_dim must divide the {widths[level]} channels of level {level}: use another number"
    parts = 2 ** levels[-1]
    if shape[1] % parts or shape[2] % parts:
        return (
            f"block_out_channels of {len(widths)} levels need a height and width that {parts} divides, not "
            f"{shape[1]} × {shape[2]}: use fewer levels, or the unet, which rounds up"
        )
    return None


class Unet2d(nn.Module):
    """Encoder and decoder with a skip connection from every encoder block."""

    def __init__(
        self, channels: int, classes: int, settings: Unet2dSettings, features: StepFeatures, rows: int
    ) -> None:
        super().__init__()
        self.classes = classes
        self.time_proj = features
        self.time_embedding = StepEmbedding(settings.widths[0], settings.embedding)
        self.class_embedding = LabelTable(rows, settings.embedding) if classes else None
        self.conv_in = nn.Conv2d(channels, settings.widths[0], 3, padding=1)
        self.down_blocks, self.up_blocks = nn.ModuleList(), nn.ModuleList()
        skips, hidden = [settings.widths[0]], settings.widths[0]
        for level, outputs in enumerate(settings.widths):
            last = level == len(settings.widths) - 1
            inputs = [hidden] + [outputs] * (settings.depth - 1)
            self.down_blocks.append(DownLevel(settings, inputs, outputs, level in settings.attention, halves=not last))
            skips += [outputs] * (settings.depth + (not last))
            hidden = outputs
        self.mid_block = Middle(settings)
        for level, outputs in reversed(list(enumerate(settings.widths))):
            inputs = [(hidden if index == 0 else outputs) + skips.pop() for index in range(settings.depth + 1)]
            self.up_blocks.append(UpLevel(settings, inputs, outputs, level in settings.up_attention, doubles=level > 0))
            hidden = outputs
        self.conv_norm_out = nn.GroupNorm(settings.groups, hidden, eps=settings.eps)
        self.conv_out = nn.Conv2d(hidden, channels, 3, padding=1)

    @property
    def middle(self) -> nn.Module:
        """What lies between encoder and decoder, whose output (B, C, h, w) others may read by a hook."""
        return self.mid_block

    def forward(self, x: Tensor, noise: Tensor, labels: Tensor | None) -> Tensor:
        """Like x, which is (B, C, H, W)."""
        embedding = self.time_embedding(self.time_proj(noise))
        if (condition := self._condition(labels, len(x), x.device)) is not None:
            embedding = embedding + condition
        skips = [self.conv_in(x)]
        for level in self.down_blocks:
            skips += level(skips[-1], embedding)
        hidden = self.mid_block(skips[-1], embedding)
        for level in self.up_blocks:
            hidden = level(hidden, embedding, skips)
        output: Tensor = self.conv_out(functional.silu(self.conv_norm_out(hidden)))
        return output

    def _condition(self, labels: Tensor | None, count: int, device: torch.device) -> Tensor | None:
        """The vector of each label, (B, embedding); None where the network has no classes."""
        if self.class_embedding is None:
            if labels is not None:
                raise ValueError("this network was built with classes=0, but is given labels: pass labels=None")
            return None
        if labels is None:
            if self.class_embedding.num_embeddings == self.classes:
                raise ValueError("this network has no row for the dropped condition: give it labels")
            labels = torch.full((count,), self.classes, device=device)
        embedded: Tensor = self.class_embedding(labels)
        return embedded
