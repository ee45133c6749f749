"""Whether the denoiser's loss tells training images from held-out ones: membership inference by threshold."""

from typing import TYPE_CHECKING, Annotated

import numpy as np
from annotated_types import Ge

from difgen_cli.metrics import Result
from difgen_cli.metrics._noise import (
    HELD_OUT,
    TRAIN,
    bank,
    clean_errors,
    device_of,
    losses,
    of_known_conditions,
    within,
)
from difgen_cli.metrics._ranks import Auroc, auroc, clopper_pearson, found_at
from difgen_cli.neighbours import distinct, near_duplicates

if TYPE_CHECKING:
    from difgen_cli.diffusion import DenoiserLike

VERSION = 3
ATTACKS = ("membership inference",)  # that its columns answer for, as `difgen gate` names them
NEEDS = ("posterior mean",)  # of the denoiser: what the mean of clean images given x is
HELD_OUT_MIN = 1

# Columns that take H for what T could have been: see `metrics/blind.py`.
NON_MEMBERS = ("mia_auc_", "mia_mean_auc_", "mia_clean_auc_", "mia_tpr_", "mia_tail")

COLUMNS = {
    "mia_auc_025": (
        "float64",
        "",
        "AUROC of minus the denoising loss, T against H, at 0.25 sigma_d: 0.5 without leak",
        {"n": "mia_images"},
    ),
    "mia_auc_025_lo": ("float64", "", "lower end of its 95 % interval over images, DeLong's on the logit scale"),
    "mia_auc_025_hi": ("float64", "", "upper end of its 95 % interval over images"),
    "mia_auc_050": ("float64", "", "the same at 0.5 sigma_d", {"n": "mia_images"}),
    "mia_auc_050_lo": ("float64", "", "lower end of its 95 % interval"),
    "mia_auc_050_hi": ("float64", "", "upper end of its 95 % interval"),
    "mia_auc_100": ("float64", "", "the same at sigma_d", {"n": "mia_images"}),
    "mia_auc_100_lo": ("float64", "", "lower end of its 95 % interval"),
    "mia_auc_100_hi": ("float64", "", "upper end of its 95 % interval"),
    "mia_mean_auc_025": (
        "float64",
        "",
        "AUROC of minus the error of the mean of 8 reconstructions, at 0.25 sigma_d",
        {"n": "mia_images"},
    ),
    "mia_mean_auc_025_lo": ("float64", "", "lower end of its 95 % interval"),
    "mia_mean_auc_025_hi": ("float64", "", "upper end of its 95 % interval"),
    "mia_mean_auc_050": ("float64", "", "the same at 0.5 sigma_d", {"n": "mia_images"}),
    "mia_mean_auc_050_lo": ("float64", "", "lower end of its 95 % interval"),
    "mia_mean_auc_050_hi": ("float64", "", "upper end of its 95 % interval"),
    "mia_mean_auc_100": ("float64", "", "the same at sigma_d", {"n": "mia_images"}),
    "mia_mean_auc_100_lo": ("float64", "", "lower end of its 95 % interval"),
    "mia_mean_auc_100_hi": ("float64", "", "upper end of its 95 % interval"),
    "mia_clean_auc_025": (
        "float64",
        "",
        "AUROC of minus the 4-norm of x - D(x), x without noise, at 0.25 sigma_d",
        {"n": "mia_images"},
    ),
    "mia_clean_auc_025_lo": ("float64", "", "lower end of its 95 % interval"),
    "mia_clean_auc_025_hi": ("float64", "", "upper end of its 95 % interval"),
    "mia_clean_auc_050": ("float64", "", "the same at 0.5 sigma_d", {"n": "mia_images"}),
    "mia_clean_auc_050_lo": ("float64", "", "lower end of its 95 % interval"),
    "mia_clean_auc_050_hi": ("float64", "", "upper end of its 95 % interval"),
    "mia_clean_auc_100": ("float64", "", "the same at sigma_d", {"n": "mia_images"}),
    "mia_clean_auc_100_lo": ("float64", "", "lower end of its 95 % interval"),
    "mia_clean_auc_100_hi": ("float64", "", "upper end of its 95 % interval"),
    "mia_tpr_at_1pct": (
        "float64",
        "share",
        "training images found at 0.5 sigma_d where 1 % of H are taken for training images; missing below 1,000 of H",
        {"n": "mia_images"},
    ),
    "mia_tpr_at_1pct_lo": ("float64", "share", "lower end of its 95 % Clopper-Pearson interval, given the threshold"),
    "mia_tpr_at_1pct_hi": ("float64", "share", "upper end of its 95 % Clopper-Pearson interval, given the threshold"),
    "mia_tpr_1pct_025": (
        "float64",
        "share",
        "the same at 0.25 sigma_d, the level declared for such shares",
        {"n": "mia_images"},
    ),
    "mia_tpr_1pct_025_lo": ("float64", "share", "lower end of its 95 % interval, given the threshold"),
    "mia_tpr_1pct_025_hi": ("float64", "share", "upper end of its 95 % interval, given the threshold"),
    "mia_tpr_10fp": (
        "float64",
        "share",
        "training images found at 0.25 sigma_d where ten images of H are taken for training images",
        {"n": "mia_images"},
    ),
    "mia_tpr_10fp_lo": ("float64", "share", "lower end of its 95 % interval, given the threshold"),
    "mia_tpr_10fp_hi": ("float64", "share", "upper end of its 95 % interval, given the threshold"),
    "mia_tpr_10fp_rate": ("float64", "share", "of H that ten false alarms are", {"role": "count"}),
    "mia_tail": (
        "float64",
        "share",
        "of H with a loss above the 99 % quantile of T's, at 0.25 sigma_d: 0.01 without leak; missing below 1,000 of T",
        {"n": "mia_images"},
    ),
    "mia_tail_lo": ("float64", "share", "lower end of its 95 % interval, given the threshold"),
    "mia_tail_hi": ("float64", "share", "upper end of its 95 % interval, given the threshold"),
    "mia_images": ("int64", "images", "of T, and as many of H", {"role": "count"}),
}

