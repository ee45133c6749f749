"""Do two networks trained on disjoint halves of the data make the same images from the same noise?

Where they do, neither can have copied: what they share is the distribution (Kadkhodaie et al. 2024; Zhang et al. 2024).
"""

from typing import Annotated, Protocol

import numpy as np
from annotated_types import Gt

from difgen_cli.metrics import Result, flat
from difgen_cli.neighbours import near_duplicates, with_mirrors

VERSION = 2

COLUMNS = {
    "twin_cos": (
        "float64",
        "",
        "median cosine of paired samples of networks trained on disjoint halves",
        {"label": "cosine of twins' samples (median)"},
    ),
    "twin_cos_lo": ("float64", "", "lower end of its 95 % interval over samples"),
    "twin_cos_hi": ("float64", "", "upper end of its 95 % interval over samples"),
    "twin_win": (
        "float64",
        "share",
        "samples closer to their twin than to any training image; one half: the crossing",
        {"label": "samples nearer to their twin than to any training image"},
    ),
    "twin_win_lo": ("float64", "share", "lower end of its 95 % interval over samples"),
    "twin_win_hi": ("float64", "share", "upper end of its 95 % interval over samples"),
    "twin_ceiling": ("float64", "", "the same median for the same half and other initial weights"),
    "twin_ceiling_lo": ("float64", "", "lower end of its 95 % interval over samples"),
    "twin_ceiling_hi": ("float64", "", "upper end of its 95 % interval over samples"),
    "twin_baseline": ("float64", "", "the same median for shuffled pairs: what samples have in common by chance"),
    "twin_baseline_lo": ("float64", "", "lower end of its 95 % interval over samples"),
    "twin_baseline_hi": ("float64", "", "upper end of its 95 % interval over samples"),
    "twin_pairs": (
        "int64",
        "pairs",
        "of samples, none constant, or most similar to an image that is in both halves",
        {"role": "count"},
    ),
    "twin_shared": ("int64", "images", "training images with a near-duplicate in the other half"),
}

SEED = 7
BLOCK = 1 << 24  # cosines held at once


class TwinSamples(Protocol):
    """Another trajectory: its samples from the same noise, and its training images."""

    samples: np.ndarray
    train: np.ndarray


def measure(
    samples: np.ndarray,
    train: np.ndarray,
    twin: TwinSamples,
    sibling: TwinSamples,
    mirrored: bool = False,
    *,
    resamples: Annotated[int, Gt(0)] = 1000,
) -> Result:
    """Cosines of paired samples a of this network and b of its twin, each image's own mean removed.

    The twin is trained on the other half with initial weights of its own, the sibling on the same half. A pair wins
    half a point where cos(a, b) exceeds every cos(a, t) over this half's training images, and half where it exceeds
    every cos(b, t) over the other's. Constant images have no cosine, and their pairs are left out. `mirrored`: training
    showed mirror images too, and they are training images here. Pairs of which a or b is most similar to a training
    image that is in both halves are left out: two that copy it agree, and have not learned the distribution. Read
    twin_cos between its baseline and its ceiling.

    The intervals are bootstraps over samples, the networks and the training images fixed; all medians use the same
    resamples.

    resamples: bootstrap replicates.
    """
    a, b, c = (centred(images) for images in (samples, twin.samples, sibling.samples))
    whole = np.isfinite(a).all(1) & np.isfinite(b).all(1) & np.isfinite(c).all(1)
    a, b, c = a[whole], b[whole], c[whole]
    in_both = near_duplicates(train, twin.train, mirrored), near_duplicates(twin.train, train, mirrored)
    ours, theirs = (with_mirrors(t) if mirrored else t for t in (train, twin.train))
    if in_both[0].any():
        ours_in_both, theirs_in_both = (np.tile(each, 2) if mirrored else each for each in in_both)
        kept = ~(_nearest_is(a, ours, ours_in_both) | _nearest_is(b, theirs, theirs_in_both))
        a, b, c = a[kept], b[kept], c[kept]
    counts = {"twin_pairs": len(a), "twin_shared": int(in_both[0].sum())}
    if len(a) == 0:
        return Result(dict.fromkeys(COLUMNS, None) | counts)
    pair = cosines(a, b)
    win = (pair > nearest(a, ours)) / 2 + (pair > nearest(b, theirs)) / 2
    chance = np.random.default_rng(SEED)
    drawn = chance.integers(len(pair), size=(resamples, len(pair)))
    medians = {"twin_cos": pair, "twin_ceiling": cosines(a, c)}
    if len(a) > 1:
        medians["twin_baseline"] = cosines(a, np.roll(b, 1, axis=0))
    values: dict[str, float | int | str | bool | None] = dict.fromkeys(COLUMNS) | counts
    summaries = {name: (np.median(each), np.median(each[drawn], axis=1)) for name, each in medians.items()}
    for name, (value, spread) in (summaries | {"twin_win": (win.mean(), win[drawn].mean(axis=1))}).items():
        low, high = np.quantile(spread, [0.025, 0.975])
        values |= {name: float(value), f"{name}_lo": float(low), f"{name}_hi": float(high)}
    return Result(values)


def centred(images: np.ndarray) -> np.ndarray:
    """Unit vectors (n, d) float64 of images without their own mean; NaN for a constant image."""
    x = flat(images).astype(np.float64)
    x = x - x.mean(axis=1, keepdims=True)
    length = np.linalg.norm(x, axis=1, keepdims=True)
    unit: np.ndarray = np.divide(x, length, out=np.full_like(x, np.nan), where=length > 1e-6 * np.sqrt(x.shape[1]))
    return unit


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """cos(a_i, b_i) of unit vectors (n, d): (n,)."""
    return np.asarray(np.einsum("nd,nd->n", a, b))


def _nearest_is(x: np.ndarray, train: np.ndarray, some: np.ndarray) -> np.ndarray:
    """Whether the training image most similar to each unit vector (n, d) is one of `some` (N,)."""
    return nearest(x, train[some]) >= nearest(x, train[~some])


def nearest(x: np.ndarray, train: np.ndarray) -> np.ndarray:
    """The largest cosine of each unit vector (n, d) with any training image; −1 where all of those are constant."""
    images = centred(train)
    images = images[np.isfinite(images).all(axis=1)]
    if len(images) == 0:
        return np.full(len(x), -1.0)
    rows = max(1, BLOCK // len(images))
    return np.concatenate([(x[k : k + rows] @ images.T).max(axis=1) for k in range(0, len(x), rows)])
