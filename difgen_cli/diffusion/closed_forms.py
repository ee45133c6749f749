"""Denoisers in closed form: of a finite training set or its patches, and of a mixture of Gaussians.

σ is absolute everywhere in this file; σ_d (`sigma_data`) is the pooled standard deviation of the data.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

BLOCK_ELEMENTS = 1 << 22  # float64 numbers in the largest intermediate of the ideal denoiser: 32 MiB


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

    def forward(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        """(B, C, H, W) or (B, D) like x; ValueError for a label that no training image has."""
        return _within_labels(_posterior_of_images, x, sigma, self.images, labels, self.image_labels)


class PatchDenoiser(nn.Module):
    """The posterior mean over the training images patch by patch: each sees its own square of pixels alone.

    A patch of `size` × `size` pixels is denoised as the ideal denoiser would, over the patches of the training images
    at the same place, whatever lies around; a pixel's estimate is the mean over all patches within the image that hold
    it (after Niedoba et al. 2025 and Kamb & Ganguli 2025). With patches as large as the image it is the ideal denoiser,
    bit for bit; with small ones it makes images that no training image resembles as a whole.
    """

    sigma_data: float
    images: Tensor
    image_labels: Tensor | None

    def __init__(self, train: Tensor, sigma_data: float, size: int, labels: Tensor | None = None) -> None:
        """`train` (N, C, H, W), `labels` (N,) int64 or None; ValueError for points."""
        super().__init__()
        if train.dim() != 4 or len(train) == 0:
            raise ValueError(f"patches are of images: there are none in training data of shape {tuple(train.shape)}")
        self.sigma_data, self.size = float(sigma_data), size
        self.register_buffer("images", train)
        self.register_buffer("image_labels", labels)

    def forward(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        """(B, C, H, W) like x; ValueError for a label that no training image has."""
        return _within_labels(self._of_patches, x, sigma, self.images, labels, self.image_labels)

    def _of_patches(self, x: Tensor, sigma: Tensor, train: Tensor) -> Tensor:
        height, width = (min(self.size, side) for side in x.shape[2:])
        total, count = torch.zeros_like(x, dtype=torch.float64), x.new_zeros(x.shape[2:], dtype=torch.float64)
        for row in range(x.shape[2] - height + 1):
            for column in range(x.shape[3] - width + 1):
                at = (..., slice(row, row + height), slice(column, column + width))
                total[at] += _posterior_of_images(x[at], sigma, train[at])
                count[at] += 1
        return total / count


Posterior = Callable[[Tensor, Tensor, Tensor], Tensor]  # of x (B, ...), σ (B,) and training images (N, ...): like x


def _within_labels(
    posterior: Posterior, x: Tensor, sigma: Tensor, train: Tensor, labels: Tensor | None, image_labels: Tensor | None
) -> Tensor:
    """The posterior mean of each x over the training images of its label, over all without labels: like x."""
    if labels is None:
        return posterior(x, sigma, train).to(x.dtype)
    if image_labels is None:
        raise ValueError("this ideal denoiser was made without labels, but is asked for some: pass labels=None")
    denoised = torch.empty_like(x)
    for label in labels.unique().tolist():
        asked, of_label = labels == label, image_labels == label
        if not of_label.any():
            raise ValueError(f"label {label} has no training image, so its ideal denoiser does not exist")
        denoised[asked] = posterior(x[asked], sigma[asked], train[of_label]).to(x.dtype)
    return denoised


def _posterior_of_images(x: Tensor, sigma: Tensor, train: Tensor) -> Tensor:
    """The same of images, float64 like x."""
    return _posterior_mean(x.flatten(1), sigma, train.flatten(1)).view(x.shape)


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
        possible = (~self.log_weights.isneginf()).nonzero()[:, 0]
        if not torch.isin(labels, possible).all():
            unknown = int(labels[~torch.isin(labels, possible)][0])
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
        logits = []
        for k in range(len(self.means)):
            moved = x - self.means[k]
            along, variances = (moved @ self.axes[k]).square(), self.variances[k] + noise  # (B, R)
            off = (moved.square().sum(1) - along.sum(1)).clamp(min=0) / noise[:, 0]
            spread = variances.log().sum(1) + (x.shape[1] - along.shape[1]) * noise[:, 0].log()
            logits.append(-((along / variances).sum(1) + off + spread) / 2)
        return (torch.stack(logits, dim=1) + self.log_weights).softmax(dim=1)


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
