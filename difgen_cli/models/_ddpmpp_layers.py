"""The parts of EDM's DDPM++ and NCSN++ (Song et al. 2021; Karras et al. 2022, appendix F.3 and table 1)."""

import math
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from difgen_cli.models import perturbed, unlabelled
from difgen_cli.models.unet import ROOT_HALF, Dropout, normalisation

EPS = 1e-6  # of every normalisation
SMALL = 1e-5  # gain of the layers that end a residual branch or the network
ATTENTION_GAIN = math.sqrt(0.2)  # of queries, keys and values
MAX_POSITIONS = 10_000
FOURIER_SCALE = 16.0

Layer = TypeVar("Layer", nn.Linear, nn.Conv2d)


def xavier(layer: Layer, gain: float = 1.0) -> Layer:
    """The same layer with weights uniform in ± gain √(6 / (fan in + fan out)), and a bias of 0."""
    nn.init.xavier_uniform_(layer.weight, gain)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class PositionalFeatures(nn.Module):
    """Sines, then cosines, of the noise level: frequencies from 1 down to 1 / 10,000, both included."""

    frequencies: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        exponents = torch.linspace(0, 1, size // 2, dtype=torch.float64)
        self.register_buffer("frequencies", (MAX_POSITIONS**-exponents).float(), persistent=False)

    def forward(self, noise: Tensor) -> Tensor:
        """(B, size) from ln σ / 4 of shape (B,)."""
        angles = torch.outer(noise, self.frequencies)
        return torch.cat([angles.sin(), angles.cos()], dim=1)


class FourierFeatures(nn.Module):
    """Sines, then cosines, of 2π f times the noise level: f are normal of deviation 16, drawn once, never trained."""

    frequencies: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("frequencies", torch.randn(size // 2) * FOURIER_SCALE)  # in snapshots: no seed gives it

    def forward(self, noise: Tensor) -> Tensor:
        """(B, size) from ln σ / 4 of shape (B,)."""
        angles = torch.outer(noise, 2 * math.pi * self.frequencies)
        return torch.cat([angles.sin(), angles.cos()], dim=1)


class OneHotLabels(nn.Module):
    """A linear layer on the label as a one-hot vector times √classes; the dropped condition is a vector of zeros.

    In training what it gives is perturbed where `perturbation` is above 0, as in `ClassEmbedding`.
    """

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.classes = classes
        self.perturbation = 0.0
        self.layer = xavier(nn.Linear(classes, width)) if classes else None

    def forward(self, hidden: Tensor, labels: Tensor | None) -> Tensor:
        """`hidden` (B, width) plus the vector of each label; labels (B,) in [0, classes], None: all dropped."""
        if self.layer is None:
            return unlabelled(hidden, labels)
        vectors = self.layer(one_hot(labels, self.classes, hidden))
        return hidden + perturbed(vectors, self.perturbation if self.training else 0.0)


def one_hot(labels: Tensor | None, classes: int, like: Tensor) -> Tensor:
    """√classes times the one-hot vectors of labels (B,), zeros for the label `classes` and none: (B, classes)."""
    if labels is None:
        labels = torch.full((len(like),), classes, device=like.device)
    chosen = labels[:, None] == torch.arange(classes, device=labels.device)  # (B, classes)
    return chosen.to(like.dtype) * math.sqrt(classes)


class Resample(nn.Module):
    """Images of half (`up` False) or double the size, smoothed with the outer product of a filter with itself."""

    kernel: Tensor

    def __init__(self, taps: tuple[int, ...], *, up: bool, padding: int | None = None) -> None:
        super().__init__()
        row = torch.tensor(taps, dtype=torch.float32)
        kernel = torch.outer(row, row) / row.sum().square()  # sums to 1, so that the mean is kept
        # A doubled image has three zeros for each pixel before it is smoothed.
        self.register_buffer("kernel", kernel * 4 if up else kernel, persistent=False)
        self.up = up
        self.padding = (len(taps) - 1) // 2 if padding is None else padding

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H/2, W/2) or (B, C, 2 H, 2 W) from (B, C, H, W)."""
        channels = x.shape[1]
        kernel = self.kernel.to(x.dtype).expand(channels, 1, *self.kernel.shape)
        convolve = functional.conv_transpose2d if self.up else functional.conv2d
        return convolve(x, kernel, stride=2, padding=self.padding, groups=channels)


class ResidualInput(nn.Module):
    """The image at half the size, as NCSN++ adds it to each level: a convolution, smoothing, and only then the bias."""

    def __init__(self, inputs: int, outputs: int, taps: tuple[int, ...]) -> None:
        super().__init__()
        # The padding of both, once: the filter sees what the convolution gives beyond the edge.
        self.conv = xavier(nn.Conv2d(inputs, outputs, 3, padding=1 + (len(taps) - 1) // 2, bias=False))
        self.halve = Resample(taps, up=False, padding=0)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(B, outputs, H/2, W/2) from (B, inputs, H, W)."""
        halved: Tensor = self.halve(self.conv(x))
        return halved + self.bias[:, None, None]


class DdpmBlock(nn.Module):
    """Two convolutions, shifted by the embedding in between, and attention; before the first the size may change."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        embedding: int,
        dropout: float,
        *,
        attend: bool = False,
        resample: Resample | None = None,
    ) -> None:
        super().__init__()
        self.norm = normalisation(inputs, EPS)
        self.resample = resample or nn.Identity()
        self.first = xavier(nn.Conv2d(inputs, outputs, 3, padding=1))
        self.shift = xavier(nn.Linear(embedding, outputs))
        self.inner_norm = normalisation(outputs, EPS)
        self.dropout = Dropout(dropout)
        self.second = xavier(nn.Conv2d(outputs, outputs, 3, padding=1), SMALL)
        same = inputs == outputs and resample is None
        self.shortcut = nn.Identity() if same else xavier(nn.Conv2d(inputs, outputs, 1))
        self.attention = OneHeadAttention(outputs) if attend else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """(B, outputs, H', W') from (B, inputs, H, W) and (B, embedding)."""
        hidden = self.first(self.resample(functional.silu(self.norm(x))))
        hidden = functional.silu(self.inner_norm(hidden + self.shift(embedding)[:, :, None, None]))
        hidden = self.second(self.dropout(hidden))
        # Both terms have about unit variance: √½ keeps their sum there.
        output: Tensor = self.attention((self.shortcut(self.resample(x)) + hidden) * ROOT_HALF)
        return output


class OneHeadAttention(nn.Module):
    """Self-attention over the pixels with one head of all channels, added to its input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = normalisation(channels, EPS)
        self.qkv = xavier(nn.Conv2d(channels, 3 * channels, 1), ATTENTION_GAIN)
        self.out = xavier(nn.Conv2d(channels, channels, 1), SMALL)

    def forward(self, x: Tensor) -> Tensor:
        """Like x, which is (B, C, H, W)."""
        tokens = self.qkv(self.norm(x)).flatten(2).transpose(1, 2).unsqueeze(1)  # (B, 1, H W, 3 C)
        # Fused attention asks for contiguous channels.
        attended = functional.scaled_dot_product_attention(*tokens.contiguous().chunk(3, dim=-1))
        update: Tensor = self.out(attended.squeeze(1).transpose(1, 2).reshape(x.shape))
        return (x + update) * ROOT_HALF