DRAWS = 8  # of noise for each image
NAMED = {0.25: "025", 0.5: "050", 1.0: "100"}  # noise levels in units of σ_d: all are reported, never the best of them
DECLARED = 0.25  # the level of sentences and shares, fixed beforehand
TPR_SIGMA, ALARMS_MIN, TEN = 0.5, 1000, 10
ONE_IN = 100  # images of a side, that may lie beyond a threshold


def measure(
    denoiser: "DenoiserLike",
    train: np.ndarray,
    held_out: np.ndarray,
    train_labels: np.ndarray | None,
    held_out_labels: np.ndarray | None,
    sigma_data: float,
    *,
    images: Annotated[int, Ge(1)] = 1024,
) -> Result:
    """AUROCs of three scores for as many images of T as of H, by 8 + 1 evaluations an image and noise level.

    The loss: −‖D(x₀ + σn; σ) − x₀‖²/d, a mean over 8 banked draws. Of the same evaluations the error of their mean,
    −‖mean D − x₀‖² (Li et al. 2024, ReDiffuse). And one query without noise, −‖(x₀ − D(x₀; σ))/σ‖₄⁴ (SimA, 2025).
    Held-out images of a condition that T does not have are left out, and repeats and near-duplicates count once: what
    is trained on more often is found more easily, and is no more images. Shares at 1 % are None where the comparison
    has fewer than 1,000 images of a side: their threshold would rest on fewer than ten of them.

    images: on each side, at most.
    """
    held_out, held_out_labels = of_known_conditions(held_out, held_out_labels, train_labels)
    held_out, held_out_labels = once(held_out, held_out_labels, images)
    train, train_labels = once(train, train_labels, images)
    n = min(len(train), len(held_out), images)
    if n < 1:
        raise ValueError(
            "membership needs training images and held-out images of their conditions: "
            f"there are {len(train)} and {len(held_out)}"
        )
    levels = sigma_data * np.array(list(NAMED))
    sides = ((TRAIN, train, train_labels), (HELD_OUT, held_out, held_out_labels))
    banks = [bank(x[:n], _first(labels, n), DRAWS, split, device_of(denoiser)) for split, x, labels in sides]
    of_T, of_H = (losses(denoiser, part, levels) for part in banks)
    clean_T, clean_H = (clean_errors(denoiser, part, levels) for part in banks)
    values = dict.fromkeys(COLUMNS) | {"mia_images": n} | auc_columns("mia_auc", -of_T.mean, -of_H.mean)
    values |= auc_columns("mia_mean_auc", -of_T.bias, -of_H.bias) | auc_columns("mia_clean_auc", -clean_T, -clean_H)
    for sigma in {TPR_SIGMA, DECLARED}:
        if within(denoiser, sigma_data * sigma):
            k = list(NAMED).index(sigma)
            values |= _shares(sigma, -of_T.mean[:, k], -of_H.mean[:, k])
    return Result(values)


