"""Membership beside a reference model that saw none of these images, such as the base of a fine-tuned one."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol

import numpy as np
from annotated_types import Ge

from difgen_cli.metrics import Result
from difgen_cli.metrics._noise import HELD_OUT, TRAIN, bank, device_of, losses, of_known_conditions
from difgen_cli.metrics.membership import DRAWS, NAMED, auc_columns, once

if TYPE_CHECKING:
    from difgen_cli.diffusion import DenoiserLike

VERSION = 1
ATTACKS = ("membership inference",)  # that its columns answer for, as `difgen gate` names them
NEEDS = ("posterior mean",)  # of the denoiser: what the mean of clean images given x is
HELD_OUT_MIN = 1
NON_MEMBERS = ("mia_reference_auc_",)  # columns that take H for what T could have been: see `metrics/blind.py`

COLUMNS = {
    "mia_reference_auc_025": (
        "float64",
        "",
        "AUROC of the log of the reference's denoising loss over the model's, T against H, at 0.25 sigma_d: 0.5 "
        "without leak",
    ),
    "mia_reference_auc_025_lo": ("float64", "", "lower end of its 95 % interval over images"),
    "mia_reference_auc_025_hi": ("float64", "", "upper end of its 95 % interval over images"),
    "mia_reference_auc_050": ("float64", "", "the same at 0.5 sigma_d"),
    "mia_reference_auc_050_lo": ("float64", "", "lower end of its 95 % interval"),
    "mia_reference_auc_050_hi": ("float64", "", "upper end of its 95 % interval"),
    "mia_reference_auc_100": ("float64", "", "the same at sigma_d"),
    "mia_reference_auc_100_lo": ("float64", "", "lower end of its 95 % interval"),
    "mia_reference_auc_100_hi": ("float64", "", "upper end of its 95 % interval"),
    "mia_reference_images": ("int64", "images", "of T, and as many of H", {"role": "count"}),
}


class ReferenceModel(Protocol):
    """The model that the setting `base` names."""

    denoiser: "DenoiserLike"


def measure(
    denoiser: "DenoiserLike",
    reference: ReferenceModel,
    train: np.ndarray,
    held_out: np.ndarray,
    train_labels: np.ndarray | None,
    held_out_labels: np.ndarray | None,
    sigma_data: float,
    *,
    base: Path,
    images: Annotated[int, Ge(1)] = 1024,
) -> Result:
    """AUROC of log(loss of the reference / loss of the model), as many images of T as of H, under the same noise.

    How easy an image is to denoise, which `membership` cannot tell from having been seen, falls out. The reference must
    have seen neither T nor H: one that saw T hides the trace, one that saw H feigns it. Where it is the model itself,
    there is none, 0.5. Held-out images of a condition that T does not have are left out; repeats and near-duplicates
    count once.

    base: the weights of the reference, of any format that the model's own may have.
    images: on each side, at most.
    """
    held_out, held_out_labels = of_known_conditions(held_out, held_out_labels, train_labels)
    sides = [once(train, train_labels, images), once(held_out, held_out_labels, images)]
    n = min(len(x) for x, _ in sides)
    if n < 1:
        raise ValueError(
            "membership needs training images and held-out images of their conditions: "
            f"there are {len(sides[0][0])} and {len(sides[1][0])}"
        )
    levels, device, scores = sigma_data * np.array(list(NAMED)), device_of(denoiser), []
    for split, (x, labels) in zip((TRAIN, HELD_OUT), sides, strict=True):
        part = bank(x[:n], None if labels is None else labels[:n], DRAWS, split, device)
        of_reference, own = losses(reference.denoiser, part, levels).mean, losses(denoiser, part, levels).mean
        with np.errstate(divide="ignore", invalid="ignore"):  # of a loss of 0
            ratio = np.log(of_reference) - np.log(own)
        scores.append(np.where(of_reference == own, 0.0, ratio))
    return Result({**auc_columns("mia_reference_auc", *scores), "mia_reference_images": n})
