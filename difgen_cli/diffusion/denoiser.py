"""EDM preconditioning, its loss and its noise distribution (Karras et al. 2022).

σ is absolute everywhere in this file; σ_d (`sigma_data`) is the pooled standard deviation of the data.
"""

import math
from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

P_MEAN, P_STD = -1.2, 1.2  # of ln σ at σ_d = 0.5 (Karras 2022, table 1)


class DenoiserLike(Protocol):
    """What samplers and metrics ask of a denoiser: D(x; σ, label) and the data's σ_d."""

    sigma_data: float

    def __call__(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None, /) -> Tensor: ...


def sigma_range(denoiser: DenoiserLike) -> tuple[float, float]:
    """The absolute noise levels that a denoiser is for, both ends included: its `sigma_range`, else all."""
    lowest, highest = getattr(denoiser, "sigma_range", (0.0, math.inf))
    return float(lowest), float(highest)


class Denoiser(nn.Module):
    """D(x; σ) = c_skip x + c_out F(c_in x; c_noise, label) (Karras 2022, eq. 7 and table 1).

    `network` is F: called with c_in x, ln σ / 4 of shape (B,), and the labels (B,) int64 or None.
    """

    sigma_data: float

    def __init__(self, network: nn.Module, sigma_data: float) -> None:
        super().__init__()
        if not (math.isfinite(sigma_data) and sigma_data > 0):
            raise ValueError(f"sigma_data must be finite and above 0, not {sigma_data}: is every image the same?")
        self.network = network
        self.sigma_data = float(sigma_data)

    def forward(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        """The estimate of the clean x: (B, C, H, W) or (B, D), like x, for σ > 0 of shape (B,)."""
        c_skip, c_out, c_in, c_noise = preconditioning(sigma, self.sigma_data)
        output = self.network(per_item(c_in, x) * x, c_noise, labels)
        return torch.addcmul(per_item(c_skip, x) * x, per_item(c_out, x), output.to(x.dtype))


def preconditioning(sigma: Tensor, sigma_data: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """c_skip, c_out, c_in, c_noise for σ of shape (B,), each (B,) (Karras 2022, table 1)."""
    norm = (sigma.square() + sigma_data**2).rsqrt()
    c_skip = (sigma_data * norm).square()
    return c_skip, sigma * sigma_data * norm, norm, sigma.log() / 4


def loss_weight(sigma: Tensor, sigma_data: float) -> Tensor:
    """λ(σ) = (σ² + σ_d²) / (σ σ_d)² (Karras 2022, table 1): the expected loss of an untrained network is 1."""
    return sigma.pow(-2) + sigma_data**-2


def training_sigma(normal: Tensor, sigma_data: float) -> Tensor:
    """σ of training, log-normal in unit normals; its mean moves with the scale of the data, its spread does not."""
    return (P_MEAN + math.log(sigma_data / 0.5) + P_STD * normal).exp()


def loss(denoiser: Denoiser, images: Tensor, sigma: Tensor, noise: Tensor, labels: Tensor | None) -> Tensor:
    """λ(σ) ‖D(x₀ + σ n; σ) − x₀‖² / d, the mean over the batch (Karras 2022, eq. 2): a scalar, in float32."""
    denoised = denoiser(torch.addcmul(images, per_item(sigma, images), noise), sigma, labels)
    weight = per_item(loss_weight(sigma, denoiser.sigma_data), images)
    value: Tensor = ((denoised - images).square() * weight).mean()
    return value


Loss = Callable[[Denoiser, Tensor, Tensor, Tensor, Tensor | None], Tensor]  # called like `loss`


def per_item(values: Tensor, x: Tensor) -> Tensor:
    """(B,) as (B, 1, ...) so that it multiplies x item by item."""
    return values.view(-1, *[1] * (x.dim() - 1))


def scaled(images: Tensor) -> Tensor:
    """uint8 as float32 in [−1, 1], by the same operations as `data.scaled`; float32 unchanged."""
    return images.float().div_(127.5).sub_(1) if images.dtype == torch.uint8 else images


def to_tensor(images: np.ndarray) -> Tensor:
    """Images (n, H, W, C) as a tensor (n, C, H, W), float32 or uint8 as they are; points (n, D) keep their shape."""
    array = images if images.dtype == np.uint8 else np.asarray(images, dtype=np.float32)
    return torch.from_numpy(np.ascontiguousarray(array.transpose(0, 3, 1, 2) if array.ndim == 4 else array))


def to_array(x: Tensor) -> np.ndarray:
    """The inverse of `to_tensor`: (n, C, H, W) as a float32 array (n, H, W, C); points (n, D) keep their shape."""
    array = x.detach().to("cpu", torch.float32).numpy()
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1) if array.ndim == 4 else array)
