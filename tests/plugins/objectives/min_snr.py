"""The weight of an image is its signal-to-noise ratio, but at most γ (Hang et al. 2023)."""

from typing import Annotated

from annotated_types import Gt


def loss(denoiser, batch, *, gamma: Annotated[float, Gt(0)] = 5.0):
    """The weighted squared error of the clean image, the mean over the batch.

    gamma: the largest weight.
    """
    denoised = denoiser(batch.noised, batch.sigma, batch.labels)
    ratio = (denoiser.sigma_data / batch.sigma) ** 2  # (B,): of the variances of clean images and of noise
    error = (denoised - batch.images).square().flatten(1).mean(1)
    return (ratio.clamp(max=gamma) * error).mean()
