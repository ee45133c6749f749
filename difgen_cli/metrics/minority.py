"""Which training images a model takes for rare, and whether those are the ones that it copies (Um et al. 2024)."""

from typing import TYPE_CHECKING, Annotated

import numpy as np
from annotated_types import Ge, Gt

from difgen_cli.metrics import Result, Shared, Value
from difgen_cli.metrics._noise import device_of, losses, within
from difgen_cli.metrics._ranks import half_width
from difgen_cli.metrics.exposure import bank_by_image
from difgen_cli.metrics.memorization import THRESHOLD, ratio
from difgen_cli.neighbours import distinct
from difgen_cli.neighbours.distinct import Repeats

if TYPE_CHECKING:
    from difgen_cli.diffusion import DenoiserLike

VERSION = 1
NEEDS = ("posterior mean",)  # of the denoiser: what the mean of clean images given x is

COLUMNS = {
    "minority_hits_corr": (
        "float64",
        "",
        "rank correlation (Spearman) over training images of the minority score with the samples that copy them: above "
        "0 where rare images are copied more",
        {"label": "rank correlation of minority score and copies", "scale": "difference"},
    ),
    "minority_hits_corr_lo": (
        "float64",
        "",
        "lower end of its 95 % interval over images, a jackknife of 20 parts; null below 40 images or 20 copied ones",
    ),
    "minority_hits_corr_hi": ("float64", "", "upper end of its 95 % interval over images"),
    "minority_images": ("int64", "images", "distinct ones of T that have a score", {"role": "count"}),
    "minority_hit": ("int64", "images", "of these of which samples are copies", {"role": "count"}),
}
TABLES = {
    "minority": {
        "image": ("int64", "", "its place in T, from 0"),
        "minority": ("float64", "", "mean of |x - D(x + sigma n)|^2 / d over draws of noise: higher for rarer images"),
        "hits": ("int64", "samples", "that copy it or a near-duplicate of it, by the ratio rule"),
    }
}

PARTS, HIT_LEAST = 20, 20
SEED = 12
LARGEST = 1 - 1e-9  # a correlation whose Fisher transform is finite


def measure(
    denoiser: "DenoiserLike",
    train: np.ndarray,
    samples: np.ndarray,
    train_labels: np.ndarray | None,
    sigma_data: float,
    shared: Shared,
    mirrored: bool = False,
    *,
    sigma: Annotated[float, Gt(0)] = 1.0,
    draws: Annotated[int, Gt(0)] = 8,
    images: Annotated[int, Ge(2)] = 2048,
) -> Result:
    """The table `minority`: one line for each distinct image of T, `draws` evaluations of the network each.

    What a denoiser makes of a noisy image leans towards what is common, so that rare images come back farther from
    themselves. Um et al. take a perceptual distance at 0.9 of the schedule's time, here it is that of pixels. The score
    is the model's own: where it has memorized an image at this noise it gives it back, and the score is low for that
    reason, so that a correlation below 0 late in training is memorization itself. No lines where the denoiser is not
    for the level; no correlation where no image is copied, or all scores or hits agree.

    sigma: noise level of the score, in units of sigma_d.
    draws: of noise, which the image alone decides, for each image.
    images: distinct ones of T, at most.
    """
    places = shared("distinct", lambda: {"train": distinct(train, mirrored, images)})["train"]
    level = sigma * sigma_data
    values: dict[str, Value] = dict.fromkeys(COLUMNS)
    if not within(denoiser, level):
        places = places[:0]
    score, hits = np.zeros(0), np.zeros(0, np.int64)
    if len(places):
        labels = None if train_labels is None else train_labels[places]
        bank = bank_by_image(train[places], labels, draws, device_of(denoiser))
        score = losses(denoiser, bank, [level]).mean[:, 0]
        group = shared("groups", lambda: {"group": Repeats.of(train, mirrored).group})["group"]
        hits = copies(samples, train, group, mirrored)[places]
    values |= {"minority_images": len(places), "minority_hit": int((hits > 0).sum())}
    if len(np.unique(score)) > 1 and len(np.unique(hits)) > 1:
        values["minority_hits_corr"] = correlation(score, hits)
        if len(places) >= 2 * PARTS and (hits > 0).sum() >= HIT_LEAST:
            values["minority_hits_corr_lo"], values["minority_hits_corr_hi"] = interval(score, hits)
    return Result(values, {"minority": {"image": places, "minority": score, "hits": hits}})


def copies(samples: np.ndarray, train: np.ndarray, group: np.ndarray, mirrored: bool) -> np.ndarray:
    """How many samples copy each training image or what `group` (N,) joins with it, by the ratio rule: (N,) int64."""
    repeats = Repeats(train, group, mirrored)
    if repeats.count < 2 or not len(samples):
        return np.zeros(len(train), np.int64)
    distances, indices = repeats.nearest(samples)
    copied = indices[ratio(distances) < THRESHOLD, 0]
    return np.asarray(np.bincount(group[copied], minlength=len(train))[group], np.int64)


def correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Spearman's, of ranks of which equal values share the mean (n,); 0 where either has one value."""
    from scipy.stats import rankdata

    a, b = (ranks - ranks.mean() for ranks in (rankdata(x), rankdata(y)))
    spread = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / spread) if spread > 0 else 0.0


def interval(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """95 % interval over images: Student's t on Fisher's scale, with the spread over leaving out each of 20 parts."""
    part = np.random.default_rng(SEED).permutation(len(x)) % PARTS

    def transformed(kept: np.ndarray) -> float:
        return float(np.arctanh(np.clip(correlation(x[kept], y[kept]), -LARGEST, LARGEST)))

    whole = transformed(np.ones(len(x), bool))
    without = np.array([transformed(part != number) for number in range(PARTS)])
    variance = (PARTS - 1) / PARTS * float(((without - without.mean()) ** 2).sum())
    half = half_width([variance], [PARTS - 1])
    return float(np.tanh(whole - half)), float(np.tanh(whole + half))
