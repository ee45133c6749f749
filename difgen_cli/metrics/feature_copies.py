"""Copies in any feature space: by the ratio rule, by a threshold on the cosine, and by what unseen images reach."""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from annotated_types import Ge, Le

from difgen_cli.metrics import Result, Shared, Value
from difgen_cli.metrics._features import Embed, features_of, name_of, nearest_of, sides_of
from difgen_cli.metrics._similarity import background_columns, nearest_cosines, share_columns
from difgen_cli.metrics.memorization import THRESHOLD, copy_tail, ratio
from difgen_cli.neighbours import Repeats, distinct, groups

VERSION = 1

COLUMNS = {
    "space_ratio": (
        "float64",
        "share",
        "samples with d1/d2 < 1/3 in the space, distances to the two nearest distinct training images",
        {"label": "copies by the ratio rule in the space", "scale": "share"},
    ),
    "space_ratio_lo": ("float64", "share", "lower end of its 95 % interval"),
    "space_ratio_hi": ("float64", "share", "upper end of its 95 % interval"),
    "space_ratio_control": ("float64", "share", "the same for held-out images in place of samples"),
    "space_ratio_control_lo": ("float64", "share", "lower end of its 95 % Wilson interval"),
    "space_ratio_control_hi": ("float64", "share", "upper end of its 95 % Wilson interval"),
    "space_ratio_train": ("float64", "share", "the same for each distinct training image among the others"),
    "space_ratio_train_lo": ("float64", "share", "lower end of its 95 % interval over training images"),
    "space_ratio_train_hi": ("float64", "share", "upper end of its 95 % interval over training images"),
    "space_near": (
        "float64",
        "share",
        "samples whose cosine with a training image is above the threshold: 0.5, which is for SSCD",
        {"label": "samples above the threshold", "scale": "share"},
    ),
    "space_near_lo": ("float64", "share", "lower end of its 95 % interval"),
    "space_near_hi": ("float64", "share", "upper end of its 95 % interval"),
    "space_near_control": ("float64", "share", "the same for held-out images in place of samples"),
    "space_near_control_lo": ("float64", "share", "lower end of its 95 % Wilson interval"),
    "space_near_control_hi": ("float64", "share", "upper end of its 95 % Wilson interval"),
    "space_near_train": (
        "float64",
        "share",
        "the same for each distinct training image among the others: the background of Somepalli et al. 2023",
    ),
    "space_near_train_lo": ("float64", "share", "lower end of its 95 % interval over training images"),
    "space_near_train_hi": ("float64", "share", "upper end of its 95 % interval over training images"),
    "gl": (
        "float64",
        "share",
        "generalization score: samples whose cosine with no training image is above 0.6 (Zhang et al. 2024, by SSCD)",
        {"label": "generalization score", "scale": "share"},
    ),
    "gl_lo": ("float64", "share", "lower end of its 95 % interval"),
    "gl_hi": ("float64", "share", "upper end of its 95 % interval"),
    "gl_control": ("float64", "share", "the same for held-out images in place of samples: the most that it can be"),
    "gl_control_lo": ("float64", "share", "lower end of its 95 % Wilson interval"),
    "gl_control_hi": ("float64", "share", "upper end of its 95 % Wilson interval"),
    "gl_train": ("float64", "share", "the same for each distinct training image among the others"),
    "gl_train_lo": ("float64", "share", "lower end of its 95 % interval over training images"),
    "gl_train_hi": ("float64", "share", "upper end of its 95 % interval over training images"),
    "space_tail": (
        "float64",
        "share",
        "samples whose cosine with a training image is above the held-out images' 99 % quantile: 0.01 without copies",
    ),
    "space_tail_lo": ("float64", "share", "lower end of its 95 % interval, the quantile's own uncertainty included"),
    "space_tail_hi": ("float64", "share", "upper end of its 95 % interval, the quantile's own uncertainty included"),
    "space_features": ("string", "", "the feature space"),
}

TABLES = {
    "feature_neighbours": {
        "seed": ("int64", "", "number of the sample"),
        "nn_index": ("int64", "", "place of the training image that is nearest in the space, in the subset"),
        "ratio": ("float64", "", "d1/d2 in the space; 1 where there is no second distinct image"),
        "cosine": ("float64", "", "largest cosine with a training image"),
    }
}


