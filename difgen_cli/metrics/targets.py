"""How much of the clean image remains unknown at each noise level: the variance of what training asks for."""

import hashlib
from typing import Annotated

import numpy as np
from annotated_types import Gt
from scipy.special import softmax

from difgen_cli.metrics import Result, Shared, Value, flat
from difgen_cli.metrics._intervals import mean_columns, standard_error
from difgen_cli.metrics._noise import TRAIN, unit_noise_like
from difgen_cli.metrics.path import logits
from difgen_cli.neighbours import with_mirrors

VERSION = 1

COLUMNS = {
    "target_var_025": ("float64", "", "variance of x0 given x0 + sigma n under T, per value, at 0.25 sigma_d"),
    "target_var_025_lo": ("float64", "", "lower end of its 95 % interval over images"),
    "target_var_025_hi": ("float64", "", "upper end of its 95 % interval over images"),
    "target_var_050": ("float64", "", "the same at 0.5 sigma_d"),
    "target_var_050_lo": ("float64", "", "lower end of its 95 % interval"),
    "target_var_050_hi": ("float64", "", "upper end of its 95 % interval"),
    "target_var_100": ("float64", "", "the same at sigma_d"),
    "target_var_100_lo": ("float64", "", "lower end of its 95 % interval"),
    "target_var_100_hi": ("float64", "", "upper end of its 95 % interval"),
    "target_images": ("int64", "images", "training images that noise is added to", {"role": "count"}),
}

TABLES = {
    "targets": {
        "sigma": ("float64", "", "noise level"),
        "sigma_rel": ("float64", "sigma_d", "noise level over the data's standard deviation"),
        "target_var": ("float64", "", "variance of x0 given x under T, per value: the least training loss there is"),
        "target_var_se": ("float64", "", "its standard error over images; missing for a single one"),
        "n_pairs": ("int64", "pairs", "pairs of image and noise"),
    }
}

NAMED = {0.25: "025", 0.5: "050", 1.0: "100"}  # noise levels with columns


def measure(
    train: np.ndarray,
    train_labels: np.ndarray | None,
    sigma_data: float,
    shared: Shared,
    mirrored: bool = False,
    *,
    sigmas: tuple[float, ...] = (0.0625, 0.125, 2.0, 4.0, 8.0),
    pairs: Annotated[int, Gt(0)] = 1024,
) -> Result:
    """E_x Σᵢ wᵢ(x) ‖xᵢ − D*(x; σ)‖²/d, wᵢ the posterior weights of T's images at x = x₀ + σn, x₀ of T.

    The target of training is x₀, which x does not decide: its variance given x is what a network averages over, and
    where it is large weights generalise through it (Vastola 2025). In expectation it is the training loss of the ideal
    denoiser, E‖D* − x₀‖²/d; taken at x itself, it has no error of the draw of x₀. It is 0 where x tells the training
    image, and the variance of T where noise drowns it. Of T alone, and not of a model; within the condition where there
    is one. `mirrored`: training showed mirror images too, and they are images of T.

    sigmas: noise levels of the table beside 0.25, 0.5 and 1, in units of sigma_d, above 0.
    pairs: of image and noise, at least.
    """
    if not len(train):
        raise ValueError("targets needs training images: there are none")
    if min(sigmas, default=1.0) <= 0:
        raise ValueError(f"targets: sigmas must be above 0, not {min(sigmas)}")
    relative = np.unique([*sigmas, *NAMED])
    levels = sigma_data * relative
    shown, labels = train, train_labels
    if mirrored:
        shown, labels = with_mirrors(train), None if train_labels is None else np.tile(train_labels, 2)
    digest = "none" if labels is None else hashlib.sha256(labels.astype("<i8").tobytes()).hexdigest()[:16]

    def compute() -> dict[str, np.ndarray]:
        used = min(len(train), pairs)
        x, own = train[:used], None if train_labels is None else train_labels[:used]
        draws = -(-pairs // used)
        noise = np.concatenate([unit_noise_like(x, TRAIN, j) for j in range(draws)])
        clean, given = np.concatenate([x] * draws), None if own is None else np.tile(own, draws)
        of_pairs = [variances(shown, labels, clean + sigma * noise, given, float(sigma)) for sigma in levels]
        of_image = np.reshape(of_pairs, (len(levels), draws, used)).mean(axis=1)
        return {"variance": of_image, "pairs": np.array(draws * used)}

    arrays = shared(f"variance-{digest}", compute)
    of_image = arrays["variance"]
    values: dict[str, Value] = {"target_images": of_image.shape[1]}
    for sigma, word in NAMED.items():
        values |= mean_columns(f"target_var_{word}", of_image[relative == sigma][0])
    table = {
        "sigma": levels, "sigma_rel": relative, "target_var": of_image.mean(axis=1),
        "target_var_se": standard_error(of_image), "n_pairs": np.full(len(levels), int(arrays["pairs"])),
    }  # fmt: skip
    return Result(values, {"targets": table})


def variances(
    images: np.ndarray, labels: np.ndarray | None, x: np.ndarray, of_x: np.ndarray | None, sigma: float
) -> np.ndarray:
    """The posterior variance per value at each x (n, ...) over the images (N, ...), of its label where there are: (n,).

    E‖x₀‖² − ‖E x₀‖² about the images' mean, so that little is lost where the two are near.
    """
    if labels is not None and of_x is not None:
        variance = np.empty(len(x))
        for label in np.unique(of_x):
            variance[of_x == label] = variances(images[labels == label], None, x[of_x == label], None, sigma)
        return variance
    T = flat(images).astype(np.float64)
    moved, parts = T - T.mean(axis=0), []
    squares = np.square(moved).sum(axis=1)
    for block in logits(flat(x), T, sigma):
        weights = softmax(block, axis=1)
        parts.append(weights @ squares - np.square(weights @ moved).sum(axis=1))
    return np.asarray(np.maximum(np.concatenate(parts), 0.0) / T.shape[1])
