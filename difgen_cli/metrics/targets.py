"""How much of the clean image remains unknown at each noise level: the variance of what training asks for."""

import hashlib
import itertools
from typing import Annotated

import numpy as np
from annotated_types import Gt
from scipy.special import softmax, stdtrit

from difgen_cli.metrics import Result, Shared, Value, flat
from difgen_cli.metrics._intervals import PARTS, jackknife, left_out, part_of
from difgen_cli.metrics._noise import TRAIN, unit_noise_like
from difgen_cli.metrics.path import MOST_ELEMENTS, logits
from difgen_cli.neighbours import with_mirrors

VERSION = 2

COLUMNS = {
    "target_var_025": ("float64", "", "variance of x0 given x0 + sigma n under T, per value, at 0.25 sigma_d"),
    "target_var_025_lo": ("float64", "", "lower end of its 95 % interval over T and noise: T is drawn anew"),
    "target_var_025_hi": ("float64", "", "upper end of its 95 % interval over T and noise; missing where few decide"),
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
        "target_var_se": ("float64", "", "its standard error over T and noise; missing where few images decide"),
        "n_pairs": ("int64", "pairs", "pairs of image and noise"),
    }
}

NAMED = {0.25: "025", 0.5: "050", 1.0: "100"}  # noise levels with columns
LEAST_WEIGHT = 1e-100  # a noisy image is not so far from its own
Labelled = tuple[np.ndarray, np.ndarray | None]  # images (n, ...) and their labels
DECIDING = 10  # images or fewer that make up the variance: too few for an interval


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

    The interval is for another T of as many images: the variance of an image's noisy copies depends on all of T, and a
    jackknife over 20 parts of T makes all of it anew, on the scale of the logarithm. None below 20 images, or where ten
    or fewer decide, such as the two nearest to one another at little noise.

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

    used = min(len(train), pairs)
    asked = train[:used], None if train_labels is None else train_labels[:used]
    part = np.resize(
        np.concatenate([part_of(used), part_of(len(train) - used)]), len(shown)
    )  # an image with its mirror
    arrays = shared(f"variance-{digest}", lambda: _of_levels((shown, labels), asked, part, levels, -(-pairs // used)))
    of_image = arrays["variance"]
    errors, halves = np.array([_error(*level) for level in zip(of_image, arrays["without"], strict=True)]).T
    values: dict[str, Value] = dict.fromkeys(COLUMNS)
    values["target_images"] = of_image.shape[1]
    for sigma, word in NAMED.items():
        (at,) = np.flatnonzero(relative == sigma)
        values[f"target_var_{word}"] = mean = float(of_image[at].mean())
        if np.isfinite(halves[at]):
            factor = float(np.exp(halves[at] / mean))
            values |= {f"target_var_{word}_lo": mean / factor, f"target_var_{word}_hi": mean * factor}
    table = {
        "sigma": levels, "sigma_rel": relative, "target_var": of_image.mean(axis=1), "target_var_se": errors,
        "n_pairs": np.full(len(levels), int(arrays["pairs"])),
    }  # fmt: skip
    return Result(values, {"targets": table})


def _of_levels(
    shown: Labelled, asked: Labelled, part: np.ndarray, levels: np.ndarray, draws: int
) -> dict[str, np.ndarray]:
    """At each level the variance of each image of T that is asked, `variance` (levels, n), and the mean over those
    outside each set of `left_out`, of T without it: `without` (levels, sets), NaN where there are fewer than parts."""
    (images, labels), (x, own) = shown, asked
    noise = np.concatenate([unit_noise_like(x, TRAIN, j) for j in range(draws)])
    clean, given = np.concatenate([x] * draws), None if own is None else np.tile(own, draws)
    of_pairs = [variances(images, labels, clean + sigma * noise, given, float(sigma)) for sigma in levels]
    of_image = np.reshape(of_pairs, (len(levels), draws, len(x))).mean(axis=1)
    without = np.full((len(levels), len(left_out(PARTS))), np.nan)
    if len(x) >= PARTS:
        kept = ~left_out(PARTS)[:, np.tile(part[: len(x)], draws)].T
        for row, sigma in zip(without, levels, strict=True):
            of_sets = _without(images, labels, clean + sigma * noise, given, float(sigma), part)
            row[:] = np.where(kept, of_sets, 0).sum(axis=0) / kept.sum(axis=0)
    return {"variance": of_image, "without": without, "pairs": np.array(draws * len(x))}


def _error(of_image: np.ndarray, without: np.ndarray) -> tuple[float, float]:
    """The standard error of the mean of `of_image` over T, and half of its 95 % interval; NaN where there is none."""
    squares = float((of_image**2).sum())
    if len(of_image) < PARTS or not squares or float(of_image.sum()) ** 2 / squares <= DECIDING:
        return float("nan"), float("nan")
    variance, freedom = jackknife(without)
    return float(np.sqrt(variance)), float(stdtrit(freedom, 0.975) * np.sqrt(variance))


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


def _without(
    images: np.ndarray, labels: np.ndarray | None, x: np.ndarray, of_x: np.ndarray | None, sigma: float,
    part: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """The same over the images outside each set of `left_out`, (n, sets): the weights are those of all images, so that
    they are asked once. part: (N,) the part of each image. 0 where next to nothing is left of the weights.
    """
    if labels is not None and of_x is not None:
        variance = np.empty((len(x), len(left_out(PARTS))))
        for label in np.unique(of_x):
            own, asked = labels == label, of_x == label
            variance[asked] = _without(images[own], None, x[asked], None, sigma, part[own])
        return variance
    T = flat(images).astype(np.float64)
    bounds = np.searchsorted(np.sort(part), np.arange(PARTS + 1))
    T = T[np.argsort(part, kind="stable")]
    moved, kept = T - T.mean(axis=0), (~left_out(PARTS)).astype(float)
    squares = np.square(moved).sum(axis=1)
    rows = max(1, MOST_ELEMENTS // max(len(T), PARTS * max(T.shape[1], len(kept))))  # logits gives them in one block
    variance = np.zeros((len(x), len(kept)))
    for start in range(0, len(x), rows):
        (block,) = logits(flat(x[start : start + rows]), T, sigma)
        weights = softmax(block, axis=1)
        of_parts = [(weights[:, a:b], moved[a:b], squares[a:b]) for a, b in itertools.pairwise(bounds)]
        sums = np.stack([w @ points for w, points, _ in of_parts], axis=1)  # (rows, PARTS, d)
        total, square = (
            np.stack(each, axis=1) @ kept.T
            for each in ([w.sum(axis=1) for w, _, _ in of_parts], [w @ squared for w, _, squared in of_parts])
        )
        of_mean = np.einsum("nsg,sg->ns", kept @ (sums @ sums.transpose(0, 2, 1)), kept)
        some = total > LEAST_WEIGHT
        variance[start : start + rows][some] = (square[some] - of_mean[some] / total[some]) / total[some]
    return np.asarray(np.maximum(variance, 0.0) / T.shape[1])
