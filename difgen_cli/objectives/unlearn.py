"""Unlearning: the loss of some training images is raised while that of the others is lowered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Gt

if TYPE_CHECKING:
    from torch import Tensor

    from difgen_cli.diffusion import Denoiser, DenoiserLike
    from difgen_cli.diffusion.objective import Batch

VERSION = 1
INPUT_WHEN = {"teacher": ("method", "erase")}  # an input that one value of a setting alone needs


def loss(
    denoiser: Denoiser,
    batch: Batch,
    teacher: DenoiserLike | None,
    unlearn: Tensor,
    *,
    method: Literal["neggrad", "erase"] = "neggrad",
    strength: Annotated[float, Gt(0)] = 1.0,
) -> Tensor:
    """The mean over the batch, a scalar; `unlearn` (N,) bool marks the training images to be unlearnt.

    method: neggrad subtracts `strength` times the loss of those images (Kurmanji et al. 2023). Nothing bounds it, so
        that few steps at a low rate are enough. erase trains them towards D_T + strength (D_T − x₀), with D_T of the
        teacher, which starts with the same gradient and has an end (Gandikota et al. 2023).
    strength: how much more an unlearnt image counts than a kept one.
    """
    import torch

    from difgen_cli.diffusion import per_item

    marked = unlearn[batch.places]
    target = batch.images
    sign = torch.where(marked, -strength, 1.0)
    if method == "erase" and teacher is not None:
        with torch.no_grad():
            taught = teacher(batch.noised, batch.sigma, batch.labels)
        target = torch.where(per_item(marked, target), taught + strength * (taught - batch.images), target)
        sign = torch.ones_like(sign)
    error = (denoiser(batch.noised, batch.sigma, batch.labels) - target).square()
    return (error * per_item(batch.weight * sign, error)).mean()