def measure(
    samples: np.ndarray,
    train: np.ndarray,
    held_out: np.ndarray,
    embed: Embed,
    shared: Shared,
    mirrored: bool = False,
    groups: np.ndarray | None = None,
    *,
    threshold: Annotated[float, Ge(-1), Le(1)] = 0.5,
    gl_threshold: Annotated[float, Ge(-1), Le(1)] = 0.6,
    features: str = "pixels",
) -> Result:
    """The share of samples that are copies in a space, beside held-out images and beside T's own images.

    Three rules. The ratio rule of `memorization`, with Euclidean distances of the features. The field's rule: the
    cosine with a training image above a threshold (Somepalli et al. 2023: 0.5 by SSCD; Zhang et al. 2024: 0.6), whose
    value is for that one space. And the cosine above what 99 % of the held-out images reach, which fits any space.

    Repeats and near-duplicates in pixels are one image, whatever the space: T then has the same images in all of them,
    no space merges images that merely have the same content, and it needs no limit of its own. Images that are alike in
    the space alone, as one and its mirror image may be, hide copies of each other from the ratio rule and not from the
    two others; space_near_train says how many there are. `mirrored`: training showed mirror images too, so that an
    image is as near as the nearer of its sides. `groups`: (n,) of samples that come in such, over which the intervals
    of their shares are then. Of a single distinct image there are no ratios, and without held-out images no controls:
    None. Features that are all zero have a cosine of 0 with everything.

    threshold: of space_near.
    gl_threshold: of gl.
    features: the feature space.
    """
    if not (len(samples) and len(train)):
        raise ValueError(f"feature_copies needs samples and training images: {len(samples)} and {len(train)}")
    real = features_of("feature_copies", embed, train)
    reference = shared("feature_copies", lambda: _reference(train, real, held_out, embed, mirrored))
    repeats = Repeats(train, reference["group"], mirrored)
    sides = sides_of("feature_copies", embed, samples, mirrored)
    ratios, places = _ratios(sides, real, repeats)
    near = nearest_cosines(sides, real)
    values: dict[str, Value] = dict.fromkeys(COLUMNS) | {"space_features": name_of(embed, features)}
    if repeats.count > 1:
        below = [part < THRESHOLD for part in (ratios, reference["ratios"], reference["train_ratios"])]
        values |= _three("space_ratio", below, groups)
    parts = near, reference["cosines"], reference["train_cosines"]
    values |= _three("space_near", [part > threshold for part in parts], groups)
    values |= _three("gl", [part <= gl_threshold for part in parts], groups)
    values |= {f"space{name[4:]}": value for name, value in copy_tail(-near, -reference["cosines"], groups).items()}
    table = {"seed": np.arange(len(samples)), "nn_index": places, "ratio": ratios, "cosine": near}
    return Result(values, {"feature_neighbours": table})


def _reference(
    train: np.ndarray, real: np.ndarray, held_out: np.ndarray, embed: Embed, mirrored: bool
) -> dict[str, np.ndarray]:
    """What every snapshot of the subset shares: held-out images and T's own, each image once, under the same rules."""
    repeats = Repeats(train, groups(train, mirrored), mirrored)
    unseen = sides_of("feature_copies", embed, held_out, mirrored) if len(held_out) else []
    once = distinct(train, mirrored)
    own = [side[once] for side in sides_of("feature_copies", embed, train, mirrored)]
    within = nearest_of(own, real[once], 2, exclude_self=True)[0]
    none = np.zeros(0)
    return {
        "group": repeats.group,
        "ratios": _ratios(unseen, real, repeats)[0] if unseen else none,
        "cosines": nearest_cosines(unseen, real) if unseen else none,
        "train_ratios": ratio(within) if len(once) > 2 else none,
        "train_cosines": nearest_cosines(own, real[once], exclude_self=True),
    }


def _ratios(sides: list[np.ndarray], real: np.ndarray, repeats: Repeats) -> tuple[np.ndarray, np.ndarray]:
    """d1/d2 (n,) of images with these sides, and the place (n,) of the nearest; 1 where there is no second image."""
    distances, places = repeats.neighbours([(side, real) for side in sides])
    return np.where(np.isfinite(distances[:, 1]), ratio(distances), 1.0), places[:, 0]


def _three(name: str, hits: Sequence[np.ndarray], groups: np.ndarray | None) -> dict[str, Value]:
    """The share that a rule finds of samples (n,), of held-out and of training images (m,), with intervals."""
    samples, held_out, train = hits
    return (
        share_columns(name, samples, groups)
        | share_columns(f"{name}_control", held_out)
        | background_columns(f"{name}_train", train)
    )
