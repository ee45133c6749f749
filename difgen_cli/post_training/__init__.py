"""Changes of finished weights: `apply(weights, <inputs>, *, ...)` gives the weights that samples and metrics see.

It is called whenever a snapshot is read for sampling or scoring, and trains nothing: the trajectory stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

Per = Literal["tensor", "channel"]


def each_matrix(weights: dict[str, Tensor], per: Per, change: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
    """The weights, of which every floating-point tensor of two or more dimensions is changed; others are as they were.

    `change` takes and gives rows, float64: a tensor (out, ...) is one row (1, n) per tensor, and rows (out, n / out)
    per channel, its first dimension.
    """

    def changed(tensor: Tensor) -> Tensor:
        rows = tensor.double().reshape(1 if per == "tensor" else len(tensor), -1)
        return change(rows).reshape(tensor.shape).to(tensor.dtype)

    wide = {name for name, tensor in weights.items() if tensor.dim() > 1 and tensor.is_floating_point()}
    return {name: changed(tensor) if name in wide else tensor for name, tensor in weights.items()}
