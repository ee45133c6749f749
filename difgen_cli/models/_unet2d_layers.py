"""The parts of diffusers' UNet2DModel, with its names of parameters."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from difgen_cli.models.unet import Dropout, interpolated, repeated


class StepFeatures(nn.Module):
    """Cosines and sines of a timestep: frequencies from 1 down to about 1 / 10,000."""

    frequencies: Tensor

    def __init__(self, size: int, noise_scale: float, freq_shift: int, cosines_first: bool) -> None:
        super().__init__()
        half = size // 2
        frequencies = noise_scale * torch.exp(-math.log(10_000) * torch.arange(half) / (half - freq_shift))
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.cosines_first = cosines_first

    def forward(self, noise: Tensor) -> Tensor:
        """(B, size) from (B,)."""
        angles = torch.outer(noise, self.frequencies)
        parts = [angles.cos(), angles.sin()] if self.cosines_first else [angles.sin(), angles.cos()]
        return torch.cat(parts, dim=1)


class StepEmbedding(nn.Module):
    """Two layers on the features of the timestep."""

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.linear_1, self.linear_2 = nn.Linear(features, width), nn.Linear(width, width)

    def forward(self, features: Tensor) -> Tensor:
        """(B, width) from (B, features)."""
        output: Tensor = self.linear_2(functional.silu(self.linear_1(features)))
        return output


class LabelTable(nn.Embedding):
    """A vector for each label, perturbed in training where `perturbation` is above 0, as in `ClassEmbedding`."""

    def __init__(self, rows: int, width: int) -> None:
        super().__init__(rows, width)
        self.perturbation = 0.0

    def forward(self, labels: Tensor) -> Tensor:
        """(B, width) from (B,)."""
        embedded = super().forward(labels)
        if self.training and self.perturbation > 0:
            embedded = embedded + torch.randn_like(embedded) * (self.perturbation / math.sqrt(embedded.shape[1]))
        return embedded


class ResnetBlock(nn.Module):
    """Two convolutions, shifted or scaled and shifted by the embedding in between, and a shortcut."""

    def __init__(
        self, inputs: int, outputs: int, embedding: int, *, groups: int, eps: float, scales: bool, dropout: float,
        divisor: float = 1.0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, inputs, eps=eps)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.time_emb_proj = nn.Linear(embedding, 2 * outputs if scales else outputs)
        self.norm2 = nn.GroupNorm(groups, outputs, eps=eps)
        self.dropout = Dropout(dropout)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.conv_shortcut = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)
        self.scales, self.divisor = scales, divisor

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """(B, outputs, H, W) from (B, inputs, H, W) and (B, embedding)."""
        hidden = self.conv1(functional.silu(self.norm1(x)))
        change = self.time_emb_proj(functional.silu(embedding))[:, :, None, None]
        if self.scales:
            scale, shift = change.chunk(2, dim=1)
            hidden = torch.addcmul(shift, self.norm2(hidden), scale + 1)
        else:
            hidden = self.norm2(hidden + change)
        hidden = self.conv2(self.dropout(functional.silu(hidden)))
        output: Tensor = (self.conv_shortcut(x) + hidden) / self.divisor
        return output


class PixelAttention(nn.Module):
    """Self-attention over the pixels, added to its input."""

    def __init__(self, channels: int, heads: int, *, groups: int | None, eps: float, divisor: float = 1.0) -> None:
        super().__init__()
        self.group_norm = nn.Identity() if groups is None else nn.GroupNorm(groups, channels, eps=eps)
        self.to_q, self.to_k, self.to_v = (nn.Linear(channels, channels) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])  # a list: diffusers' has a dropout too
        self.heads, self.divisor = heads, divisor

    def forward(self, x: Tensor) -> Tensor:
        """Like x, which is (B, C, H, W)."""
        pixels = self.group_norm(x).flatten(2).transpose(1, 2)  # (B, H W, C)
        query, key, value = (
            layer(pixels).unflatten(2, (self.heads, -1)).transpose(1, 2) for layer in (self.to_q, self.to_k, self.to_v)
        )  # (B, heads, H W, C / heads) each
        attended = functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        update: Tensor = self.to_out[0](attended).transpose(1, 2).reshape(x.shape)
        return (x + update) / self.divisor


class Downsample(nn.Module):
    """Half the height and width by a convolution; without padding it sees one row and column beyond the far edges."""

    def __init__(self, channels: int, padding: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=padding)
        self.pads = padding == 0

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H/2, W/2) from (B, C, H, W)."""
        output: Tensor = self.conv(functional.pad(x, (0, 1, 0, 1)) if self.pads else x)
        return output


