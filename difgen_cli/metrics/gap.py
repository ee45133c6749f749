"""The denoising loss on held-out over that on training images, at each noise level (Kaiser & Kollmann 2026)."""

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
from annotated_types import Ge, Gt

from difgen_cli.metrics import Gap, Result, Shared, gap_of, null_of, peak

if TYPE_CHECKING:
    import torch

    from difgen_cli.diffusion import DenoiserLike

VERSION = 1
HELD_OUT_MIN = 2

COLUMNS = {
    "gap_max": ("float64", "", "largest L_H/L_T - 1 over the noise levels, interpolated; L the mean squared error"),
    "gap_max_lo": ("float64", "", "lower end of its 95 % interval, simultaneous over the noise levels"),
    "gap_max_hi": ("float64", "", "upper end of its 95 % interval, simultaneous over the noise levels"),
    "gap_sigma": ("float64", "sigma_d", "noise level of the largest gap"),
    "gap_null": (
        "float64",
        "",
        "95 % quantile of the largest gap between two random halves of H: the bias of a maximum",
    ),
}

TABLES = {
    "noise": {
        "split": ("string", "", "train or heldout: whose loss this is"),
        "sigma": ("float64", "", "noise level"),
        "sigma_rel": ("float64", "sigma_d", "noise level over the data's standard deviation"),
        "loss": ("float64", "", "mean squared error per element of the denoised image, unweighted"),
        "loss_se": ("float64", "", "its standard error over images; missing for a single one"),
        "gap": ("float64", "", "L_H/L_T - 1 at this noise level, on both splits' lines; missing where a loss is 0"),
        "gap_lo": ("float64", "", "lower end of its 95 % band, simultaneous over the noise levels"),
        "gap_hi": ("float64", "", "upper end of its 95 % band, simultaneous over the noise levels"),
        "gap_excess": ("float64", "", "lambda(sigma) (L_H - L_T)"),
        "ideal_dev": ("float64", "", "lambda(sigma) E|D - D*|²/d over noisy training images; on the lines of train"),
        "n_pairs": ("int64", "pairs", "pairs of image and noise"),
    }
}

SEED = 4
BLOCK_ELEMENTS = 1 << 20  # pixels denoised at once


@dataclass(frozen=True)
class Bank:
    """Images of one split with their noise, image by image: the same pairs for all σ, snapshots and models."""

    images: "torch.Tensor"  # (p, C, H, W) or (p, D)
    noise: "torch.Tensor"  # like images
    labels: "torch.Tensor | None"  # (p,)
    draws: int  # pairs per image


def measure(
    denoiser: "DenoiserLike",
    train: np.ndarray,
    held_out: np.ndarray,
    train_labels: np.ndarray | None,
    held_out_labels: np.ndarray | None,
    sigma_data: float,
    shared: Shared,
    *,
    sigmas: Annotated[int, Ge(3)] = 16,
    sigma_min: Annotated[float, Gt(0)] = 0.02,
    sigma_max: Annotated[float, Gt(0)] = 20.0,
    pairs: Annotated[int, Gt(0)] = 1024,
    resamples: Annotated[int, Ge(100)] = 1000,
) -> Result:
    """Losses L_T and L_H, their ratio with simultaneous bands, and the deviation from the ideal denoiser.

    The bootstrap reweights images, with the same weights at every σ and for every model. Held-out images of a condition
    that T does not have are left out: no model learnt it. Where L_T is 0 at some σ, as for a perfect memorizer, the
    largest gap is undefined (None) and gap_excess, in the table, is to be read.

    sigmas: noise levels, evenly spaced in ln sigma.
    sigma_min: the smallest, in units of sigma_d.
    sigma_max: the largest, in units of sigma_d.
    pairs: of image and noise in each split, at least.
    resamples: of the bootstrap.
    """
    if sigma_min >= sigma_max:
        raise ValueError(f"gap: sigma_min {sigma_min} must be below sigma_max {sigma_max}")
    held_out, held_out_labels = _of_known_conditions(held_out, held_out_labels, train_labels)
    if not len(train) or len(held_out) < HELD_OUT_MIN:
        raise ValueError(
            f"gap needs training images and {HELD_OUT_MIN} held-out images of their conditions: "
            f"there are {len(train)} and {len(held_out)}"
        )
    levels = sigma_data * np.geomspace(sigma_min, sigma_max, sigmas)
    device = _device(denoiser)
    banks = [bank(train, train_labels, pairs, 0, device), bank(held_out, held_out_labels, pairs, 1, device)]
    name = f"ideal-{_digest(train_labels)}"  # one subset may be trained on under several conditionings
    ideal = shared(name, lambda: {"denoised": _ideal(train, train_labels, sigma_data, banks[0], levels)})["denoised"]
    losses_T, deviation = losses(denoiser, banks[0], levels, ideal)
    losses_H, _ = losses(denoiser, banks[1], levels)
    weight = (levels**2 + sigma_data**2) / (levels * sigma_data) ** 2  # λ(σ)
    gap = gap_of(losses_T, losses_H, resamples)
    values, bands = _values(gap, losses_H, np.log(levels / sigma_data), resamples)
    excess = weight * (losses_H.mean(axis=0) - losses_T.mean(axis=0))
    common = {"sigma": levels, "sigma_rel": levels / sigma_data, **bands, "gap_excess": excess}
    of_train = _lines("train", losses_T, banks[0]) | common | {"ideal_dev": weight * deviation}
    of_held_out = _lines("heldout", losses_H, banks[1]) | common | {"ideal_dev": np.full(sigmas, np.nan)}
    table = {name: np.concatenate([of_train[name], of_held_out[name]]) for name in TABLES["noise"]}
    return Result(values, {"noise": table})


