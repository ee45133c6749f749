"""A control of membership: the model's own samples in the place of the training images."""

from typing import TYPE_CHECKING, Annotated

import numpy as np
from annotated_types import Ge

from difgen_cli.metrics import Result
from difgen_cli.metrics._noise import HELD_OUT, TRAIN, bank, device_of, losses, of_known_conditions
from difgen_cli.metrics.membership import DRAWS, NAMED, auc_columns, once

if TYPE_CHECKING:
    from difgen_cli.diffusion import DenoiserLike

VERSION = 1
NEEDS = ("posterior mean",)  # of the denoiser: what the mean of clean images given x is
HELD_OUT_MIN = 1
NON_MEMBERS = ("mia_self_auc_",)  # columns that take H for what T could have been: see `metrics/blind.py`

COLUMNS = {
    "mia_self_auc_025": (
        "float64",
        "",
        "AUROC of minus the denoising loss, samples against H, at 0.25 sigma_d: near mia_auc, membership is not shown",
    ),
    "mia_self_auc_025_lo": ("float64", "", "lower end of its 95 % interval over images"),
    "mia_self_auc_025_hi": ("float64", "", "upper end of its 95 % interval over images"),
    "mia_self_auc_050": ("float64", "", "the same at 0.5 sigma_d"),
    "mia_self_auc_050_lo": ("float64", "", "lower end of its 95 % interval"),
    "mia_self_auc_050_hi": ("float64", "", "upper end of its 95 % interval"),
    "mia_self_auc_100": ("float64", "", "the same at sigma_d"),
    "mia_self_auc_100_lo": ("float64", "", "lower end of its 95 % interval"),
    "mia_self_auc_100_hi": ("float64", "", "upper end of its 95 % interval"),
}


def measure(
    denoiser: "DenoiserLike",
    samples: np.ndarray,
    sample_labels: np.ndarray | None,
    held_out: np.ndarray,
    train_labels: np.ndarray | None,
    held_out_labels: np.ndarray | None,
    sigma_data: float,
    *,
    images: Annotated[int, Ge(1)] = 1024,
) -> Result:
    """The AUROC of `membership` for samples, which nobody trained on, each under the label that it was drawn with.

    Where it is as high as that of T, the loss is low for all that is typical of the model, and not for what it was
    trained on; where samples are copies of T, it is as high too. Repeats and near-duplicates count once, and None where
    there are no samples.

    images: on each side, at most.
    """
    held_out, held_out_labels = of_known_conditions(held_out, held_out_labels, train_labels)
    sides = [once(samples, sample_labels, images), once(held_out, held_out_labels, images)]
    n = min(len(x) for x, _ in sides)
    if n < 1:
        return Result(dict.fromkeys(COLUMNS))
    levels, device, scores = sigma_data * np.array(list(NAMED)), device_of(denoiser), []
    for split, (x, labels) in zip((TRAIN, HELD_OUT), sides, strict=True):
        part = bank(x[:n], None if labels is None else labels[:n], DRAWS, split, device)
        scores.append(-losses(denoiser, part, levels).mean)
    return Result({**auc_columns("mia_self_auc", *scores)})
