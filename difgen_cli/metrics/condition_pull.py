"""How far a condition pulls the denoiser: a sign of copies of images that one condition alone has (Wen et al. 2024)."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from difgen_cli.metrics import Result, Shared, Value
from difgen_cli.metrics._groups import quantile
from difgen_cli.metrics._noise import BLOCK_ELEMENTS, device_of, estimate
from difgen_cli.metrics._ranks import auroc
from difgen_cli.metrics.memorization import THRESHOLD, ratio
from difgen_cli.neighbours import Repeats, groups

if TYPE_CHECKING:
    from difgen_cli.diffusion import DenoiserLike

VERSION = 1
NEEDS = ("dropped condition",)  # of the network: what it gives without its condition

COLUMNS = {
    "cfg_mag": (
        "float64",
        "rms",
        "mean over samples and noise levels of |D(x, c) - D(x)| / sigma, per value: the difference of predicted noises",
        {"label": "pull of the condition (rms of noise)"},
    ),
    "cfg_mag_lo": ("float64", "rms", "lower end of its 95 % interval over samples"),
    "cfg_mag_hi": ("float64", "rms", "upper end of its 95 % interval over samples"),
    "cfg_mag_auc": (
        "float64",
        "",
        "AUROC of a sample's pull, copies by the ratio rule against all others: 0.5 where it says nothing of copies",
        {"label": "AUROC of the condition's pull", "scale": "share"},
    ),
    "cfg_mag_auc_lo": ("float64", "", "lower end of its 95 % interval over samples, DeLong's on the logit scale"),
    "cfg_mag_auc_hi": ("float64", "", "upper end of its 95 % interval over samples"),
    "cfg_mag_most": ("float64", "rms", "the largest mean of a condition with five samples or more"),
    "cfg_mag_most_label": ("int64", "", "that condition", {"role": "count"}),
}

TABLES = {
    "condition_pull": {
        "label": ("int64", "", "condition that samples were drawn under"),
        "samples": ("int64", "samples", "drawn under it"),
        "train_images": ("int64", "images", "of the training subset that have it"),
        "cfg_mag": ("float64", "rms", "mean pull of its samples"),
        "cfg_mag_lo": ("float64", "rms", "lower end of its 95 % interval over samples"),
        "cfg_mag_hi": ("float64", "rms", "upper end of its 95 % interval over samples"),
        "copies": ("int64", "samples", "of them that are copies by the ratio rule"),
    },
    "condition_pull_samples": {
        "seed": ("int64", "", "number of the sample"),
        "label": ("int64", "", "condition that it was drawn under"),
        "cfg_mag": ("float64", "rms", "its pull, the mean over noise levels"),
        "memorized": ("bool", "", "d1/d2 < 1/3"),
    },
    "condition_pull_levels": {
        "sigma": ("float64", "", "noise level"),
        "sigma_rel": ("float64", "sigma_d", "noise level over the data's standard deviation"),
        "cfg_mag": ("float64", "rms", "mean pull over samples"),
        "cfg_mag_auc": ("float64", "", "AUROC of the pull at this level alone, copies against all others"),
        "cfg_mag_auc_lo": ("float64", "", "lower end of its 95 % interval"),
        "cfg_mag_auc_hi": ("float64", "", "upper end of its 95 % interval"),
    },
}

LEVELS = (0.1, 0.2, 0.5, 1.0, 2.0, 4.0, 8.0)  # in units of σ_d; the sampler's own levels nearest to them
LEAST = 5  # samples of a condition whose mean is told

States = Callable[[Sequence[float]], tuple[np.ndarray, np.ndarray]]


def measure(
    denoiser: "DenoiserLike",
    states: States,
    samples: np.ndarray,
    sample_labels: np.ndarray | None,
    train: np.ndarray,
    train_labels: np.ndarray | None,
    sigma_data: float,
    shared: Shared,
    mirrored: bool = False,
) -> Result:
    """‖D(x, c) − D(x, ∅)‖ / (σ √d) along the sampler's way, of each sample, of each condition, and as a sign of copies.

    That is the difference of the two noises ε = (x − D)/σ which a guided sampler multiplies by its weight; Wen et al.
    2024 take its mean over the steps of the sampler, and here it is that over seven noise levels. The network itself is
    asked, at the states of the sampler that may be guided. A condition that only one image has pulls to that image at
    all levels; one that many images share pulls to their mean, at high levels alone. One such condition hides in a
    mean: the table `condition_pull` has a line for each, and cfg_mag_most the largest of those that have five samples.

    The AUROC is None where all samples are copies, or none is. Without a condition nothing pulls: 0.
    """
    sigmas, x = states(LEVELS)
    values: dict[str, Value] = dict.fromkeys(COLUMNS)
    if sample_labels is None:
        return Result(values | {"cfg_mag": 0.0}, {name: _empty(name) for name in TABLES})
    if not len(sigmas):  # the denoiser is for none of them
        return Result(values, {name: _empty(name) for name in TABLES})
    group = shared("repeats", lambda: {"group": groups(train, mirrored)})["group"]
    repeats = Repeats(train, group, mirrored)
    memorized = (ratio(repeats.nearest(samples)[0]) < THRESHOLD) & (repeats.count > 1)
    pulls = np.stack([pull(denoiser, at, float(s), sample_labels) for s, at in zip(sigmas, x, strict=True)])
    own = pulls.mean(axis=0)
    low, high = _interval(own)
    values |= {"cfg_mag": float(own.mean()), "cfg_mag_lo": low, "cfg_mag_hi": high}
    values |= zip(("cfg_mag_auc", "cfg_mag_auc_lo", "cfg_mag_auc_hi"), _area(own, memorized), strict=True)
    lines = list(_conditions(own, sample_labels, memorized, train_labels))
    if many := [line for line in lines if line["samples"] >= LEAST]:
        most = max(many, key=lambda line: line["cfg_mag"])
        values |= {"cfg_mag_most": float(most["cfg_mag"]), "cfg_mag_most_label": int(most["label"])}
    levels = [
        {"sigma": s, "sigma_rel": s / sigma_data, "cfg_mag": at.mean()}
        | dict(zip(("cfg_mag_auc", "cfg_mag_auc_lo", "cfg_mag_auc_hi"), _area(at, memorized), strict=True))
        for s, at in zip(sigmas, pulls, strict=True)
    ]
    of_samples = {"seed": np.arange(len(own)), "label": sample_labels, "cfg_mag": own, "memorized": memorized}
    return Result(values, {"condition_pull": _table("condition_pull", lines), "condition_pull_samples": of_samples,
                           "condition_pull_levels": _table("condition_pull_levels", levels)})  # fmt: skip


def pull(denoiser: "DenoiserLike", x: np.ndarray, sigma: float, labels: np.ndarray) -> np.ndarray:
    """‖D(x, c) − D(x, ∅)‖ / (σ √d) at one absolute σ, of states x (n, ...) with labels (n,): (n,) float64."""
    import torch

    from difgen_cli.diffusion import to_tensor

    device, block, parts = device_of(denoiser), max(1, BLOCK_ELEMENTS // x[0].size), []
    for start in range(0, len(x), block):
        rows = slice(start, start + block)
        state, given = to_tensor(x[rows]).to(device), torch.from_numpy(np.array(labels[rows])).to(device)
        apart = estimate(denoiser, state, sigma, given) - estimate(denoiser, state, sigma, None)
        parts.append(apart.flatten(1).double().square().mean(1).sqrt().cpu().numpy() / sigma)
    return np.concatenate(parts)


def _conditions(
    own: np.ndarray, labels: np.ndarray, memorized: np.ndarray, train_labels: np.ndarray | None
) -> Iterator[dict[str, float]]:
    """The line of each condition that samples have."""
    for label in np.unique(labels):
        of_label = labels == label
        low, high = _interval(own[of_label])
        yield {
            "label": int(label), "samples": int(of_label.sum()), "cfg_mag": float(own[of_label].mean()),
            "train_images": 0 if train_labels is None else int((train_labels == label).sum()),
            "cfg_mag_lo": np.nan if low is None else low, "cfg_mag_hi": np.nan if high is None else high,
            "copies": int(memorized[of_label].sum()),
        }  # fmt: skip


def _area(pulls: np.ndarray, memorized: np.ndarray) -> tuple[float | None, float | None, float | None]:
    """The AUROC of copies against the others, and its interval; None without both."""
    if memorized.all() or not memorized.any():
        return None, None, None
    area = auroc(pulls[memorized], pulls[~memorized])
    return area.value, area.lower, area.upper


def _interval(x: np.ndarray) -> tuple[float, float] | tuple[None, None]:
    """Student's 95 % interval of a mean of numbers >= 0; none below five of them."""
    if len(x) < LEAST:
        return None, None
    reach = quantile(len(x) - 1) * float(x.std(ddof=1)) / np.sqrt(len(x))
    return max(0.0, float(x.mean() - reach)), float(x.mean() + reach)


def _table(name: str, lines: Sequence[dict[str, float | None]] | Sequence[dict[str, float]]) -> dict[str, np.ndarray]:
    kinds = {column: np.int64 if spec[0] == "int64" else np.float64 for column, spec in TABLES[name].items()}
    return {column: np.array([line[column] for line in lines], kind) for column, kind in kinds.items()}


def _empty(name: str) -> dict[str, np.ndarray]:
    kinds = {"int64": np.int64, "float64": np.float64, "bool": np.bool_}
    return {column: np.zeros(0, kinds[spec[0]]) for column, spec in TABLES[name].items()}
