"""A residual multilayer perceptron on flattened images or on points: seconds to train on one CPU thread."""

import math
from typing import Annotated

import torch
from annotated_types import Gt
from torch import Tensor, nn
from torch.nn import functional

from difgen_cli.models import ClassEmbedding, NoiseFeatures, zero

VERSION = 1


def build(
    shape: tuple[int, ...],
    classes: int,
    *,
    width: Annotated[int, Gt(0)] = 256,
    depth: Annotated[int, Gt(0)] = 3,
) -> nn.Module:
    """F(x; noise, label) for `shape` (C, H, W) or (D,), with `classes` conditions (0: none).

    width: size of the hidden state.
    depth: residual blocks between the first and the last layer.
    """
    return Mlp(shape, classes, width, depth)


class Mlp(nn.Module):
    """A linear layer plus noise level and class, `depth` residual blocks, a linear layer that starts at zero.

    The first hidden state also reaches the last layer directly, gated by the noise level: that path alone can be the
    Wiener filter, the best linear denoiser at every σ, and leaves the blocks to what is not linear.
    """

    def __init__(self, shape: tuple[int, ...], classes: int, width: int, depth: int) -> None:
        super().__init__()
        dimensions = math.prod(shape)
        self.classes = classes
        self.features = NoiseFeatures()
        self.first = nn.Linear(dimensions, width)
        self.noise = nn.Linear(self.features.size, width)
        self.labels = ClassEmbedding(classes, width)
        self.blocks = nn.ModuleList(MlpBlock(width, self.features.size) for _ in range(depth))
        self.gate = zero(nn.Linear(self.features.size, width))
        self.last = zero(nn.Linear(width, dimensions))

    @property
    def middle(self) -> nn.Module:
        """The block in the middle, whose output (B, width) others may read by a hook."""
        return self.blocks[(len(self.blocks) - 1) // 2]

    def forward(self, x: Tensor, noise: Tensor, labels: Tensor | None) -> Tensor:
        """Like x, which is (B, C, H, W) or (B, D)."""
        features = self.features(noise)
        first = hidden = self.labels(self.first(x.flatten(1)) + self.noise(features), labels)  # (B, width)
        for block in self.blocks:
            hidden = block(hidden, features)
        output: Tensor = self.last(torch.addcmul(functional.silu(hidden), first, self.gate(features)))
        return output.view_as(x)


class MlpBlock(nn.Module):
    """h + W₂ silu(a(σ) W₁ silu(h) + b(σ)), half as wide inside: a and b start at 1 and 0."""

    def __init__(self, width: int, features: int) -> None:
        super().__init__()
        inner = max(1, width // 2)
        self.first = nn.Linear(width, inner)
        self.scale = zero(nn.Linear(features, inner))
        self.shift = zero(nn.Linear(features, inner))
        self.second = nn.Linear(inner, width)

    def forward(self, hidden: Tensor, features: Tensor) -> Tensor:
        """(B, width) from (B, width) and the noise features."""
        inner = self.first(functional.silu(hidden))
        modulated = torch.addcmul(inner + self.shift(features), inner, self.scale(features))
        update: Tensor = self.second(functional.silu(modulated))
        return hidden + update