class Upsample(nn.Module):
    """Every pixel doubled both ways, then a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, 2 H, 2 W) from (B, C, H, W)."""
        # torch 2.13 may compile the gradient of `interpolate` to zero; the other form compiles correctly.
        twice = repeated if torch.compiler.is_compiling() else interpolated
        output: Tensor = self.conv(twice(x))
        return output


@dataclass(frozen=True)
class Unet2dSettings:
    """The settings of `build`, but those of the embedding."""

    widths: tuple[int, ...]
    depth: int
    attention: tuple[int, ...]
    up_attention: tuple[int, ...]
    middle_attention: bool
    head_width: int | None
    groups: int
    eps: float
    scales: bool
    dropout: float
    padding: int
    middle_divisor: float
    embedding: int

    def block(self, inputs: int, outputs: int, divisor: float = 1.0) -> ResnetBlock:
        """A residual block of the network."""
        return ResnetBlock(
            inputs, outputs, self.embedding, groups=self.groups, eps=self.eps, scales=self.scales,
            dropout=self.dropout, divisor=divisor,
        )  # fmt: skip

    def attend(self, channels: int) -> PixelAttention:
        """Attention at a level."""
        heads = channels // (self.head_width or channels)
        return PixelAttention(channels, heads, groups=self.groups, eps=self.eps)

    def attend_in_middle(self) -> PixelAttention:
        """Attention between encoder and decoder, which has no normalisation where blocks are scaled too."""
        channels, groups = self.widths[-1], None if self.scales else self.groups
        heads = channels // (self.head_width or channels)
        return PixelAttention(channels, heads, groups=groups, eps=self.eps, divisor=self.middle_divisor)


class DownLevel(nn.Module):
    """A level on the way down: residual blocks, each with attention or none, then half the size."""

    def __init__(
        self, settings: Unet2dSettings, inputs: list[int], outputs: int, attends: bool, *, halves: bool
    ) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(settings.block(channels, outputs) for channels in inputs)
        self.attentions = nn.ModuleList(settings.attend(outputs) for _ in inputs if attends)
        self.downsamplers = nn.ModuleList([Downsample(outputs, settings.padding)] if halves else [])

    def forward(self, x: Tensor, embedding: Tensor) -> list[Tensor]:
        """What every block gives, in order, and what the smaller image is; x (B, C, H, W), `embedding` (B, width)."""
        outputs = []
        for index, block in enumerate(self.resnets):
            x = block(x, embedding)
            if len(self.attentions):
                x = self.attentions[index](x)
            outputs.append(x)
        return outputs + [sampler(x) for sampler in self.downsamplers]


class UpLevel(nn.Module):
    """A level on the way up: residual blocks that each take a skip connection, then double the size."""

    def __init__(
        self, settings: Unet2dSettings, inputs: list[int], outputs: int, attends: bool, *, doubles: bool
    ) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(settings.block(channels, outputs) for channels in inputs)
        self.attentions = nn.ModuleList(settings.attend(outputs) for _ in inputs if attends)
        self.upsamplers = nn.ModuleList([Upsample(outputs)] if doubles else [])

    def forward(self, x: Tensor, embedding: Tensor, skips: list[Tensor]) -> Tensor:
        """(B, outputs, H', W') from x (B, C, H, W) and the last of `skips`, which are taken from the list."""
        for index, block in enumerate(self.resnets):
            x = block(torch.cat([x, skips.pop()], dim=1), embedding)
            if len(self.attentions):
                x = self.attentions[index](x)
        for sampler in self.upsamplers:
            x = sampler(x)
        return x


class Middle(nn.Module):
    """Two residual blocks between the way down and the way up, with attention in between or none."""

    def __init__(self, settings: Unet2dSettings) -> None:
        super().__init__()
        width = settings.widths[-1]
        self.resnets = nn.ModuleList(settings.block(width, width, settings.middle_divisor) for _ in range(2))
        self.attentions = nn.ModuleList([settings.attend_in_middle()] if settings.middle_attention else [])

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Like x, which is (B, C, H, W)."""
        x = self.resnets[0](x, embedding)
        for attention in self.attentions:
            x = attention(x)
        output: Tensor = self.resnets[1](x, embedding)
        return output
