"""Are training images told from held-out ones by a walk up to noise and down again, or by where it leads?"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from annotated_types import Ge, Gt

from difgen_cli.metrics import Result, Value
from difgen_cli.metrics._flow import along, rising
from difgen_cli.metrics._noise import device_of, mean_square, of_known_conditions, within
from difgen_cli.metrics._ranks import auroc, half_width
from difgen_cli.metrics.membership import Labelled, once

if TYPE_CHECKING:
    from difgen_cli.diffusion import DenoiserLike

VERSION = 1
NEEDS = ("posterior mean",)  # of the denoiser: what the mean of clean images given x is
HELD_OUT_MIN = 2

# Columns that take H for what T could have been: see `metrics/blind.py`.
NON_MEMBERS = ("dire_auc", "inv_nll_gap")

COLUMNS = {
    "dire_auc": (
        "float64",
        "",
        "AUROC of minus the error of a walk up to noise and down again, T against H: 0.5 without leak",
        {"label": "AUROC of membership by the error of inversion"},
    ),
    "dire_auc_lo": ("float64", "", "lower end of its 95 % interval over images, DeLong's on the logit scale"),
    "dire_auc_hi": ("float64", "", "upper end of its 95 % interval over images"),
    "dire_error": (
        "float64",
        "rms",
        "distance of training images to what the walk brings back, per value; 0 for steps without end",
        {"scale": "log", "label": "error of inversion (rms)"},
    ),
    "dire_error_control": ("float64", "rms", "the same of held-out images"),
    "inv_nll_gap": (
        "float64",
        "nats",
        "of held-out minus of training images: minus the log likelihood of their latents per value: 0 without leak",
        {"scale": "difference", "label": "held-out minus training: nats of the latent per value"},
    ),
    "inv_nll_gap_lo": ("float64", "nats", "lower end of its 95 % interval over images, Welch's"),
    "inv_nll_gap_hi": ("float64", "nats", "upper end of its 95 % interval"),
    "inv_images": ("int64", "images", "of T, and as many of H", {"role": "count"}),
}


def measure(
    denoiser: "DenoiserLike",
    train: np.ndarray,
    held_out: np.ndarray,
    train_labels: np.ndarray | None,
    held_out_labels: np.ndarray | None,
    sigma_data: float,
    *,
    images: Annotated[int, Ge(1)] = 256,
    steps: Annotated[int, Ge(1)] = 24,
    sigma_min: Annotated[float, Gt(0)] = 0.02,
    sigma_max: Annotated[float, Gt(0)] = 20.0,
) -> Result:
    """The probability flow from each image, as it is, at the lowest noise level up to the highest, and down again.

    The error of what comes back is a trace of membership (Wang et al. 2023, DIRE): the flow is straight about what was
    learnt by heart. The latent z is where the walk turns; −log N(z; 0, σ_max² I) per value says how likely the sampler
    begins there. Heun's steps, without noise and without guidance: what comes back is exact for steps without end, so
    compare errors at one number of steps alone. As many distinct images of T as of H, those of a condition that T does
    not have left out. None where the denoiser is not for all of the levels.

    images: on each side, at most.
    steps: each way, two evaluations of the denoiser each.
    sigma_min: the level at which an image is taken as it is, in units of sigma_d.
    sigma_max: the level of the latent, in units of sigma_d.
    """
    if sigma_min >= sigma_max:
        raise ValueError(f"inversion: sigma_min {sigma_min} must be below sigma_max {sigma_max}")
    held_out, held_out_labels = of_known_conditions(held_out, held_out_labels, train_labels)
    sides = [once(train, train_labels, images), once(held_out, held_out_labels, images)]
    n = min(len(x) for x, _ in sides)
    if n < 1:
        raise ValueError(
            "inversion needs training images and held-out images of their conditions: "
            f"there are {len(train)} and {len(held_out)}"
        )
    levels = rising(steps, sigma_min * sigma_data, sigma_max * sigma_data)
    (error_T, nll_T), (error_H, nll_H) = (inverted(denoiser, side, n, levels) for side in sides)
    values: dict[str, Value] = dict.fromkeys(COLUMNS) | {"inv_images": n}
    if np.isnan([*error_T, *error_H]).any():
        return Result(values)
    area, gap = auroc(-error_T, -error_H), float(nll_H.mean() - nll_T.mean())
    values |= {"dire_auc": area.value, "dire_auc_lo": area.lower, "dire_auc_hi": area.upper}
    values |= {"dire_error": float(np.sqrt(error_T.mean())), "dire_error_control": float(np.sqrt(error_H.mean()))}
    values["inv_nll_gap"] = gap
    if n > 1:
        reach = half_width([x.var(ddof=1) / n for x in (nll_T, nll_H)], [n - 1, n - 1])
        values |= {"inv_nll_gap_lo": gap - reach, "inv_nll_gap_hi": gap + reach}
    return Result(values)


def evaluations(_: tuple[int, ...], settings: Mapping[str, Any]) -> float:
    """Of the network, for one cell: what a plan expects before anything has run."""
    return 8.0 * float(settings["images"] * settings["steps"])  # two splits, two ways, two evaluations a step


def inverted(denoiser: "DenoiserLike", side: Labelled, n: int, levels: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """Of the first n images: the mean squared error of what comes back, and −log N(z; 0, σ² I) per value: (n,) each.

    NaN where the denoiser is not for one of the levels; ValueError for other values that are not finite.
    """
    import torch

    from difgen_cli.diffusion import to_tensor

    device = device_of(denoiser)
    x = to_tensor(side[0][:n]).to(device)
    labels = None if side[1] is None else torch.from_numpy(side[1][:n]).to(device)
    latent = along(denoiser, x, levels, labels)
    error = mean_square(along(denoiser, latent, levels[::-1], labels), x)
    if not np.isfinite(error).all() and within(denoiser, np.array(levels)).all():
        raise ValueError("inversion: the denoiser gives NaN or infinite values: did the training diverge?")
    square = mean_square(latent, torch.zeros_like(latent)) / levels[-1] ** 2
    return error, (square + np.log(2 * np.pi * levels[-1] ** 2)) / 2