def bank(images: np.ndarray, labels: np.ndarray | None, pairs: int, split: int, device: "torch.device") -> Bank:
    """The first `pairs` images, each with as many draws of unit noise as it takes to have `pairs` of them."""
    import torch

    from difgen_cli.diffusion import to_tensor

    used = min(len(images), pairs)
    draws = math.ceil(pairs / used)
    x = to_tensor(images[:used])
    rng = np.random.default_rng((SEED, split))
    noise = torch.from_numpy(rng.standard_normal((used * draws, *x.shape[1:]), np.float32))
    known = None if labels is None else torch.from_numpy(labels[:used]).repeat_interleave(draws).to(device)
    return Bank(x.repeat_interleave(draws, dim=0).to(device), noise.to(device), known, draws)


def losses(
    denoiser: "DenoiserLike", bank: Bank, levels: np.ndarray, ideal: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Mean squared error per element of each image at each σ, (n, levels); and E‖D − ideal‖²/d of each σ, (levels,)."""
    import torch

    error = np.empty((len(levels), len(bank.images)))
    deviation = np.zeros(len(levels))
    for k, sigma in enumerate(levels):
        denoised = _denoise(denoiser, bank, float(sigma))
        error[k] = _mean_square(denoised, bank.images)
        if ideal is not None:
            deviation[k] = _mean_square(denoised, torch.from_numpy(ideal[k]).to(denoised.device)).mean()
    if not np.isfinite(error).all():
        sigma = levels[~np.isfinite(error).all(axis=1)][0]
        raise ValueError(
            f"gap: the denoiser gives NaN or infinite values at sigma {sigma:.3g}: did the training diverge?"
        )
    return error.reshape(len(levels), -1, bank.draws).mean(axis=2).T, deviation


def _values(
    gap: Gap, losses_H: np.ndarray, log_sigma: np.ndarray, resamples: int
) -> tuple[dict[str, float | int | str | bool | None], dict[str, np.ndarray]]:
    """The columns, and the bands of the table."""
    values: dict[str, float | int | str | bool | None] = dict.fromkeys(COLUMNS)
    values["gap_null"] = null_of(losses_H, log_sigma, resamples)
    if np.isfinite(gap.log_ratio).all():
        height, place = peak(gap.log_ratio, log_sigma)
        values |= {"gap_max": float(np.expm1(height)), "gap_sigma": float(np.exp(place))}
        if np.isfinite(gap.lower).all():
            values["gap_max_lo"] = float(np.expm1(peak(gap.lower, log_sigma)[0]))
            values["gap_max_hi"] = float(np.expm1(peak(gap.upper, log_sigma)[0]))
    curves = {"gap": gap.log_ratio, "gap_lo": gap.lower, "gap_hi": gap.upper}
    return values, {name: np.expm1(curve) for name, curve in curves.items()}


def _lines(split: str, per_image: np.ndarray, bank: Bank) -> dict[str, np.ndarray]:
    """What the table says of one split's losses (n, levels)."""
    levels = per_image.shape[1]
    return {
        "split": np.full(levels, split),
        "loss": per_image.mean(axis=0),
        "loss_se": _standard_error(per_image),
        "n_pairs": np.full(levels, len(bank.images)),
    }


def _standard_error(per_image: np.ndarray) -> np.ndarray:
    if len(per_image) < 2:
        return np.full(per_image.shape[1], np.nan)
    return np.asarray(per_image.std(axis=0, ddof=1) / np.sqrt(len(per_image)))


def _of_known_conditions(
    held_out: np.ndarray, labels: np.ndarray | None, train_labels: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray | None]:
    if labels is None or train_labels is None:
        return held_out, None
    known = np.isin(labels, train_labels)
    return held_out[known], labels[known]


def _ideal(
    train: np.ndarray, labels: np.ndarray | None, sigma_data: float, bank: Bank, levels: np.ndarray
) -> np.ndarray:
    """D* on the bank's noisy training images: (levels, p, ...) float32. The same for all snapshots of the subset."""
    import torch

    from difgen_cli.diffusion import IdealDenoiser, to_tensor

    known = None if labels is None else torch.from_numpy(labels)
    ideal = IdealDenoiser(to_tensor(train), sigma_data, known).to(bank.images.device)
    return np.stack([_denoise(ideal, bank, float(sigma)).cpu().numpy() for sigma in levels])


def _digest(labels: np.ndarray | None) -> str:
    return "none" if labels is None else hashlib.sha256(labels.astype("<i8").tobytes()).hexdigest()[:16]


def _denoise(denoiser: "DenoiserLike", bank: Bank, sigma: float) -> "torch.Tensor":
    """D(x₀ + σn; σ) of every pair, in blocks."""
    import torch

    block = max(1, min(1024, BLOCK_ELEMENTS // bank.images[0].numel()))
    parts = []
    with torch.no_grad():
        for start in range(0, len(bank.images), block):
            x = bank.images[start : start + block] + sigma * bank.noise[start : start + block]
            labels = None if bank.labels is None else bank.labels[start : start + block]
            parts.append(denoiser(x, x.new_full((len(x),), sigma), labels))
    return torch.cat(parts)


def _mean_square(a: "torch.Tensor", b: "torch.Tensor") -> np.ndarray:
    """‖a − b‖²/d of each item, (p,) float64."""
    return np.asarray((a - b).flatten(1).double().square().mean(1).cpu().numpy())


def _device(denoiser: "DenoiserLike") -> "torch.device":
    """Where the denoiser's weights are."""
    import torch

    for tensors in ("parameters", "buffers"):
        for tensor in getattr(denoiser, tensors, tuple)():
            return torch.device(tensor.device)
    return torch.device("cpu")
