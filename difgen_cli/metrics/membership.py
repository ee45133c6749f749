"""Whether the denoiser's loss tells training images from held-out ones: membership inference by threshold."""

from typing import TYPE_CHECKING, Annotated

import numpy as np
from annotated_types import Ge

from difgen_cli.metrics import Result
from difgen_cli.metrics._noise import HELD_OUT, TRAIN, bank, device_of, losses, of_known_conditions, within
from difgen_cli.metrics._ranks import Auroc, auroc, clopper_pearson, found_at
from difgen_cli.neighbours import distinct, near_duplicates

if TYPE_CHECKING:
    from difgen_cli.diffusion import DenoiserLike

VERSION = 2
NEEDS = ("posterior mean",)  # of the denoiser: what the mean of clean images given x is
HELD_OUT_MIN = 1

COLUMNS = {
    "mia_auc_025": ("float64", "", "AUROC of minus the denoising loss, T against H, at 0.25 sigma_d: 0.5 without leak"),
    "mia_auc_025_lo": ("float64", "", "lower end of its 95 % interval over images, DeLong's on the logit scale"),
    "mia_auc_025_hi": ("float64", "", "upper end of its 95 % interval over images"),
    "mia_auc_050": ("float64", "", "the same at 0.5 sigma_d"),
    "mia_auc_050_lo": ("float64", "", "lower end of its 95 % interval"),
    "mia_auc_050_hi": ("float64", "", "upper end of its 95 % interval"),
    "mia_auc_100": ("float64", "", "the same at sigma_d"),
    "mia_auc_100_lo": ("float64", "", "lower end of its 95 % interval"),
    "mia_auc_100_hi": ("float64", "", "upper end of its 95 % interval"),
    "mia_tpr_at_1pct": (
        "float64",
        "share",
        "training images found at 0.5 sigma_d where 1 % of H are taken for training images; missing below 1,000 of H",
    ),
    "mia_tpr_at_1pct_lo": ("float64", "share", "lower end of its 95 % Clopper-Pearson interval, given the threshold"),
    "mia_tpr_at_1pct_hi": ("float64", "share", "upper end of its 95 % Clopper-Pearson interval, given the threshold"),
    "mia_images": ("int64", "images", "of T, and as many of H", {"role": "count"}),
}

DRAWS = 8  # of noise for each image
NAMED = {0.25: "025", 0.5: "050", 1.0: "100"}  # noise levels in units of σ_d: all are reported, never the best of them
TPR_SIGMA, ALARMS, ALARMS_MIN = 0.5, 0.01, 1000


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
    """AUROC of the score −‖D(x₀ + σn; σ) − x₀‖²/d, a mean over 8 banked draws, for as many images of T as of H.

    Held-out images of a condition that T does not have are left out, and repeats and near-duplicates count once: what
    is trained on more often is found more easily, and is no more images. The share found at 1 % of false alarms is None
    where the comparison has fewer than 1,000 images of H: its threshold would rest on fewer than ten of them.

    images: on each side, at most.
    """
    held_out, held_out_labels = of_known_conditions(held_out, held_out_labels, train_labels)
    held_out, held_out_labels = _once(held_out, held_out_labels, images)
    train, train_labels = _once(train, train_labels, images)
    n = min(len(train), len(held_out), images)
    if n < 1:
        raise ValueError(
            "membership needs training images and held-out images of their conditions: "
            f"there are {len(train)} and {len(held_out)}"
        )
    levels = sigma_data * np.array(list(NAMED))
    sides = ((TRAIN, train, train_labels), (HELD_OUT, held_out, held_out_labels))
    banks = [bank(x[:n], _first(labels, n), DRAWS, split, device_of(denoiser)) for split, x, labels in sides]
    of_T, of_H = (-losses(denoiser, part, levels).mean for part in banks)
    values = dict.fromkeys(COLUMNS) | {"mia_images": n} | auc_columns("mia_auc", of_T, of_H)
    if n >= ALARMS_MIN and within(denoiser, sigma_data * TPR_SIGMA):
        k = list(NAMED).index(TPR_SIGMA)
        detected = found_at(of_T[:, k], of_H[:, k], ALARMS)
        values["mia_tpr_at_1pct"] = detected / n
        values["mia_tpr_at_1pct_lo"], values["mia_tpr_at_1pct_hi"] = clopper_pearson(detected, n)
    return Result(values)


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
    images_A, labels_A = _once(images_A, labels_A, images)
    images_B, labels_B = _once(images_B, labels_B, images)
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


def _once(x: np.ndarray, labels: np.ndarray | None, images: int) -> Labelled:
    """The first `images` distinct ones, with their labels."""
    places = distinct(x, count=images)
    return x[places], None if labels is None else labels[places]


def _without(out: np.ndarray, x: np.ndarray, labels: np.ndarray | None) -> Labelled:
    return x[~out], None if labels is None else labels[~out]


def _first(labels: np.ndarray | None, n: int) -> np.ndarray | None:
    return None if labels is None else labels[:n]
