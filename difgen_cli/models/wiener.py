"""The exact denoiser of Gaussians with the moments of the training images: one, or one of each condition.

Its positional parameters name training images in place of a shape: it is made of them, and not trained. It is the best
linear denoiser of T, and for a mixture of low-rank Gaussians the estimator by principal components that Wang et al.
(2024) analyse.
"""

from typing import Annotated

import torch
from annotated_types import Gt
from torch import Tensor

from difgen_cli.diffusion import Mixture, MixtureDenoiser

VERSION = 1


def build(
    train: Tensor, train_labels: Tensor | None, sigma_data: float, *, rank: Annotated[int, Gt(0)] | None = None
) -> MixtureDenoiser:
    """Mean and covariance (1/N) of the training images (N, C, H, W) or (N, D), or of those of each label.

    rank: principal directions of each covariance that are kept, the widest; null: all.
    """
    x = train.flatten(1).double()
    labels = torch.zeros(len(x), dtype=torch.int64, device=x.device) if train_labels is None else train_labels
    groups = [x[labels == k] for k in range(int(labels.max()) + 1)]
    kept = min(max(map(len, groups)), x.shape[1], rank or x.shape[1])
    weights = torch.tensor([len(group) / len(x) for group in groups], dtype=torch.float64, device=x.device)
    moments = [_moments(group, kept) for group in groups]
    means, factors = (torch.stack(part) for part in zip(*moments, strict=True))
    return MixtureDenoiser(Mixture(weights, means, factors, 0.0), sigma_data)


def _moments(x: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """The mean (D,) of points (n, D), and factors (D, rank) of their covariance; both 0 without points."""
    factors = x.new_zeros(x.shape[1], rank)
    if not len(x):
        return x.new_zeros(x.shape[1]), factors
    mean = x.mean(0)
    _, values, axes = torch.linalg.svd((x - mean) / len(x) ** 0.5, full_matrices=False)
    kept = min(rank, len(values))
    factors[:, :kept] = axes[:kept].T * values[:kept]
    return mean, factors
