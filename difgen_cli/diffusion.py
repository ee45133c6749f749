"""EDM preconditioning, its loss and noise distribution, and denoisers in closed form (Karras et al. 2022).

σ is absolute everywhere in this file; σ_d (`sigma_data`) is the pooled standard deviation of the data.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

P_MEAN, P_STD = -1.2, 1.2  # of ln σ at σ_d = 0.5 (Karras 2022, table 1)
BLOCK_ELEMENTS = 1 << 22  # float64 numbers in the largest intermediate of the ideal denoiser: 32 MiB


class DenoiserLike(Protocol):
    """What samplers and metrics ask of a denoiser: D(x; σ, label) and the data's σ_d."""

    sigma_data: float

    def __call__(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None, /) -> Tensor: ...


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


class IdealDenoiser(nn.Module):
    """The posterior mean over the training images, the minimum of the training loss: a perfect memorizer.

    D*(x; σ) = Σᵢ softmax(−‖x − xᵢ‖² / 2σ²) xᵢ (Karras 2022, eq. 57), in float64. Given `labels`, an x with a label
    sees only the training images of that label; called without labels (the dropped condition) it sees them all.
    """

    sigma_data: float
    images: Tensor
    image_labels: Tensor | None

    def __init__(self, train: Tensor, sigma_data: float, labels: Tensor | None = None) -> None:
        """`train` (N, C, H, W) or (N, D), `labels` (N,) int64 or None."""
        super().__init__()
        if len(train) == 0:
            raise ValueError("the ideal denoiser needs at least one training image")
        self.sigma_data = float(sigma_data)
        self.register_buffer("images", train)
        self.register_buffer("image_labels", labels)

    @torch.no_grad()
    def forward(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        """(B, C, H, W) or (B, D) like x; ValueError for a label that no training image has."""
        flat, train = x.flatten(1), self.images.flatten(1)
        if labels is None:
            return _posterior_mean(flat, sigma, train).to(x.dtype).view_as(x)
        if self.image_labels is None:
            raise ValueError("this ideal denoiser was made without labels, but is asked for some: pass labels=None")
        denoised = torch.empty_like(flat)
        for label in labels.unique().tolist():
            asked, known = labels == label, self.image_labels == label
            if not known.any():
                raise ValueError(f"label {label} has no training image, so its ideal denoiser does not exist")
            denoised[asked] = _posterior_mean(flat[asked], sigma[asked], train[known]).to(x.dtype)
        return denoised.view_as(x)


@dataclass(frozen=True)
class Mixture:
    """Σ_k w_k N(m_k, F_k F_kᵀ + s² I): weights (K,), means (K, D), factors (K, D, R), all float64, and the noise s."""

    weights: Tensor
    means: Tensor
    factors: Tensor
    noise: float


class MixtureDenoiser(nn.Module):
    """The posterior mean under a mixture of Gaussians, in float64: D(x; σ) = x + σ² ∇ log p(x; σ) (Tweedie).

    D(x; σ) = Σ_k r_k(x) (m_k + C_k (C_k + σ² I)⁻¹ (x − m_k)), C_k = F_k F_kᵀ + s² I, with r_k the posterior weights
    of the components. A label is a component: given labels, an x is of that one; without, it may be of any.
    """

    sigma_data: float
    log_weights: Tensor
    means: Tensor
    axes: Tensor  # (K, D, R) of the factors, orthonormal
    variances: Tensor  # (K, R) along them, without the noise

    def __init__(self, mixture: Mixture, sigma_data: float) -> None:
        super().__init__()
        self.sigma_data, self.noise = float(sigma_data), float(mixture.noise)
        axes, values, _ = torch.linalg.svd(mixture.factors, full_matrices=False)
        self.register_buffer("log_weights", mixture.weights.log())
        self.register_buffer("means", mixture.means)
        self.register_buffer("axes", axes)
        self.register_buffer("variances", values.square())

    @torch.no_grad()
    def forward(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        """(B, D) or (B, C, H, W) like x, for σ > 0 of shape (B,); ValueError for a label without a component."""
        flat, level = x.flatten(1).double(), sigma.double()[:, None]
        shares = self._shares(flat, level) if labels is None else self._chosen(labels)
        denoised = torch.zeros_like(flat)
        for k in range(len(self.means)):
            chosen = shares[:, k] > 0
            if chosen.any():
                denoised[chosen] += shares[chosen, k, None] * self._of_component(k, flat[chosen], level[chosen])
        return denoised.to(x.dtype).view_as(x)

    def _chosen(self, labels: Tensor) -> Tensor:
        """1 for the component of each label, 0 for the others, (B, K)."""
        known = (~self.log_weights.isneginf()).nonzero()[:, 0]
        if not torch.isin(labels, known).all():
            unknown = int(labels[~torch.isin(labels, known)][0])
            raise ValueError(f"label {unknown} has no component, so its denoiser does not exist")
        return functional.one_hot(labels, len(self.means)).double()

    def _of_component(self, k: int, x: Tensor, level: Tensor) -> Tensor:
        """m + C (C + σ² I)⁻¹ (x − m) of one component, (B, D)."""
        around, within = self.noise**2, self.variances[k] + self.noise**2
        off, along = around / (around + level**2), within / (within + level**2)  # (B, 1), (B, R)
        moved = x - self.means[k]
        projected: Tensor = (moved @ self.axes[k]) * (along - off)
        return self.means[k] + off * moved + projected @ self.axes[k].T

    def _shares(self, x: Tensor, level: Tensor) -> Tensor:
        """The posterior weight of each component, (B, K): by log w_k + log N(x; m_k, C_k + σ² I)."""
        noise = self.noise**2 + level**2  # (B, 1)
        found = []
        for k in range(len(self.means)):
            moved = x - self.means[k]
            along, variances = (moved @ self.axes[k]).square(), self.variances[k] + noise  # (B, R)
            off = (moved.square().sum(1) - along.sum(1)).clamp(min=0) / noise[:, 0]
            spread = variances.log().sum(1) + (x.shape[1] - along.shape[1]) * noise[:, 0].log()
            found.append(-((along / variances).sum(1) + off + spread) / 2)
        return (torch.stack(found, dim=1) + self.log_weights).softmax(dim=1)


def _posterior_mean(x: Tensor, sigma: Tensor, train: Tensor) -> Tensor:
    """Σᵢ softmax(−‖x − xᵢ‖² / 2σ²) xᵢ for x (B, D), σ (B,), train (N, D): (B, D) float64, in blocks of both."""
    rows = max(1, BLOCK_ELEMENTS // max(min(len(train), 4096), x.shape[1]))
    columns = max(1, BLOCK_ELEMENTS // max(min(rows, len(x)), x.shape[1]))
    precision = sigma.double().pow(-2).unsqueeze(1)
    blocks = zip(x.split(rows), precision.split(rows), strict=True)
    return torch.cat([_posterior_mean_of_rows(block.double(), p, train, columns) for block, p in blocks])


def _posterior_mean_of_rows(x: Tensor, precision: Tensor, train: Tensor, columns: int) -> Tensor:
    """Online softmax over the blocks of `train`: the weights of all N images are never held at once."""
    top = torch.full_like(precision, -math.inf)  # (B, 1) largest logit so far
    total = torch.zeros_like(precision)
    mean = torch.zeros_like(x)
    for block in train.split(columns):
        images = block.double()
        # ‖x‖² is the same for all i and cancels.
        logits = (x @ images.T - images.square().sum(1) / 2) * precision  # (B, n)
        new_top = torch.maximum(top, logits.amax(1, keepdim=True))
        shrink = (top - new_top).exp()
        weights = (logits - new_top).exp()
        total = total * shrink + weights.sum(1, keepdim=True)
        felt = weights.amax(0) > 0  # at low noise nearly all weights are 0 in float64
        mean = mean * shrink + weights[:, felt] @ images[felt]
        top = new_top
    return mean / total


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
