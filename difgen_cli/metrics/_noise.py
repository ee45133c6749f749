"""The noise bank, and what a denoiser makes of it: common to all metrics that ask a denoiser.

All of them see the same noisy images. The j-th draw of the i-th image of a split is the same for every σ, snapshot,
model and metric, and for any number of images and draws. A denoiser is asked at the levels of its `sigma_range` alone:
elsewhere there is NaN, which a metric gives as None.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

    from difgen_cli.diffusion import DenoiserLike

SEED = 4
TRAIN, HELD_OUT, POOL = 0, 1, 2  # splits: their noise is independent
BLOCK_ELEMENTS, BLOCK_PAIRS = 1 << 20, 1 << 9  # pixels denoised at once; images, where they are small
REACH = 7.0  # standard deviations that the quadrature spans each way


@dataclass(frozen=True)
class Bank:
    """Pairs of image and unit noise, image by image, each image with as many draws."""

    images: "torch.Tensor"  # (p, C, H, W) or (p, D)
    noise: "torch.Tensor"  # like images
    labels: "torch.Tensor | None"  # (p,)
    weights: np.ndarray  # (draws,) of an image's draws in its mean, sum 1

    @property
    def draws(self) -> int:
        return len(self.weights)


@dataclass(frozen=True)
class Losses:
    """Of each image at each σ, (n, levels), as means over its draws."""

    mean: np.ndarray  # of ‖D − x₀‖²/d
    square: np.ndarray  # of its square
    root: np.ndarray  # of its root, ‖D − x₀‖/√d
    bias: np.ndarray  # no mean of an error: the error of the mean, ‖mean of D over the draws − x₀‖²/d


def bank(images: np.ndarray, labels: np.ndarray | None, draws: int, split: int, device: "torch.device") -> Bank:
    """Every image with `draws` draws of unit noise. images (n, H, W, C) or (n, D), labels (n,)."""
    import torch

    from difgen_cli.diffusion import to_tensor

    x = to_tensor(images)
    noise = [unit_noise(tuple(x.shape), split, j) for j in range(draws)]
    drawn = torch.from_numpy(np.stack(noise, axis=1)).flatten(0, 1)
    return _bank(x, drawn, labels, np.full(draws, 1 / draws), device)


def unit_noise(shape: tuple[int, ...], split: int, draw: int = 0) -> np.ndarray:
    """The bank's noise of the first images of a split: `shape` (n, ...) float32, that of image i whatever n."""
    return np.random.default_rng((SEED, split, draw)).standard_normal(shape, np.float32)


def unit_noise_like(images: np.ndarray, split: int, draw: int = 0) -> np.ndarray:
    """The bank's noise of images (n, H, W, C) or points (n, D), like them."""
    if images.ndim != 4:
        return unit_noise(images.shape, split, draw)
    n, height, width, channels = images.shape
    return unit_noise((n, channels, height, width), split, draw).transpose(0, 2, 3, 1)


def bank_of_pairs(
    images: np.ndarray, labels: np.ndarray | None, pairs: int, split: int, device: "torch.device"
) -> Bank:
    """The first `pairs` images, each with as many draws as it takes to have `pairs` of them."""
    used = min(len(images), pairs)
    return bank(images[:used], None if labels is None else labels[:used], math.ceil(pairs / used), split, device)


def quadrature(points: np.ndarray, labels: np.ndarray | None, nodes: int, device: "torch.device") -> Bank:
    """Points (n, D) with a grid of `nodes` a dimension for noise: expectations by the midpoint rule, not by chance."""
    import torch

    from difgen_cli.diffusion import to_tensor

    dimensions = points.shape[1]
    axis = REACH * ((2 * np.arange(nodes) + 1) / nodes - 1)
    grid = np.stack(np.meshgrid(*[axis] * dimensions, indexing="ij"), axis=-1).reshape(-1, dimensions)
    density = np.exp(-(grid**2).sum(axis=1) / 2)
    noise = torch.from_numpy(grid.astype(np.float32)).repeat(len(points), 1)
    return _bank(to_tensor(points), noise, labels, density / density.sum(), device)


def within(denoiser: "DenoiserLike", levels: np.ndarray | float) -> np.ndarray:
    """Which absolute noise levels lie in the denoiser's `sigma_range`: bool, like `levels`."""
    from difgen_cli.diffusion import sigma_range

    lowest, highest = sigma_range(denoiser)
    return (lowest <= np.asarray(levels)) & (np.asarray(levels) <= highest)


def estimate(
    denoiser: "DenoiserLike", x: "torch.Tensor", sigma: float, labels: "torch.Tensor | None"
) -> "torch.Tensor":
    """D(x; σ) at one absolute σ for all items, like x; NaN, unasked, at a level that the denoiser is not for."""
    import torch

    if not within(denoiser, sigma):
        return torch.full_like(x, torch.nan)
    with torch.no_grad():
        return denoiser(x, x.new_full((len(x),), sigma), labels)


def denoise(denoiser: "DenoiserLike", bank: Bank, sigma: float) -> "torch.Tensor":
    """D(x₀ + σn; σ) of every pair, in blocks: like bank.images; NaN at a level that the denoiser is not for."""
    import torch

    return torch.cat([part for _, part in _denoised(denoiser, bank, sigma)])