def _shares(sigma: float, of_T: np.ndarray, of_H: np.ndarray) -> dict[str, float | None]:
    """The columns that rest on a threshold at a level, from scores (n,) that are high for members."""
    n, shares = len(of_T), dict[str, int]()
    if n >= ALARMS_MIN:
        name = "mia_tpr_at_1pct" if sigma == TPR_SIGMA else f"mia_tpr_1pct_{NAMED[sigma]}"
        shares[name] = found_at(of_T, of_H, n // ONE_IN)
    columns: dict[str, float | None] = {}
    if sigma == DECLARED:
        if n >= ALARMS_MIN:
            shares["mia_tail"] = found_at(-of_H, -of_T, n // ONE_IN)
        if n > TEN:
            shares["mia_tpr_10fp"] = found_at(of_T, of_H, TEN)
            columns["mia_tpr_10fp_rate"] = TEN / n
    for name, count in shares.items():
        columns |= zip((name, f"{name}_lo", f"{name}_hi"), (count / n, *clopper_pearson(count, n)), strict=True)
    return columns


def twin_aucs(
    denoiser_A: "DenoiserLike",
    denoiser_B: "DenoiserLike",
    images_A: np.ndarray,
    images_B: np.ndarray,
    labels_A: np.ndarray | None,
    labels_B: np.ndarray | None,
    sigma_data: float,
    *,
    images: int = 1024,
) -> dict[str, float | None]:
    """mia_twin_auc at the same levels, with intervals: AUROC of loss_B − loss_A, images of A's T against those of B's.

    Two models of the same recipe, trained on disjoint halves A and B, exchange their roles: what one half's images
    have that the other's lack falls out on average, and no held-out images are needed. Both models see the same noise.
    Images of one half that have a near-duplicate in the other are members of both, and left out.
    """
    in_both = near_duplicates(images_A, images_B), near_duplicates(images_B, images_A)
    images_A, labels_A = _without(in_both[0], images_A, labels_A)
    images_B, labels_B = _without(in_both[1], images_B, labels_B)
    images_A, labels_A = of_known_conditions(images_A, labels_A, labels_B)
    images_B, labels_B = of_known_conditions(images_B, labels_B, labels_A)
    images_A, labels_A = once(images_A, labels_A, images)
    images_B, labels_B = once(images_B, labels_B, images)
    n = min(len(images_A), len(images_B), images)
    if n < 1:
        raise ValueError(
            "twin membership needs images of the same conditions in both halves, none of them the same: "
            f"there are {len(images_A)} and {len(images_B)}"
        )
    levels = sigma_data * np.array(list(NAMED))
    scores = []
    for split, x, labels in ((TRAIN, images_A, labels_A), (HELD_OUT, images_B, labels_B)):
        part = bank(x[:n], _first(labels, n), DRAWS, split, device_of(denoiser_A))
        scores.append(losses(denoiser_B, part, levels).mean - losses(denoiser_A, part, levels).mean)
    return auc_columns("mia_twin_auc", *scores)


def auc_columns(name: str, members: np.ndarray, others: np.ndarray) -> dict[str, float | None]:
    """Columns `name`_025 … _100 with `_lo` and `_hi`, of scores (n, levels) that are high for members.

    None at a level of which there are no scores.
    """
    columns: dict[str, float | None] = {}
    for k, word in enumerate(NAMED.values()):
        names = [f"{name}_{word}", f"{name}_{word}_lo", f"{name}_{word}_hi"]
        columns |= dict.fromkeys(names)
        if not np.isnan([*members[:, k], *others[:, k]]).any():
            area: Auroc = auroc(members[:, k], others[:, k])
            columns |= zip(names, (area.value, area.lower, area.upper), strict=True)
    return columns


Labelled = tuple[np.ndarray, np.ndarray | None]


def once(x: np.ndarray, labels: np.ndarray | None, images: int) -> Labelled:
    """The first `images` distinct ones, with their labels."""
    places = distinct(x, count=images)
    return x[places], None if labels is None else labels[places]


def _without(out: np.ndarray, x: np.ndarray, labels: np.ndarray | None) -> Labelled:
    return x[~out], None if labels is None else labels[~out]


def _first(labels: np.ndarray | None, n: int) -> np.ndarray | None:
    return None if labels is None else labels[:n]
