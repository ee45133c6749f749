"""Weights rounded to few levels: uniform, symmetric, to the nearest, as models are shipped (Nagel et al. 2021)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Ge, Le

from difgen_cli.post_training import each_matrix

if TYPE_CHECKING:
    from torch import Tensor

VERSION = 1
WHOLE = 32  # bits of the weights as they are trained


def apply(
    weights: dict[str, Tensor],
    *,
    bits: Annotated[int, Ge(2), Le(32)] = 8,
    per: Literal["tensor", "channel"] = "channel",
) -> dict[str, Tensor]:
    """Δ · round(w / Δ) with Δ = max |w| / (2^(bits − 1) − 1): 2^bits − 1 levels, 0 among them, none clipped.

    Halves are rounded to the even level. Tensors of one dimension, such as biases, are as they were, and so is what
    flows through the network.

    bits: of one weight; 32 is none.
    per: tensor has one Δ for each tensor; channel has one for each index of its first dimension, the outputs of a
        layer.
    """
    return each_matrix(weights, per, partial(_rounded, levels=2 ** (bits - 1) - 1))


def canonical(settings: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """With all bits there is nothing to round."""
    return ("none", {}) if settings["bits"] == WHOLE else ("quantise", settings)


def _rounded(rows: Tensor, levels: int) -> Tensor:
    """Rows (r, n) with `levels` levels above 0 in each; a row of zeros has no step, and stays."""
    step = rows.abs().amax(1, keepdim=True) / levels
    return (rows / step.masked_fill(step == 0, 1.0)).round() * step