def losses(denoiser: "DenoiserLike", bank: Bank, levels: Sequence[float] | np.ndarray) -> Losses:
    """The denoising errors of each image at absolute noise levels, NaN at those that the denoiser is not for.

    ValueError where another one is not finite. What is denoised is not kept.
    """
    n = len(bank.images) // bank.draws
    moments = np.empty((4, n, len(levels)))
    for k, sigma in enumerate(levels):
        error, bias = _errors(denoiser, bank, float(sigma))
        _check_finite(denoiser, error, float(sigma))
        of_image = error.reshape(n, bank.draws)
        for moment, power in zip(moments, (of_image, of_image**2, np.sqrt(of_image)), strict=False):
            moment[:, k] = power @ bank.weights
        moments[3, :, k] = bias
    return Losses(*moments)


def clean_errors(denoiser: "DenoiserLike", bank: Bank, levels: Sequence[float] | np.ndarray) -> np.ndarray:
    """‖(x₀ − D(x₀; σ))/σ‖₄⁴ of each image at each σ, (n, levels): one query an image, without noise.

    NaN at levels that the denoiser is not for; ValueError where another one is not finite.
    """
    import torch

    labels = None if bank.labels is None else bank.labels[:: bank.draws]
    once = Bank(bank.images[:: bank.draws], bank.noise[:: bank.draws], labels, np.ones(1))
    powers = np.empty((len(once.images), len(levels)))
    for k, sigma in enumerate(levels):
        parts = []
        for rows, part in _denoised(denoiser, once, float(sigma), noisy=False):
            parts.append(((once.images[rows] - part) / float(sigma)).flatten(1).double().pow(4).sum(1))
        powers[:, k] = torch.cat(parts).cpu().numpy()
        _check_finite(denoiser, powers[:, k], float(sigma))
    return powers


def _denoised(
    denoiser: "DenoiserLike", bank: Bank, sigma: float, *, noisy: bool = True
) -> Iterator[tuple[slice, "torch.Tensor"]]:
    """The pairs block by block: which they are, and D of them; of the images without noise where not `noisy`."""
    elements = bank.images[0].numel()
    block = max(1, min(BLOCK_ELEMENTS // elements, max(BLOCK_PAIRS, BLOCK_ELEMENTS // (32 * elements))))
    for start in range(0, len(bank.images), block):
        rows = slice(start, start + block)
        x = bank.images[rows] + sigma * bank.noise[rows] if noisy else bank.images[rows]
        yield rows, estimate(denoiser, x, sigma, None if bank.labels is None else bank.labels[rows])


def _errors(denoiser: "DenoiserLike", bank: Bank, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """‖D − x₀‖²/d of every pair, (p,), and of the mean of every image's reconstructions, (n,)."""
    import torch

    weights = torch.from_numpy(bank.weights).to(bank.images.device)
    errors, biases, begun = [], [], None  # begun: the sum over the draws of an image that lie before the block
    for rows, part in _denoised(denoiser, bank, sigma):
        images = bank.images[rows]
        errors.append(mean_square(part, images))
        pairs = torch.arange(rows.start, rows.start + len(images), device=images.device)
        place = pairs // bank.draws - rows.start // bank.draws
        weighted = (part - images).flatten(1).double() * weights[pairs % bank.draws, None]
        sums = weighted.new_zeros(int(place[-1]) + 1, weighted.shape[1]).index_add_(0, place, weighted)
        if begun is not None:
            sums[0] += begun
        whole = len(sums) - int((rows.start + len(images)) % bank.draws > 0)
        biases.append(sums[:whole].square().mean(1).cpu().numpy())
        begun = sums[-1] if whole < len(sums) else None
    return np.concatenate(errors), np.concatenate(biases)


def _check_finite(denoiser: "DenoiserLike", errors: np.ndarray, sigma: float) -> None:
    if not np.isfinite(errors).all() and within(denoiser, sigma):
        raise ValueError(f"the denoiser gives NaN or infinite values at sigma {sigma:.3g}: did the training diverge?")


def mean_square(a: "torch.Tensor", b: "torch.Tensor") -> np.ndarray:
    """‖a − b‖²/d of each item, (p,) float64."""
    return np.asarray((a - b).flatten(1).double().square().mean(1).cpu().numpy())


def loss_weight(levels: np.ndarray, sigma_data: float) -> np.ndarray:
    """λ(σ) = (σ² + σ_d²) / (σ σ_d)²."""
    return np.asarray((levels**2 + sigma_data**2) / (levels * sigma_data) ** 2)


def of_known_conditions(
    held_out: np.ndarray, labels: np.ndarray | None, train_labels: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Held-out images, and labels, of conditions that T has too: no model learnt the others."""
    if labels is None or train_labels is None:
        return held_out, None
    trained = np.isin(labels, train_labels)
    return held_out[trained], labels[trained]


def device_of(denoiser: "DenoiserLike") -> "torch.device":
    """Where the denoiser's weights are."""
    import torch

    for tensors in ("parameters", "buffers"):
        for tensor in getattr(denoiser, tensors, tuple)():
            return torch.device(tensor.device)
    return torch.device("cpu")


def _bank(
    x: "torch.Tensor", noise: "torch.Tensor", labels: np.ndarray | None, weights: np.ndarray, device: "torch.device"
) -> Bank:
    import torch

    draws = len(weights)
    repeated = None if labels is None else torch.from_numpy(labels).repeat_interleave(draws).to(device)
    return Bank(x.repeat_interleave(draws, dim=0).to(device), noise.to(device), repeated, weights)
