"""The weights as they were trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

VERSION = 1


def apply(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights themselves."""
    return weights
