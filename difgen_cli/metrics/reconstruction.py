"""What the denoiser makes of noisy training and held-out images, in a feature space (Kaiser & Kollmann 2026).

A sampler walks through its own states; here each begins at a real image. Where reconstructions of T are better than
those of H, and samples are no nearer to T than to H, the network has learnt T by heart and the sampler does not ask it.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import numpy as np
from annotated_types import Ge, Gt

from difgen_cli.metrics import Gap, Result, Value, gap_of, null_of, peak
from difgen_cli.metrics import _cosines as cosines
from difgen_cli.metrics._features import Embed, name_of, require_held_out
from difgen_cli.metrics._noise import device_of, of_known_conditions, within
from difgen_cli.metrics._reconstructions import NAME, Pair, images_of
from difgen_cli.metrics.gap import LEVELS_MIN
from difgen_cli.metrics.membership import once

if TYPE_CHECKING:
    from difgen_cli.diffusion import DenoiserLike

VERSION = 2
NEEDS = ("posterior mean",)  # of the denoiser: what the mean of clean images given x is
HELD_OUT_MIN = 2
# Columns that take H for what T could have been: see `metrics/blind.py`.
NON_MEMBERS = ("feat_gap_", "nn_lead", "nn_apart", "nn_share")

COLUMNS = {
    "rfd_train_025": ("float64", "features²", "Fréchet distance of D(x₀ + σn) to x₀, x₀ of T, at 0.25 sigma_d"),
    "rfd_train_025_lo": ("float64", "features²", "lower end of its 95 % interval over images and noise"),
    "rfd_train_025_hi": ("float64", "features²", "upper end of its 95 % interval over images and noise"),
    "rfd_train_050": ("float64", "features²", "the same at 0.5 sigma_d"),
    "rfd_train_050_lo": ("float64", "features²", "lower end of its 95 % interval"),
    "rfd_train_050_hi": ("float64", "features²", "upper end of its 95 % interval"),
    "rfd_train_100": ("float64", "features²", "the same at sigma_d"),
    "rfd_train_100_lo": ("float64", "features²", "lower end of its 95 % interval"),
    "rfd_train_100_hi": ("float64", "features²", "upper end of its 95 % interval"),
    "rfd_heldout_025": ("float64", "features²", "the same of as many held-out images, at 0.25 sigma_d"),
    "rfd_heldout_025_lo": ("float64", "features²", "lower end of its 95 % interval"),
    "rfd_heldout_025_hi": ("float64", "features²", "upper end of its 95 % interval"),
    "rfd_heldout_050": ("float64", "features²", "the same at 0.5 sigma_d"),
    "rfd_heldout_050_lo": ("float64", "features²", "lower end of its 95 % interval"),
    "rfd_heldout_050_hi": ("float64", "features²", "upper end of its 95 % interval"),
    "rfd_heldout_100": ("float64", "features²", "the same at sigma_d"),
    "rfd_heldout_100_lo": ("float64", "features²", "lower end of its 95 % interval"),
    "rfd_heldout_100_hi": ("float64", "features²", "upper end of its 95 % interval"),
    "feat_gap_025": (
        "float64",
        "",
        "mean squared error in features of reconstructions, H over T, less 1: 0.25 sigma_d",
    ),
    "feat_gap_025_lo": ("float64", "", "lower end of its 95 % interval over images"),
    "feat_gap_025_hi": ("float64", "", "upper end of its 95 % interval over images"),
    "feat_gap_050": ("float64", "", "the same at 0.5 sigma_d"),
    "feat_gap_050_lo": ("float64", "", "lower end of its 95 % interval"),
    "feat_gap_050_hi": ("float64", "", "upper end of its 95 % interval"),
    "feat_gap_100": ("float64", "", "the same at sigma_d"),
    "feat_gap_100_lo": ("float64", "", "lower end of its 95 % interval"),
    "feat_gap_100_hi": ("float64", "", "upper end of its 95 % interval"),
    "feat_gap_max": (
        "float64",
        "",
        "largest of them over the noise levels, by a spline",
        {"label": "largest gap in features over noise levels", "scale": "gain"},
    ),
    "feat_gap_max_lo": ("float64", "", "lower end of its 95 % interval: of the band, as the peak may be anywhere"),
    "feat_gap_max_hi": ("float64", "", "upper end of its 95 % interval: of one noise level, as the peak is at one"),
    "feat_gap_sigma": (
        "float64",
        "sigma_d",
        "noise level of the largest gap",
        {"label": "noise level σ / σ_d of the largest gap in features"},
    ),
    "feat_gap_null": ("float64", "", "95 % quantile of the largest gap between two random halves of H"),
    "nn_cos_rt_t": ("float64", "", "cosine of reconstructions of T with the nearest of T, the mean, at `sigma`"),
    "nn_cos_rt_t_lo": ("float64", "", "lower end of its 95 % interval over T, H and noise"),
    "nn_cos_rt_t_hi": ("float64", "", "upper end of its 95 % interval"),
    "nn_cos_rt_h": ("float64", "", "the same with the nearest of as many of H"),
    "nn_cos_rt_h_lo": ("float64", "", "lower end of its 95 % interval"),
    "nn_cos_rt_h_hi": ("float64", "", "upper end of its 95 % interval"),
    "nn_cos_rh_t": ("float64", "", "cosine of reconstructions of these of H with the nearest of T"),
    "nn_cos_rh_t_lo": ("float64", "", "lower end of its 95 % interval"),
    "nn_cos_rh_t_hi": ("float64", "", "upper end of its 95 % interval"),
    "nn_cos_rh_h": ("float64", "", "the same with the nearest of these of H"),
    "nn_cos_rh_h_lo": ("float64", "", "lower end of its 95 % interval"),
    "nn_cos_rh_h_hi": ("float64", "", "upper end of its 95 % interval"),
    "nn_cos_x_t": ("float64", "", "cosine of samples with the nearest of T"),
    "nn_cos_x_t_lo": ("float64", "", "lower end of its 95 % interval over T and samples"),
    "nn_cos_x_t_hi": ("float64", "", "upper end of its 95 % interval"),
    "nn_cos_x_h": ("float64", "", "the same with the nearest of as many of H"),
    "nn_cos_x_h_lo": ("float64", "", "lower end of its 95 % interval"),
    "nn_cos_x_h_hi": ("float64", "", "upper end of its 95 % interval"),
    "nn_lead": ("float64", "", "nn_cos_rt_t - nn_cos_rh_h: 0 where T is reconstructed as unseen images are"),
    "nn_lead_lo": ("float64", "", "lower end of its 95 % interval"),
    "nn_lead_hi": ("float64", "", "upper end of its 95 % interval"),
    "nn_apart": ("float64", "", "how much more reconstructions of T lean to T than those of H do"),
    "nn_apart_lo": ("float64", "", "lower end of its 95 % interval"),
    "nn_apart_hi": ("float64", "", "upper end of its 95 % interval"),
    "nn_share": (
        "float64",
        "",
        "where samples lie between reconstructions of H (0) and of T (1); missing where those are not surely apart",
        {"label": "samples between reconstructions of H (0) and of T (1)"},
    ),
    "nn_share_lo": ("float64", "", "lower end of its 95 % interval over T, H, samples and noise"),
    "nn_share_hi": ("float64", "", "upper end of its 95 % interval"),
    "nn_share_control": ("float64", "", "where unseen images lie, which lean to neither T nor H"),
    "recon_features": ("string", "", "the feature space", {"role": "features"}),
    "recon_images": ("int64", "images", "of T, and as many of H, reconstructed and compared with", {"role": "count"}),
}

TABLES = {
    "reconstruction": {
        "split": ("string", "", "train or heldout: whose reconstructions these are"),
        "sigma": ("float64", "", "noise level"),
        "sigma_rel": ("float64", "sigma_d", "noise level over the data's standard deviation"),
        "rfd": ("float64", "features²", "Fréchet distance of reconstructions to the same clean images"),
        "rfd_lo": ("float64", "features²", "lower end of its 95 % interval over images and noise"),
        "rfd_hi": ("float64", "features²", "upper end of its 95 % interval"),
        "feat_loss": ("float64", "features²", "mean squared error per feature of reconstructions"),
        "feat_gap": ("float64", "", "that of H over that of T, less 1, on both splits' lines; missing where one is 0"),
        "feat_gap_lo": ("float64", "", "lower end of its 95 % band, simultaneous over the noise levels"),
        "feat_gap_hi": ("float64", "", "upper end of its 95 % band, simultaneous over the noise levels"),
        "nn_cos_t": ("float64", "", "mean cosine of reconstructions with the nearest of T"),
        "nn_cos_h": ("float64", "", "the same with the nearest of as many of H"),
        "nn_share": ("float64", "", "where samples lie between reconstructions of H and T, on both splits' lines"),
        "nn_share_lo": ("float64", "", "lower end of its 95 % interval, at this noise level alone"),
        "nn_share_hi": ("float64", "", "upper end of its 95 % interval"),
        "n_pairs": ("int64", "pairs", "pairs of image and noise"),
    },
    "reconstruction_pictures": {
        "split": ("string", "", "train or heldout: whose image it is"),
        "image": ("int64", "", "its place among the images of its split that are compared, from 0"),
        "sigma": ("float64", "", "noise level"),
        "sigma_rel": ("float64", "sigma_d", "noise level over the data's standard deviation: that of the columns nn_"),
        "row": ("int64", "pixels", "from the top"),
        "column": ("int64", "pixels", "from the left"),
        "colour": ("int64", "", "0; or 0, 1, 2 for red, green, blue"),
        "clean": ("float64", "", "this value of the image, from -1 to 1"),
        "noisy": ("float64", "", "the same with noise"),
        "reconstruction": ("float64", "", "what the denoiser makes of it"),
    },
}
PICTURES, PIXELS_MOST = 3, 64**2  # images of a split, and how large they may be: a line of a table for each value

SPLITS = ("train", "heldout")
NAMED = {0.25: "025", 0.5: "050", 1.0: "100"}  # noise levels with columns, in units of σ_d


def measure(
    denoiser: "DenoiserLike",
    samples: np.ndarray,
    train: np.ndarray,
    held_out: np.ndarray,
    train_labels: np.ndarray | None,
    held_out_labels: np.ndarray | None,
    embed: Embed,
    sigma_data: float,
    mirrored: bool = False,
    *,
    sigmas: tuple[float, ...] = (0.0625, 0.125, 2.0, 4.0, 8.0),
    sigma: Annotated[float, Gt(0)] = 0.5,
    pairs: Annotated[int, Ge(2)] = 1024,
    resamples: Annotated[int, Ge(100)] = 1000,
    features: str = "auto",
    guided: bool = False,
) -> Result:
    """Reconstructions x_r = D(x₀ + σn; σ) of as many images of T as of H, against x₀ and against both sets.

    Images of H of a condition that T does not have are left out, and repeats count once. A reconstruction leans to the
    set that its own image is in, whatever was learnt; `nn_lead` and the gap compare the two splits. The share divides
    by `nn_apart`, and is missing where that is not three standard errors above 0. Intervals of cosines are over
    the images of T, of H and the samples, the model fixed. At levels that the denoiser is not for nothing is
    computed.

    sigmas: noise levels of the table beside 0.25, 0.5, 1 and `sigma`, in units of sigma_d, above 0.
    sigma: the noise level of the columns nn_, in units of sigma_d; compare with samples that stop there.
    pairs: of image and noise in each split, at least.
    resamples: of the bootstrap of the gap.
    features: the feature space; auto is the classifier where there are labels, and random_conv elsewhere.
    guided: look at the denoiser that the sampler follows, and not at the network by itself.
    """
    require_held_out(NAME, held_out, HELD_OUT_MIN)
    if min(sigmas, default=1.0) <= 0:
        raise ValueError(f"{NAME}: sigmas must be above 0, not {min(sigmas)}")
    trained_on, its_labels = of_known_conditions(held_out, held_out_labels, train_labels)
    sides = once(train, train_labels, pairs), once(trained_on, its_labels, pairs)
    images = images_of(sides, samples, pairs, embed, mirrored, device_of(denoiser))
    relative = np.unique([*sigmas, *NAMED, sigma])
    levels = sigma_data * relative
    inside = [int(k) for k in np.flatnonzero(within(denoiser, levels))]
    at_levels = {k: images.at(denoiser, float(levels[k])) for k in inside}
    parts, lines = {k: pair for k, (pair, _) in at_levels.items()}, {k: line for k, (_, line) in at_levels.items()}
    values: dict[str, Value] = dict.fromkeys(COLUMNS)
    values |= {"recon_features": name_of(embed, features), "recon_images": images.count}
    gap = gap_of(_stacked(parts, 0), _stacked(parts, 1), resamples) if parts else None
    values |= _errors(parts, relative, gap, resamples) if gap else {}
    if (at := int(np.flatnonzero(relative == sigma)[0])) in lines:
        values |= _cosine_columns(lines[at])
    common = {"sigma": levels, "sigma_rel": relative, "n_pairs": len(images.banks[0].images) * within(denoiser, levels)}
    tables = {"reconstruction": _table(common, parts, lines, gap)}
    if at in lines and train.ndim == 4 and train[0, ..., 0].size <= PIXELS_MOST:
        shown = images.pictures(denoiser, float(levels[at]), PICTURES)
        of_level = {name: np.full(len(shown["image"]), common[name][at]) for name in ("sigma", "sigma_rel")}
        tables["reconstruction_pictures"] = shown | of_level
    return Result(values, tables)


def _errors(parts: Mapping[int, Pair], relative: np.ndarray, gap: Gap, resamples: int) -> dict[str, Value]:
    """The columns of distances and gaps, at the levels inside; `gap` is over these."""
    values: dict[str, Value] = {}
    for place, (k, pair) in enumerate(parts.items()):
        if (word := NAMED.get(float(relative[k]))) is None:
            continue
        for split, part in zip(SPLITS, pair, strict=True):
            name = f"rfd_{split}_{word}"
            values |= {name: part.distance, f"{name}_lo": part.lower, f"{name}_hi": part.upper}
        ends = {"": gap.log_ratio, "_lo": gap.lower_alone, "_hi": gap.upper_alone}
        values |= {f"feat_gap_{word}{end}": _gain(float(at[place])) for end, at in ends.items()}
    if len(parts) < LEVELS_MIN:
        return values
    log_sigma = np.log(relative[list(parts)])
    values["feat_gap_null"] = null_of(_stacked(parts, 1), log_sigma, resamples)
    if np.isfinite(gap.log_ratio).all():
        height, place_of_peak = peak(gap.log_ratio, log_sigma)
        values |= {"feat_gap_max": _gain(float(height)), "feat_gap_sigma": float(np.exp(place_of_peak))}
        if np.isfinite(gap.lower).all():
            lower, upper = gap.peak_interval(log_sigma)
            values |= {"feat_gap_max_lo": _gain(lower), "feat_gap_max_hi": _gain(upper)}
    return values


def _stacked(parts: Mapping[int, Pair], side: int) -> np.ndarray:
    """The errors of T (0) or of H (1): (images, levels inside)."""
    return np.stack([pair[side].errors for pair in parts.values()], axis=1)


def _gain(log_ratio: float) -> float | None:
    return float(np.expm1(log_ratio)) if np.isfinite(log_ratio) else None


def _cosine_columns(line: cosines.Cosines) -> dict[str, Value]:
    """The columns nn_, from the cosines at their level."""
    named = {f"nn_cos_{name}": line.interval({name: 1.0}) for name in line.means}
    named |= {"nn_lead": line.interval(cosines.LEAD), "nn_apart": line.interval(cosines.APART_BY)}
    if share := line.share():
        named["nn_share"] = share
    values: dict[str, Value] = {"nn_share_control": line.share_control() if share else None}
    for name, interval in named.items():
        values |= {name: interval.value, f"{name}_lo": interval.lower, f"{name}_hi": interval.upper}
    return values


def _table(
    common: dict[str, np.ndarray], parts: Mapping[int, Pair], lines: Mapping[int, cosines.Cosines], gap: Gap | None
) -> dict[str, np.ndarray]:
    """All levels of T, then all of H; NaN at those that are not inside."""
    count = len(common["sigma"])
    table = {name: np.full((2, count), np.nan) for name in TABLES["reconstruction"]}
    for name, column in common.items():
        table[name][:] = column
    if gap:
        ends = (("feat_gap", gap.log_ratio), ("feat_gap_lo", gap.lower), ("feat_gap_hi", gap.upper))
        for name, logs in ends:
            table[name][:, list(parts)] = np.expm1(logs)
    for k, pair in parts.items():
        for row, (part, kind) in enumerate(zip(pair, ("rt", "rh"), strict=True)):
            numbers = {"rfd": part.distance, "rfd_lo": part.lower, "rfd_hi": part.upper}
            numbers |= {"feat_loss": float(part.errors.mean())}
            numbers |= {f"nn_cos_{of}": lines[k].means[f"{kind}_{of}"] for of in cosines.SETS}
            if share := lines[k].share():
                numbers |= {"nn_share": share.value, "nn_share_lo": share.lower, "nn_share_hi": share.upper}
            for name, number in numbers.items():
                table[name][row, k] = np.nan if number is None else number
    flat = {name: columns.reshape(-1) for name, columns in table.items()}
    return flat | {"split": np.repeat(SPLITS, count), "n_pairs": flat["n_pairs"].astype(np.int64)}
