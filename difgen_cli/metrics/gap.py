"""The denoising loss on held-out over that on training images, at each noise level (Kaiser & Kollmann 2026)."""

from typing import TYPE_CHECKING, Annotated

import numpy as np
from annotated_types import Ge, Gt

from difgen_cli.metrics import Gap, Result, Value, gap_of, null_of, peak
from difgen_cli.metrics._noise import (
    HELD_OUT,
    TRAIN,
    Bank,
    Losses,
    bank_of_pairs,
    device_of,
    loss_weight,
    losses,
    of_known_conditions,
    quadrature,
    within,
)

if TYPE_CHECKING:
    import torch

    from difgen_cli.diffusion import DenoiserLike

VERSION = 3
NEEDS = ("posterior mean",)  # of the denoiser: what the mean of clean images given x is
# Columns that take H for what T could have been: see `metrics/blind.py`.
NON_MEMBERS = ("gap", "gap_max", "gap_sigma", "gap_sigma_absolute", "gap_images_needed", "gap_norm_", "gap_excess")
HELD_OUT_MIN = 2

COLUMNS = {
    "gap_max": (
        "float64",
        "",
        "largest L_H/L_T - 1 over the noise levels, by a spline; L the mean squared error",
        {"label": "largest relative gap over noise levels", "scale": "gain"},
    ),
    "gap_max_lo": ("float64", "", "lower end of its 95 % interval: of the band, as the peak may be anywhere"),
    "gap_max_hi": ("float64", "", "upper end of its 95 % interval: of one noise level, as the peak is at one"),
    "gap_sigma": (
        "float64",
        "sigma_d",
        "noise level of the largest gap",
        {"label": "noise level σ / σ_d of the largest gap"},
    ),
    "gap_sigma_absolute": ("float64", "", "the same in the units of the data"),
    "gap_sigma_lowest": (
        "float64",
        "sigma_d",
        "smallest noise level that the largest gap, its null and its norm are taken over: the denoiser is for it",
        {"role": "count"},
    ),
    "gap_sigma_highest": ("float64", "sigma_d", "largest noise level of these", {"role": "count"}),
    "gap_null": (
        "float64",
        "",
        "95 % quantile of the largest gap between two random halves of H: the bias of a maximum",
    ),
    "gap_images_needed": (
        "int64",
        "images",
        "in each split for a band of +- resolution (2 %) at the largest gap",
    ),
    "gap_norm_max": ("float64", "", "largest gap with the norm of the error in place of its square, not interpolated"),
    "gap_norm_sigma": ("float64", "sigma_d", "noise level of gap_norm_max"),
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
        "n_pairs": ("int64", "pairs", "pairs of image and noise, or of image and node of the quadrature"),
    }
}

LEVELS_MIN = 3  # that a peak is read off


def measure(
    denoiser: "DenoiserLike",
    train: np.ndarray,
    held_out: np.ndarray,
    train_labels: np.ndarray | None,
    held_out_labels: np.ndarray | None,
    sigma_data: float,
    *,
    sigmas: Annotated[int, Ge(3)] = 16,
    sigma_min: Annotated[float, Gt(0)] = 0.02,
    sigma_max: Annotated[float, Gt(0)] = 20.0,
    rho: Annotated[float, Gt(0)] | None = None,
    pairs: Annotated[int, Gt(0)] = 1024,
    quadrature_nodes: Annotated[int, Ge(0)] = 0,
    resamples: Annotated[int, Ge(100)] = 1000,
    resolution: Annotated[float, Gt(0)] = 0.02,
    guided: bool = False,
) -> Result:
    """Losses L_T and L_H, and their ratio with simultaneous bands.

    The bootstrap draws images, the same at every σ and for every model; there are no bands for fewer than 5. Held-out
    images of a condition that T does not have are left out: no model learnt it. Where L_T is 0 at some σ, as for a
    perfect memorizer, the largest gap is undefined (None) and gap_excess, in the table, is to be read. The halves of
    gap_null are halves of H's images here, however few T has: for a T much smaller, the bands say more. At levels that
    the denoiser is not for, the table has no numbers; all else is of the others, from gap_sigma_lowest to
    gap_sigma_highest, and None where they are fewer than three.

    sigmas: noise levels.
    sigma_min: the smallest, in units of sigma_d.
    sigma_max: the largest, in units of sigma_d.
    rho: the levels are even in sigma^(1/rho), as the samplers' are at 7 (Karras 2022, eq. 5); null: in ln sigma.
    pairs: of image and noise in each split, at least.
    quadrature_nodes: a dimension, for points in one or two: the noise is integrated over and not drawn; 0: drawn.
    resamples: of the bootstrap.
    resolution: half-width of the band, relative to L_H/L_T, that gap_images_needed is for, with one draw an image.
    guided: look at the denoiser that the sampler follows, and not at the network by itself.
    """
    if sigma_min >= sigma_max:
        raise ValueError(f"gap: sigma_min {sigma_min} must be below sigma_max {sigma_max}")
    held_out, held_out_labels = of_known_conditions(held_out, held_out_labels, train_labels)
    if not len(train) or len(held_out) < HELD_OUT_MIN:
        raise ValueError(
            f"gap needs training images and {HELD_OUT_MIN} held-out images of their conditions: "
            f"there are {len(train)} and {len(held_out)}"
        )
    if quadrature_nodes and (train.ndim != 2 or train.shape[1] > 2):
        raise ValueError(f"gap: quadrature_nodes is for points in one or two dimensions, not {train.shape[1:]}; use 0")
    levels = sigma_data * noise_levels(sigmas, sigma_min, sigma_max, rho)
    inside, device = within(denoiser, levels), device_of(denoiser)
    sides = ((TRAIN, train, train_labels), (HELD_OUT, held_out, held_out_labels))
    banks = [_bank(*side, pairs, quadrature_nodes, device) for side in sides]
    of_T, of_H = (losses(denoiser, bank, levels[inside]) for bank in banks)
    gap = gap_of(of_T.mean, of_H.mean, resamples)
    values: dict[str, Value] = dict.fromkeys(COLUMNS)
    if inside.sum() >= LEVELS_MIN:
        values |= _values(gap, of_H.mean, levels[inside], sigma_data, resamples)
        values |= _norm(of_T, of_H, levels[inside] / sigma_data)
        values["gap_images_needed"] = None if quadrature_nodes else images_needed(gap, of_T, of_H, resolution)
    return Result(values, {"noise": _table(gap, (of_T, of_H), levels, inside, sigma_data, banks)})


