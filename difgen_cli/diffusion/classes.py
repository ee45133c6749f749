"""A classifier of noisy images in closed form: Gaussian classes of one covariance, with the noise added to it."""

import math

import torch
from torch import Tensor

from difgen_cli.diffusion.denoiser import per_item


class GaussianClasses:
    """log p(y | x; σ) under x | y ~ N(m_y, C + σ² I): linear discriminant analysis (Fisher 1936) at each noise level.

    m_y are the means of the classes in T, C the covariance about them, and the prior the classes' shares. It is exact
    where classes are Gaussians of one covariance, at every σ, and is not trained.
    """

    def __init__(self, train: Tensor, labels: Tensor | None, classes: int) -> None:
        """`train` (N, C, H, W) or (N, D), `labels` (N,) int64; ValueError without labels."""
        if labels is None or classes < 2:
            raise ValueError("a classifier needs labels of two classes or more; set condition.name")
        x = train.flatten(1).double()
        counts = torch.bincount(labels, minlength=classes).to(x.dtype)
        sums = x.new_zeros(classes, x.shape[1]).index_add_(0, labels, x)
        self.means = sums / counts.clamp_min(1)[:, None]  # (K, D)
        self.log_prior = (counts / counts.sum()).log()  # (K,); −∞ for a class that T does not have
        _, values, axes = torch.linalg.svd((x - self.means[labels]) / math.sqrt(len(x)), full_matrices=False)
        self.axes, self.variances = axes, values.square()  # (R, D) and (R,): C = axesᵀ diag(variances) axes

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        """log p(y | x; σ) for x (B, ...) and σ (B,): (B, K) float64, differentiable in x."""
        away = x.flatten(1).double()[:, None] - self.means  # (B, K, D)
        noise = per_item(sigma.double().square(), away)  # (B, 1, 1)
        along = away @ self.axes.T  # (B, K, R)
        # ‖away‖² under (C + σ² I)⁻¹: along the axes by their variance, and beside them by σ² alone
        beside = (away.square().sum(2) - along.square().sum(2)) / noise[:, :, 0]
        distance = (along.square() / (self.variances + noise)).sum(2) + beside
        likely: Tensor = (self.log_prior - distance / 2).log_softmax(1)
        return likely
