"""A change of finished weights of one's own: noise of rank one on every matrix."""

from typing import Annotated, Any

from annotated_types import Ge
from torch import Tensor


def apply(weights: dict[str, Tensor], rng: Any, *, scale: Annotated[float, Ge(0)] = 0.1) -> dict[str, Tensor]:
    """w + scale · rms(w) · u vᵀ, of unit normal u and v.

    scale: rms of the noise, as a share of that of the weights.
    """
    changed = dict(weights)
    for name, tensor in weights.items():
        if tensor.dim() > 1:
            u, v = rng.normal(f"{name} u", (len(tensor), 1)), rng.normal(f"{name} v", (1, tensor[0].numel()))
            changed[name] = tensor + scale * tensor.square().mean().sqrt() * (u @ v).view_as(tensor)
    return changed
