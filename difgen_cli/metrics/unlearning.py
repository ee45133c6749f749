"""What a model still knows of images to be unlearnt, and of those that are kept: copies, membership and gap of each.

The three are what `memorization`, `membership` and `gap` measure of all training images. A model that was retrained
without the images to be unlearnt is compared with the same images, and shows what is left to a model that never saw
them.
"""

from typing import TYPE_CHECKING, Annotated

import numpy as np
from annotated_types import Ge

from difgen_cli.metrics import Result, Shared, Value, gap_of, wilson
from difgen_cli.metrics._noise import HELD_OUT, TRAIN, bank, device_of, losses, of_known_conditions
from difgen_cli.metrics.membership import DRAWS, NAMED, auc_columns
from difgen_cli.metrics.memorization import PROBE_NOISE, PROBE_SEED, PROBES, THRESHOLD, ratio
from difgen_cli.neighbours import Repeats, distinct, near_duplicates

if TYPE_CHECKING:
    from difgen_cli.diffusion import DenoiserLike

VERSION = 1
NEEDS = ("posterior mean",)  # of the denoiser: what the mean of clean images given x is
# Columns that take H for what T could have been: see `metrics/blind.py`.
NON_MEMBERS = ("unlearnt_mia_auc_", "unlearnt_gap_", "kept_mia_auc_", "kept_gap_")
HELD_OUT_MIN = 1

COLUMNS = {
    "unlearnt_copies": (
        "float64",
        "share",
        "samples with d1/d2 < 1/3 in T whose nearest training image is to be unlearnt",
        {"label": "samples that copy images to be unlearnt", "scale": "share"},
    ),
    "unlearnt_copies_lo": ("float64", "share", "lower end of its 95 % Wilson interval"),
    "unlearnt_copies_hi": ("float64", "share", "upper end of its 95 % Wilson interval"),
    "unlearnt_copies_control": ("float64", "share", "the same for held-out images in place of samples"),
    "unlearnt_copies_control_lo": ("float64", "share", "lower end of its 95 % Wilson interval"),
    "unlearnt_copies_control_hi": ("float64", "share", "upper end of its 95 % Wilson interval"),
    "unlearnt_copied": ("int64", "images", "distinct images to be unlearnt of which samples are copies"),
    "unlearnt_power": ("float64", "share", "images to be unlearnt plus noise of 0.1 a pixel that the rule catches"),
    "unlearnt_mia_auc_025": (
        "float64",
        "",
        "AUROC of minus the denoising loss at 0.25 sigma_d, images to be unlearnt against H",
    ),
    "unlearnt_mia_auc_025_lo": ("float64", "", "lower end of its 95 % interval over images, DeLong's on the logit"),
    "unlearnt_mia_auc_025_hi": ("float64", "", "upper end of its 95 % interval over images"),
    "unlearnt_mia_auc_050": (
        "float64",
        "",
        "the same at 0.5 sigma_d: 0.5 where they look unseen, below where they look worse than unseen",
        {"label": "membership AUROC of images to be unlearnt (0.5 σ_d)"},
    ),
    "unlearnt_mia_auc_050_lo": ("float64", "", "lower end of its 95 % interval"),
    "unlearnt_mia_auc_050_hi": ("float64", "", "upper end of its 95 % interval"),
    "unlearnt_mia_auc_100": ("float64", "", "the same at sigma_d"),
    "unlearnt_mia_auc_100_lo": ("float64", "", "lower end of its 95 % interval"),
    "unlearnt_mia_auc_100_hi": ("float64", "", "upper end of its 95 % interval"),
    "unlearnt_gap_050": (
        "float64",
        "",
        "L_H over the loss on images to be unlearnt, minus 1, at 0.5 sigma_d",
        {"label": "gap of images to be unlearnt (0.5 σ_d)", "scale": "gain"},
    ),
    "unlearnt_gap_050_lo": ("float64", "", "lower end of its 95 % interval over images"),
    "unlearnt_gap_050_hi": ("float64", "", "upper end of its 95 % interval over images"),
    "unlearnt_images": (
        "int64",
        "images",
        "to be unlearnt whose loss is measured: they have no near-duplicate that is kept",
    ),
    "kept_copies": (
        "float64",
        "share",
        "samples with d1/d2 < 1/3 in T whose nearest training image is kept",
        {"label": "samples that copy images that are kept", "scale": "share"},
    ),
    "kept_copies_lo": ("float64", "share", "lower end of its 95 % Wilson interval"),
    "kept_copies_hi": ("float64", "share", "upper end of its 95 % Wilson interval"),
    "kept_copies_control": ("float64", "share", "the same for held-out images in place of samples"),
    "kept_copies_control_lo": ("float64", "share", "lower end of its 95 % Wilson interval"),
    "kept_copies_control_hi": ("float64", "share", "upper end of its 95 % Wilson interval"),
    "kept_copied": ("int64", "images", "distinct images that are kept of which samples are copies"),
    "kept_power": ("float64", "share", "images that are kept plus noise of 0.1 a pixel that the rule catches"),
    "kept_mia_auc_025": ("float64", "", "AUROC of minus the denoising loss at 0.25 sigma_d, kept images against H"),
    "kept_mia_auc_025_lo": ("float64", "", "lower end of its 95 % interval over images, DeLong's on the logit"),
    "kept_mia_auc_025_hi": ("float64", "", "upper end of its 95 % interval over images"),
    "kept_mia_auc_050": (
        "float64",
        "",
        "the same at 0.5 sigma_d",
        {"label": "membership AUROC of images that are kept (0.5 σ_d)"},
    ),
    "kept_mia_auc_050_lo": ("float64", "", "lower end of its 95 % interval"),
    "kept_mia_auc_050_hi": ("float64", "", "upper end of its 95 % interval"),
    "kept_mia_auc_100": ("float64", "", "the same at sigma_d"),
    "kept_mia_auc_100_lo": ("float64", "", "lower end of its 95 % interval"),
    "kept_mia_auc_100_hi": ("float64", "", "upper end of its 95 % interval"),
    "kept_gap_050": (
        "float64",
        "",
        "L_H over the loss on images that are kept, minus 1, at 0.5 sigma_d",
        {"label": "gap of images that are kept (0.5 σ_d)", "scale": "gain"},
    ),
    "kept_gap_050_lo": ("float64", "", "lower end of its 95 % interval over images"),
    "kept_gap_050_hi": ("float64", "", "upper end of its 95 % interval over images"),
    "kept_images": ("int64", "images", "that are kept whose loss is measured"),
}  # fmt: skip

