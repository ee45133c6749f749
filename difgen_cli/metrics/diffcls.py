"""The denoiser as a classifier: which class explains a noisy image best (Li et al. 2023)."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import numpy as np
from annotated_types import Gt

from difgen_cli.metrics import Result, wilson
from difgen_cli.metrics._noise import HELD_OUT, TRAIN, Bank, bank, device_of, losses, of_known_conditions, within

if TYPE_CHECKING:
    from difgen_cli.diffusion import DenoiserLike

VERSION = 1
HELD_OUT_MIN = 1

COLUMNS = {
    "diffcls_acc": ("float64", "share", "held-out images whose class has the lowest conditional denoising loss"),
    "diffcls_acc_lo": ("float64", "share", "lower end of its 95 % Wilson interval"),
    "diffcls_acc_hi": ("float64", "share", "upper end of its 95 % Wilson interval"),
    "diffcls_gap": ("float64", "share", "accuracy on training images minus that on held-out images"),
    "diffcls_gap_lo": ("float64", "share", "lower end of its 95 % interval (Newcombe 1998, method 10)"),
    "diffcls_gap_hi": ("float64", "share", "upper end of its 95 % interval (Newcombe 1998, method 10)"),
    "diffcls_chance": ("float64", "share", "accuracy of guessing: 1/classes"),
}


def measure(
    denoiser: "DenoiserLike",
    train: np.ndarray,
    held_out: np.ndarray,
    train_labels: np.ndarray | None,
    held_out_labels: np.ndarray | None,
    train_classes: np.ndarray | None,
    sigma_data: float,
    *,
    images: Annotated[int, Gt(0)] = 256,
    draws: Annotated[int, Gt(0)] = 4,
    sigmas: tuple[float, ...] = (0.5, 1.0, 2.0),
) -> Result:
    """argmin over the classes c of T of Σ_σ E‖D(x₀ + σn; σ, c) − x₀‖²/σ², with the same noise for every class.

    All is None for a model that is not class-conditional: without conditions there is nothing to choose between, and
    clusters or one label per image are no classes. It is None too for a model that is not for one of the noise levels:
    a sum over fewer would be another classifier. Where all classes have the same loss, the choice counts as a guess.

    images: of each split, at most; held-out images of classes that T lacks are left out.
    draws: of noise for each image and noise level.
    sigmas: noise levels, in units of sigma_d, above 0.
    """
    values: dict[str, float | int | str | bool | None] = dict.fromkeys(COLUMNS)
    if train_labels is None or held_out_labels is None or not _are_classes(train_labels, train_classes):
        return Result(values)
    if not sigmas or min(sigmas) <= 0:
        raise ValueError(f"diffcls: sigmas must be one or more numbers above 0, not {sigmas}")
    held_out, asked_labels = of_known_conditions(held_out, held_out_labels, train_labels)
    if asked_labels is None or not len(held_out):
        raise ValueError("diffcls needs held-out images of the classes that T has: raise data.held_out")
    levels, candidates = sigma_data * np.array(sigmas), np.unique(train_labels)
    if not within(denoiser, levels).all():
        return Result(values)
    device = device_of(denoiser)
    counts, shares = [], []
    for split, x, labels in ((TRAIN, train, train_labels), (HELD_OUT, held_out, asked_labels)):
        part = bank(x[:images], labels[:images], draws, split, device)
        right = hits(class_losses(denoiser, part, levels, candidates), labels[:images], candidates)
        counts.append(len(right))
        shares.append(float(right.mean()))
    intervals = [wilson(share * n, n) for share, n in zip(shares, counts, strict=True)]
    values |= {"diffcls_acc": shares[1], "diffcls_acc_lo": intervals[1][0], "diffcls_acc_hi": intervals[1][1]}
    lower, upper = _difference(shares, intervals)
    values |= {"diffcls_gap": shares[0] - shares[1], "diffcls_gap_lo": lower, "diffcls_gap_hi": upper}
    return Result(values | {"diffcls_chance": 1 / len(candidates)})


def class_losses(denoiser: "DenoiserLike", bank: Bank, levels: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Σ_σ ‖D(x; σ, c) − x₀‖²/(d σ²) of each image and class, (n, classes), on the same noise."""
    import torch

    columns = []
    for candidate in candidates.tolist():
        labels = torch.full((len(bank.images),), candidate, dtype=torch.int64, device=bank.images.device)
        columns.append((losses(denoiser, replace(bank, labels=labels), levels).mean / levels**2).sum(axis=1))
    return np.stack(columns, axis=1)


def hits(of_class: np.ndarray, labels: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """For each image 1 where its own class has the lowest loss, 1/k where it shares it with k − 1 others, else 0."""
    lowest = of_class == of_class.min(axis=1, keepdims=True)
    return np.asarray((lowest & (candidates == labels[:, None])).sum(axis=1) / lowest.sum(axis=1))


def _are_classes(labels: np.ndarray, classes: np.ndarray | None) -> bool:
    """Whether conditions and classes of T are two names of one thing."""
    if classes is None:
        return False
    both = np.unique(np.stack([labels, classes]), axis=1).shape[1]
    return bool(both == len(np.unique(labels)) == len(np.unique(classes)))


def _difference(shares: list[float], intervals: list[tuple[float, float]]) -> tuple[float, float]:
    """The interval of shares[0] − shares[1] from Wilson's of each (Newcombe 1998, method 10)."""
    (a, b), ((a_lower, a_upper), (b_lower, b_upper)) = shares, intervals
    return a - b - float(np.hypot(a - a_lower, b_upper - b)), a - b + float(np.hypot(a_upper - a, b - b_lower))
