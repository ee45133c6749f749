"""Weights of least magnitude set to zero (Han et al. 2015)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Ge, Le

from difgen_cli.post_training import each_matrix

if TYPE_CHECKING:
    from torch import Tensor

VERSION = 1


def apply(
    weights: dict[str, Tensor],
    *,
    share: Annotated[float, Ge(0), Le(1)] = 0.5,
    per: Literal["tensor", "channel"] = "tensor",
) -> dict[str, Tensor]:
    """Zero in the place of the round(share · n) smallest of n weights; of equal ones the first go first.

    Tensors of one dimension, such as biases, are as they were. Nothing is trained afterwards.

    share: of the weights that become zero; 0 is none.
    per: tensor ranks the weights of each tensor; channel ranks those of each index of its first dimension, the outputs
        of a layer, so that each loses as many.
    """
    return each_matrix(weights, per, partial(_pruned, share=share))


def canonical(settings: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Without a share nothing becomes zero."""
    return ("prune", settings) if settings["share"] else ("none", {})


def _pruned(rows: Tensor, share: float) -> Tensor:
    """Rows (r, n) whose round(share · n) smallest values are 0."""
    smallest = rows.abs().sort(dim=1, stable=True).indices[:, : round(share * rows.shape[1])]
    return rows.scatter(1, smallest, 0.0)