def _bank(
    split: int, images: np.ndarray, labels: np.ndarray | None, pairs: int, nodes: int, device: "torch.device"
) -> Bank:
    """The images of a split with noise: of a quadrature, or drawn where there are no nodes."""
    if nodes:
        return quadrature(images, labels, nodes, device)
    return bank_of_pairs(images, labels, pairs, split, device)


def noise_levels(count: int, lowest: float, highest: float, rho: float | None) -> np.ndarray:
    """`count` rising values from `lowest` to `highest`, even in their logarithm or, given ρ, in their ρ-th root."""
    if rho is None:
        return np.geomspace(lowest, highest, count)
    return np.asarray(np.linspace(lowest ** (1 / rho), highest ** (1 / rho), count) ** rho)


def images_needed(gap: Gap, of_T: Losses, of_H: Losses, resolution: float) -> int | None:
    """Images in each split, with one draw each, so that the band of log(L_H/L_T) is ± log(1 + resolution) at its peak.

    From the spread of the losses of pairs, which holds that over images and that over draws; None without a band.
    """
    if not np.isfinite(gap.critical) or not np.isfinite(gap.log_ratio).all():
        return None
    k = int(gap.log_ratio.argmax())
    parts = [(part.mean[:, k].mean(), part.square[:, k].mean()) for part in (of_T, of_H)]
    variance = sum(max(0.0, square / mean**2 - 1) for mean, square in parts)
    return max(1, int(np.ceil(variance * (gap.critical / np.log1p(resolution)) ** 2)))


def _values(gap: Gap, losses_H: np.ndarray, levels: np.ndarray, sigma_data: float, resamples: int) -> dict[str, Value]:
    """The columns that rest on the squared error."""
    log_sigma = np.log(levels / sigma_data)
    values: dict[str, Value] = {"gap_null": null_of(losses_H, log_sigma, resamples)}
    if np.isfinite(gap.log_ratio).all():
        height, place = peak(gap.log_ratio, log_sigma)
        sigma = float(np.exp(place))
        values |= {"gap_max": float(np.expm1(height)), "gap_sigma": sigma, "gap_sigma_absolute": sigma * sigma_data}
        values |= zip(("gap_sigma_lowest", "gap_sigma_highest"), (levels[[0, -1]] / sigma_data).tolist(), strict=True)
        if np.isfinite(gap.lower).all():
            values["gap_max_lo"], values["gap_max_hi"] = np.expm1(gap.peak_interval(log_sigma)).tolist()
    return values


def _norm(of_T: Losses, of_H: Losses, sigma_rel: np.ndarray) -> dict[str, Value]:
    """The peak that Kaiser & Kollmann's code reads off: of the mean norm of the error, at a level of the grid."""
    means = of_T.root.mean(axis=0), of_H.root.mean(axis=0)
    if means[0].min() <= 0:
        return {"gap_norm_max": None, "gap_norm_sigma": None}
    ratio = means[1] / means[0]
    return {"gap_norm_max": float(ratio.max() - 1), "gap_norm_sigma": float(sigma_rel[ratio.argmax()])}


def _table(
    gap: Gap, parts: tuple[Losses, Losses], levels: np.ndarray, inside: np.ndarray, sigma_data: float, banks: list[Bank]
) -> dict[str, np.ndarray]:
    """The noise table: all levels of T, then all of H; NaN at those that are not `inside`, (levels,) bool."""

    def spread(column: np.ndarray) -> np.ndarray:
        """A number of each level inside, at all of them."""
        everywhere = np.full(len(levels), np.nan)
        everywhere[inside] = column
        return everywhere

    means = [part.mean.mean(axis=0) for part in parts]
    twice = {
        "sigma": levels,
        "sigma_rel": levels / sigma_data,
        "gap": spread(np.expm1(gap.log_ratio)),
        "gap_lo": spread(np.expm1(gap.lower)),
        "gap_hi": spread(np.expm1(gap.upper)),
        "gap_excess": spread(loss_weight(levels[inside], sigma_data) * (means[1] - means[0])),
    }
    table = {name: np.tile(column, 2) for name, column in twice.items()} | {
        "split": np.repeat(["train", "heldout"], len(levels)),
        "loss": np.concatenate([spread(mean) for mean in means]),
        "loss_se": np.concatenate([spread(_standard_error(part.mean)) for part in parts]),
        "n_pairs": np.concatenate([np.where(inside, len(bank.images), 0) for bank in banks]),
    }
    return {name: table[name] for name in TABLES["noise"]}


def _standard_error(per_image: np.ndarray) -> np.ndarray:
    if len(per_image) < 2:
        return np.full(per_image.shape[1], np.nan)
    return np.asarray(per_image.std(axis=0, ddof=1) / np.sqrt(len(per_image)))
