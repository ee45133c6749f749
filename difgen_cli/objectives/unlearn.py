"""Unlearning: the denoising loss on images that are kept, and against those to be unlearnt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge

if TYPE_CHECKING:
    from torch import Tensor

    from difgen_cli.diffusion import Denoiser, DenoiserLike
    from difgen_cli.diffusion.objective import Batch

VERSION = 1
EVALUATIONS = {"teacher": 1}  # of an image
INPUT_WHEN = {"teacher": ("method", "erase")}  # an input that one value of a setting alone needs


def loss(
    denoiser: Denoiser,
    batch: Batch,
    teacher: DenoiserLike | None,
    unlearn: Tensor,
    *,
    method: Literal["neggrad", "erase"] = "neggrad",
    strength: Annotated[float, Ge(0)] = 1.0,
) -> Tensor:
    """The mean over the batch, a scalar; `unlearn` (N,) bool are the training images to be unlearnt.

    Images that are kept count as in the objective edm under both methods. Without images to be unlearnt both are edm.

    method: neggrad ascends the denoising loss of images to be unlearnt (NegGrad+; Kurmanji et al. 2023). Nothing bounds
        it from below, so that it is for short trainings that begin with a trained network. erase takes what the
        teacher, which saw all images, makes of the noised image x, moved away from the image x₀, as the target:
        D_T(x) + strength (D_T(x) − x₀), after Gandikota et al. (2023).
    strength: how much an image to be unlearnt counts against one that is kept (neggrad; 0: not at all), or how far the
        target is moved away from it (erase; 0: the teacher's own answer).
    """
    import torch

    from difgen_cli.diffusion import loss as squared_error
    from difgen_cli.diffusion import per_item

    marked = unlearn[batch.places]
    weight, target = batch.weight, None
    if teacher is None:
        weight = torch.where(marked, -strength * weight, weight)
    else:
        with torch.no_grad():
            answer = teacher(batch.noised, batch.sigma, batch.labels)
        away = answer + strength * (answer - batch.images)
        target = torch.where(per_item(marked, away), away, batch.images)
    return squared_error(denoiser, batch.images, batch.sigma, batch.noise, batch.labels, weight, target)
