"""A residual multilayer perceptron on flattened images or on points: seconds to train on one CPU thread."""

from typing import Annotated

from annotated_types import Gt
from torch import Tensor, nn
from torch.nn import functional

from difgen_cli.models import Embedding

VERSION = 1


def build(
    shape: tuple[int, ...],
    classes: int,
    *,
    width: Annotated[int, Gt(0)] = 256,
    depth: Annotated[int, Gt(0)] = 3,
) -> nn.Module:
    """F(x; noise, label) for `shape` (C, H, W) or (D,), with `classes` conditions (0: none).

    width: units of every hidden layer.
    depth: residual blocks between the first and the last layer.
    """
    return Mlp(shape, classes, width, depth)


class Mlp(nn.Module):
    """Linear, `depth` residual blocks modulated by noise level and condition, linear (zero at the start)."""

    def __init__(self, shape: tuple[int, ...], classes: int, width: int, depth: int) -> None:
        super().__init__()
        dimensions = 1
        for size in shape:
            dimensions *= size
        self.classes = classes
        self.embedding = Embedding(classes, width)
        self.first = nn.Linear(dimensions, width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(depth))
        self.last = nn.Linear(width, dimensions)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor, noise: Tensor, labels: Tensor | None) -> Tensor:
        """Like x, which is (B, C, H, W) or (B, D)."""
        embedding = self.embedding(noise, labels)
        hidden = self.first(x.flatten(1))
        for block in self.blocks:
            hidden = block(hidden, embedding)
        output: Tensor = self.last(functional.silu(hidden))
        return output.view_as(x)


class Block(nn.Module):
    """h + W₂ silu(W₁ silu(h) + V e), e the embedding of noise level and condition."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Linear(width, width)
        self.shift = nn.Linear(width, width, bias=False)
        self.second = nn.Linear(width, width)

    def forward(self, hidden: Tensor, embedding: Tensor) -> Tensor:
        """(B, width) from (B, width) and the embedding (B, width)."""
        inner = self.first(functional.silu(hidden)) + self.shift(embedding)
        update: Tensor = self.second(functional.silu(inner))
        return hidden + update