GAP_LEVEL = 1  # of NAMED: 0.5 σ_d
RESAMPLES = 1000

Labelled = tuple[np.ndarray, np.ndarray | None]


def measure(
    denoiser: "DenoiserLike",
    samples: np.ndarray,
    train: np.ndarray,
    held_out: np.ndarray,
    train_labels: np.ndarray | None,
    held_out_labels: np.ndarray | None,
    unlearn: np.ndarray,
    sigma_data: float,
    shared: Shared,
    mirrored: bool = False,
    *,
    images: Annotated[int, Ge(1)] = 1024,
) -> Result:
    """Copies, membership and gap of the training images that `unlearn` (N,) bool marks, and of those that are kept.

    A sample is a copy by the ratio rule in all of T, and of the group of its nearest training image: so the two shares
    add up to mem_frac. Losses are means over 8 draws of noise for each image. An image to be unlearnt that has a
    near-duplicate among those that are kept is still trained on, and its loss not looked at; nor are held-out images
    of conditions that a group does not have.

    images: of each group and of H whose loss is measured, at most.
    """
    if not 0 < unlearn.sum() < len(train):
        raise ValueError(f"unlearning needs images of both groups: {unlearn.sum()} of {len(train)} are to be unlearnt")
    values: dict[str, Value] = dict.fromkeys(COLUMNS)
    values |= _copies(samples, train, held_out, unlearn, shared, mirrored)
    kept_twice = near_duplicates(train[unlearn], train[~unlearn], mirrored)
    still_there = np.flatnonzero(unlearn)[kept_twice]
    for name, marked in (("unlearnt", unlearn), ("kept", ~unlearn)):
        places = np.setdiff1d(np.flatnonzero(marked), still_there)
        members = _once(train[places], None if train_labels is None else train_labels[places], images)
        others = _once(*of_known_conditions(held_out, held_out_labels, members[1]), images)
        values[f"{name}_images"] = len(members[0])
        if len(members[0]) and len(others[0]):
            values |= _of_losses(name, denoiser, members, others, sigma_data)
    return Result(values)


