"""Alignment of hidden states with features of the images (REPA; Yu et al. 2025), beside the denoising loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Ge, Gt

if TYPE_CHECKING:
    from torch import Tensor, nn

    from difgen_cli.diffusion import Denoiser
    from difgen_cli.diffusion.objective import Batch, Hidden

VERSION = 1


def loss(
    denoiser: Denoiser,
    batch: Batch,
    heads: nn.Module,
    hidden: Hidden,
    targets: Tensor,
    *,
    alignment: Annotated[float, Ge(0)] = 0.5,
    head_width: Annotated[int, Gt(0)] = 256,
    features: str = "auto",
) -> Tensor:
    """The denoising loss minus `alignment` times the mean cosine between projected hidden states and `targets` (N, F).

    The hidden state of an image is the mean over all positions of the middle of the network.

    alignment: its weight beside the denoising loss; 0 is the objective edm.
    head_width: of the two hidden layers of the projection.
    features: the space of the targets; auto is the embedded default for this kind of data.
    """
    from torch.nn import functional

    from difgen_cli.diffusion.objective import regression

    value = regression(denoiser, batch)
    projected = heads(hidden.value.flatten(2).mean(2) if hidden.value.dim() > 2 else hidden.value)
    return value - alignment * functional.cosine_similarity(projected, targets[batch.places]).mean()


def heads(width: int, features: int, *, head_width: int) -> nn.Module:
    """Three layers from the channels of the hidden state (B, width) to features (B, features)."""
    from torch import nn

    return nn.Sequential(
        nn.Linear(width, head_width), nn.SiLU(), nn.Linear(head_width, head_width), nn.SiLU(),
        nn.Linear(head_width, features),
    )  # fmt: skip


def canonical(settings: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Without alignment it is edm."""
    return ("repa", settings) if settings["alignment"] else ("edm", {})
