"""The denoising loss w ‖D(x₀ + σ n; σ) − x₀‖² of EDM (Karras et al. 2022, eq. 2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Gt

if TYPE_CHECKING:
    from torch import Tensor

    from difgen_cli.diffusion import Denoiser, IdealDenoiser
    from difgen_cli.diffusion.objective import Batch, Draws

VERSION = 1
INPUT_WHEN = {"ideal": ("target", "closed_form")}  # an input that one value of a setting alone needs


def loss(
    denoiser: Denoiser,
    batch: Batch,
    *,
    noise_bank: Annotated[int, Gt(0)] | None = None,
    target: Literal["stochastic", "closed_form"] = "stochastic",
) -> Tensor:
    """The mean over the batch, a scalar.

    noise_bank: how many fixed noises each image, and each mirrored one, is trained with; none: fresh noise each time
        (George et al. 2025).
    target: stochastic is the image itself; closed_form is the posterior mean over the training images, which has the
        same expected gradient and no variance from the choice of the image.
    """
    from difgen_cli.diffusion import loss as squared_error

    noise = batch.drawn.get("noise", batch.noise)
    return squared_error(
        denoiser, batch.images, batch.sigma, noise, batch.labels, batch.weight, batch.drawn.get("target")
    )


def draw(
    batch: Batch, draws: Draws, ideal: IdealDenoiser | None, *, noise_bank: int | None, target: str
) -> dict[str, Tensor]:
    """The noise of the bank, and the target in closed form, where they are asked for."""
    drawn: dict[str, Tensor] = {}
    noise = batch.noise
    if noise_bank is not None:
        numbers = batch.places * noise_bank + draws.integers("noise of the bank", batch.places.shape, noise_bank)
        if batch.flipped is not None:
            numbers = 2 * numbers + batch.flipped
        noise = drawn["noise"] = draws.fixed("noise bank", numbers, batch.images.shape[1:])
    if target == "closed_form" and ideal is not None:
        drawn["target"] = _posterior_mean(batch, noise, ideal)
    return drawn


def _posterior_mean(batch: Batch, noise: Tensor, ideal: IdealDenoiser) -> Tensor:
    """Of the noised images, like them; an item whose condition is dropped may be any training image."""
    import torch

    from difgen_cli.diffusion import per_item

    noised = torch.addcmul(batch.images, per_item(batch.sigma, batch.images), noise)
    if batch.labels is None or ideal.image_labels is None:
        target: Tensor = ideal(noised, batch.sigma)
        return target
    dropped = ~torch.isin(batch.labels, ideal.image_labels)
    target = torch.empty_like(noised)
    for chosen, labels in ((dropped, None), (~dropped, batch.labels)):
        if chosen.any():
            target[chosen] = ideal(noised[chosen], batch.sigma[chosen], labels if labels is None else labels[chosen])
    return target