def _copies(
    samples: np.ndarray, train: np.ndarray, held_out: np.ndarray, unlearn: np.ndarray, shared: Shared, mirrored: bool
) -> dict[str, Value]:
    """Of each group the share of samples that copy it; nothing where T is a single distinct image."""
    reference = shared("unlearning", lambda: _reference(train, held_out, mirrored))
    repeats = Repeats(train, reference["group"], mirrored)
    if repeats.count < 2:
        return {}
    distances, indices = repeats.nearest(samples)
    copied, nearest = ratio(distances) < THRESHOLD, indices[:, 0]
    values: dict[str, Value] = {}
    for name, marked in (("unlearnt", unlearn), ("kept", ~unlearn)):
        values |= _share(f"{name}_copies", copied & marked[nearest])
        control = (reference["ratios"] < THRESHOLD) & marked[reference["nearest"]]
        values |= _share(f"{name}_copies_control", control) if len(held_out) else {}
        values[f"{name}_copied"] = len(np.unique(repeats.group[nearest[copied & marked[nearest]]]))
        probed = reference["probe_ratios"][marked[: len(reference["probe_ratios"])]]
        values[f"{name}_power"] = float((probed < THRESHOLD).mean()) if len(probed) else None
    return values


def _reference(train: np.ndarray, held_out: np.ndarray, mirrored: bool) -> dict[str, np.ndarray]:
    """What every model shares: groups of repeats, and the neighbours of held-out and of noisy training images."""
    repeats = Repeats.of(train, mirrored)
    to_train, indices = repeats.nearest(held_out)
    probes = train[:PROBES]
    noise = np.random.default_rng(PROBE_SEED).standard_normal(probes.shape, np.float32)
    probed, _ = repeats.nearest(probes + np.float32(PROBE_NOISE) * noise)
    return {
        "group": repeats.group, "ratios": ratio(to_train), "nearest": indices[:, 0], "probe_ratios": ratio(probed),
    }  # fmt: skip


def _share(name: str, hits: np.ndarray) -> dict[str, Value]:
    lower, upper = wilson(float(hits.sum()), len(hits))
    return {name: float(hits.mean()), f"{name}_lo": lower, f"{name}_hi": upper}


def _of_losses(
    name: str, denoiser: "DenoiserLike", members: Labelled, others: Labelled, sigma_data: float
) -> dict[str, Value]:
    """Membership and gap of a group against held-out images."""
    levels, device = sigma_data * np.array(list(NAMED)), device_of(denoiser)
    of_group, of_H = (
        losses(denoiser, bank(*part, DRAWS, split, device), levels).mean
        for split, part in ((TRAIN, members), (HELD_OUT, others))
    )
    values: dict[str, Value] = {**auc_columns(f"{name}_mia_auc", -of_group, -of_H)}
    gap = gap_of(of_group[:, [GAP_LEVEL]], of_H[:, [GAP_LEVEL]], RESAMPLES)
    ends = {"": gap.log_ratio, "_lo": gap.lower, "_hi": gap.upper}
    return values | {
        f"{name}_gap_050{end}": float(np.expm1(at[0])) if np.isfinite(at[0]) else None for end, at in ends.items()
    }


def _once(x: np.ndarray, labels: np.ndarray | None, images: int) -> Labelled:
    """The first `images` distinct ones, with their labels."""
    places = distinct(x, count=images)
    return x[places], None if labels is None else labels[places]
