"""How a network is read as a denoiser, the denoising loss, and the noise levels of training (Karras et al. 2022).

σ is absolute everywhere in this file; σ_d (`sigma_data`) is the pooled standard deviation of the data.
"""

import math
from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

P_MEAN, P_STD = -1.2, 1.2  # of ln σ at σ_d = 0.5 (Karras 2022, table 1)

NoiseInput = Callable[[Tensor], Tensor]  # s = σ / u, (B,) -> the noise level as a network is told it, (B,)


class DenoiserLike(Protocol):
    """What samplers and metrics ask of a denoiser: D(x; σ, label) and the data's σ_d.

    An attribute `sigma_range`, two absolute σ, says where it may be asked; without one it may be asked everywhere.
    """

    sigma_data: float

    def __call__(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None, /) -> Tensor: ...


def sigma_range(denoiser: DenoiserLike) -> tuple[float, float]:
    """The absolute noise levels that a denoiser is for, both ends included: its `sigma_range`, else all."""
    lowest, highest = getattr(denoiser, "sigma_range", (0.0, math.inf))
    return float(lowest), float(highest)


class Denoiser(nn.Module):
    """D(x; σ) = a x + u b F(c x / u; noise, label), with s = σ / u and coefficients a, b, c of s by the prediction.

    `network` is F: called with c x / u, the noise level as `noise_input` tells it, of shape (B,), and the labels (B,)
    int64 or None. The unit u is σ_d where none is given. With `edm` this is c_skip x + c_out F(c_in x; ln σ / 4, label)
    (Karras 2022, eq. 7 and table 1), with u in the place of σ_d.
    """

    sigma_data: float
    sigma_range: tuple[float, float]

    def __init__(
        self,
        network: nn.Module,
        sigma_data: float,
        prediction: str = "edm",
        unit: float | None = None,
        noise_input: NoiseInput | None = None,
        sigma_range: tuple[float, float] = (0.0, math.inf),
    ) -> None:
        """`noise_input` maps s (B,) to what the network is told, (B,); None: ln s / 4, and with edm ln σ / 4."""
        super().__init__()
        if not (math.isfinite(sigma_data) and sigma_data > 0):
            raise ValueError(f"sigma_data must be finite and above 0, not {sigma_data}: is every image the same?")
        if prediction not in COEFFICIENTS:
            raise ValueError(f"prediction must be one of {', '.join(COEFFICIENTS)}, not {prediction!r}")
        self.network = network
        self.sigma_data = float(sigma_data)
        self.prediction, self.unit = prediction, self.sigma_data if unit is None else float(unit)
        self.noise_input, self.sigma_range = noise_input, sigma_range

    def forward(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None, augment: Tensor | None = None) -> Tensor:
        """The estimate of the clean x: (B, C, H, W) or (B, D), like x, for σ > 0 of shape (B,).

        `augment` (B, 9) says how an image of training was augmented, to a network that has labels for it.
        """
        more = () if augment is None else (augment,)
        if self.prediction == "edm":
            skip, out, scale, noise = preconditioning(sigma, self.unit)
            if self.noise_input is not None:
                noise = self.noise_input(sigma / self.unit)
        else:
            s = sigma / self.unit
            skip, out, scale = COEFFICIENTS[self.prediction](s)
            out, scale = out * self.unit, scale / self.unit
            noise = (self.noise_input or log_level)(s)
        output = self.network(per_item(scale, x) * x, noise, labels, *more)
        return torch.addcmul(per_item(skip, x) * x, per_item(out, x), output.to(x.dtype))


def _edm(s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    norm = (1 + s.square()).rsqrt()
    return norm.square(), s * norm, norm


def _noise(s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return torch.ones_like(s), -s, (1 + s.square()).rsqrt()


def _clean(s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return torch.zeros_like(s), torch.ones_like(s), (1 + s.square()).rsqrt()


def _velocity(s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    skip, out, scale = _edm(s)
    return skip, -out, scale


def _flow(s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    scale = 1 / (1 + s)
    return scale, -s * scale, scale


# What a network predicts -> a, b, c of s = σ / u. In the terms of x = x₀ + σ n: noise is n (Ho et al. 2020), clean is
# x₀ / u, velocity is (n − s x₀ / u) / √(1 + s²) (Salimans & Ho 2022), and flow is n − x₀ / u (Lipman et al. 2023; Liu
# et al. 2023).
COEFFICIENTS: dict[str, Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]] = {
    "edm": _edm, "noise": _noise, "clean": _clean, "velocity": _velocity, "flow": _flow,
}  # fmt: skip


def log_level(s: Tensor) -> Tensor:
    """ln s / 4: what networks of this package are told, (B,) like s."""
    return s.log() / 4


def time_level(s: Tensor) -> Tensor:
    """t = s / (1 + s), from 0 for clean to 1 for noise: what a flow network is told, (B,) like s."""
    return s / (1 + s)


def preconditioning(sigma: Tensor, sigma_data: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """c_skip, c_out, c_in, c_noise for σ of shape (B,), each (B,) (Karras 2022, table 1)."""
    norm = (sigma.square() + sigma_data**2).rsqrt()
    c_skip = (sigma_data * norm).square()
    return c_skip, sigma * sigma_data * norm, norm, sigma.log() / 4


def loss_weight(sigma: Tensor, sigma_data: float) -> Tensor:
    """λ(σ) = (σ² + σ_d²) / (σ σ_d)² (Karras 2022, table 1): the expected loss of an untrained network is 1."""
    return sigma.pow(-2) + sigma_data**-2


def training_sigma(normal: Tensor, sigma_data: float, p_mean: float = P_MEAN, p_std: float = P_STD) -> Tensor:
    """σ of training, log-normal in unit normals; its mean moves with the scale of the data, its spread does not."""
    return (p_mean + math.log(sigma_data / 0.5) + p_std * normal).exp()


def loss(
    denoiser: DenoiserLike, images: Tensor, sigma: Tensor, noise: Tensor, labels: Tensor | None,
    weight: Tensor | None = None, target: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """w ‖D(x₀ + σ n; σ) − target‖² / d, the mean over the batch (Karras 2022, eq. 2): a scalar, in float32.

    `weight` (B,) is λ(σ) where none is given, and `target`, like the images, x₀.
    """
    denoised = denoiser(torch.addcmul(images, per_item(sigma, images), noise), sigma, labels)
    weight = loss_weight(sigma, denoiser.sigma_data) if weight is None else weight
    difference = denoised - (images if target is None else target)
    value: Tensor = (difference.square() * per_item(weight, images)).mean()
    return value


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
