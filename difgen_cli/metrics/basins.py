"""Does the sampler give an image back that it is begun from with noise? The share of walks that return to their own."""

from collections.abc import Callable
from typing import Annotated

import numpy as np
from annotated_types import Gt

from difgen_cli.metrics import Result, Value, wilson
from difgen_cli.metrics._intervals import crossing_columns
from difgen_cli.metrics._noise import HELD_OUT, TRAIN, of_known_conditions, unit_noise_like
from difgen_cli.metrics.memorization import THRESHOLD, ratio
from difgen_cli.neighbours import Repeats, distinct

VERSION = 1
HELD_OUT_MIN = 2

# Columns that take H for what T could have been: see `metrics/blind.py`.
NON_MEMBERS = ("basin_excess",)

COLUMNS = {
    "basin_return_050": (
        "float64",
        "share",
        "walks from training images with noise of 0.5 sigma_d that end at the image that they began from",
        {"scale": "share"},
    ),
    "basin_return_050_lo": ("float64", "share", "lower end of its 95 % Wilson interval"),
    "basin_return_050_hi": ("float64", "share", "upper end of its 95 % Wilson interval"),
    "basin_return_100": ("float64", "share", "the same at sigma_d", {"scale": "share"}),
    "basin_return_100_lo": ("float64", "share", "lower end of its 95 % interval"),
    "basin_return_100_hi": ("float64", "share", "upper end of its 95 % interval"),
    "basin_return_200": ("float64", "share", "the same at 2 sigma_d", {"scale": "share"}),
    "basin_return_200_lo": ("float64", "share", "lower end of its 95 % interval"),
    "basin_return_200_hi": ("float64", "share", "upper end of its 95 % interval"),
    "basin_control_050": ("float64", "share", "the same of held-out images, as many, at 0.5 sigma_d"),
    "basin_control_050_lo": ("float64", "share", "lower end of its 95 % Wilson interval"),
    "basin_control_050_hi": ("float64", "share", "upper end of its 95 % Wilson interval"),
    "basin_control_100": ("float64", "share", "the same at sigma_d"),
    "basin_control_100_lo": ("float64", "share", "lower end of its 95 % interval"),
    "basin_control_100_hi": ("float64", "share", "upper end of its 95 % interval"),
    "basin_control_200": ("float64", "share", "the same at 2 sigma_d"),
    "basin_control_200_lo": ("float64", "share", "lower end of its 95 % interval"),
    "basin_control_200_hi": ("float64", "share", "upper end of its 95 % interval"),
    "basin_excess": (
        "float64",
        "share",
        "basin_return_100 - basin_control_100: 0 where training images are returned to as unseen ones are",
        {"scale": "difference"},
    ),
    "basin_excess_lo": ("float64", "share", "lower end of its 95 % interval, Newcombe's of two shares"),
    "basin_excess_hi": ("float64", "share", "upper end of its 95 % interval"),
    "basin_sigma50": (
        "float64",
        "sigma_d",
        "noise level from which half of the training images are given back; missing outside of the levels asked",
        {"label": "noise level σ / σ_d with half of T given back", "scale": "log"},
    ),
    "basin_sigma50_lo": ("float64", "sigma_d", "lower end of its 95 % interval, by that of the shares"),
    "basin_sigma50_hi": ("float64", "sigma_d", "upper end of its 95 % interval"),
    "basin_sigma50_control": ("float64", "sigma_d", "the same of held-out images"),
    "basin_walks": ("int64", "walks", "at each noise level, of T and as many of H", {"role": "count"}),
}

TABLES = {
    "basins": {
        "sigma": ("float64", "", "noise level that walks begin at"),
        "sigma_rel": ("float64", "sigma_d", "noise level over the data's standard deviation"),
        "basin_return": ("float64", "share", "walks from training images that end at their own"),
        "basin_return_lo": ("float64", "share", "lower end of its 95 % Wilson interval"),
        "basin_return_hi": ("float64", "share", "upper end of its 95 % Wilson interval"),
        "basin_control": ("float64", "share", "walks from held-out images that end at their own"),
        "basin_control_lo": ("float64", "share", "lower end of its 95 % Wilson interval"),
        "basin_control_hi": ("float64", "share", "upper end of its 95 % Wilson interval"),
    }
}

NAMED = {0.5: "050", 1.0: "100", 2.0: "200"}  # noise levels with columns
EXCESS_AT = 1.0  # the level of the excess, fixed beforehand

Walks = Callable[[np.ndarray, float, np.ndarray | None], np.ndarray]
Labelled = tuple[np.ndarray, np.ndarray | None]


def measure(
    walks: Walks,
    train: np.ndarray,
    held_out: np.ndarray,
    train_labels: np.ndarray | None,
    held_out_labels: np.ndarray | None,
    sigma_data: float,
    mirrored: bool = False,
    *,
    sigmas: tuple[float, ...] = (0.125, 0.25, 4.0, 8.0),
    images: Annotated[int, Gt(0)] = 128,
) -> Result:
    """One walk of the sampler from each image at each noise level, x = x₀ + σn with the same n at all of them.

    A walk returns where its end is a copy of x₀ by the ratio rule (the nearest distinct image is x₀, and at less than a
    third of the distance to the next) among as many distinct images of x₀'s own split as both splits have: so chance is
    the same for T and H, and the share of a model that knows neither is the same too. Held-out images of a condition
    that T does not have are left out. `mirrored`: training showed mirror images too, so that an image's mirror image is
    itself.

    sigmas: noise levels of the table beside 0.5, 1 and 2, in units of sigma_d, above 0.
    images: that walks begin from in each split, at most; one walk each.
    """
    if min(sigmas, default=1.0) <= 0:
        raise ValueError(f"basins: sigmas must be above 0, not {min(sigmas)}")
    held_out, held_out_labels = of_known_conditions(held_out, held_out_labels, train_labels)
    splits = [_once(train, train_labels, mirrored), _once(held_out, held_out_labels, mirrored)]
    size = min(len(x) for x, _ in splits)
    if size < HELD_OUT_MIN:
        raise ValueError(
            f"basins needs {HELD_OUT_MIN} distinct images of T, and of H in its conditions: there are "
            f"{len(splits[0][0])} and {len(splits[1][0])}"
        )
    relative = np.unique([*sigmas, *NAMED])
    n = min(size, images)
    hits = np.empty((2, len(relative), n))  # NaN at a level that the denoiser is not for
    for k, (split, (x, labels)) in enumerate(zip((TRAIN, HELD_OUT), splits, strict=True)):
        candidates = Repeats(x[:size], np.arange(size), mirrored)
        noise = unit_noise_like(x[:n], split)
        given = None if labels is None else labels[:n]
        for level, sigma in enumerate(sigma_data * relative):
            ends = walks((x[:n] + sigma * noise).astype(np.float32), float(sigma), given)
            hits[k, level] = returned(ends, candidates)
    return Result(_values(relative, hits), {"basins": _table(relative, hits, sigma_data)})


def returned(ends: np.ndarray, candidates: Repeats) -> np.ndarray:
    """Whether the i-th end (n, ...) is a copy of the i-th candidate, by the ratio rule: (n,) 0 or 1; NaN of NaN."""
    missing = np.isnan(ends).reshape(len(ends), -1).any(axis=1)
    distances, places = candidates.nearest(np.where(np.isnan(ends), 0, ends).astype(np.float32))
    own = (places[:, 0] == np.arange(len(ends))) & (ratio(distances) < THRESHOLD)
    return np.where(missing, np.nan, own)


def difference(one: tuple[float, float, float], other: tuple[float, float, float]) -> tuple[float, float, float]:
    """The difference of two independent shares (value, lower, upper), with Newcombe's interval (1998, method 10)."""
    (a, a_low, a_high), (b, b_low, b_high) = one, other
    value = a - b
    return value, value - float(np.hypot(a - a_low, b_high - b)), value + float(np.hypot(a_high - a, b - b_low))


def _once(x: np.ndarray, labels: np.ndarray | None, mirrored: bool) -> Labelled:
    """One image of each group of near-duplicates, with its label."""
    places = distinct(x, mirrored)
    return x[places], None if labels is None else labels[places]


def _share(hits: np.ndarray) -> tuple[float, float, float]:
    """The share of hits (n,), and its interval; NaN for a level without walks."""
    if np.isnan(hits).any():
        return np.nan, np.nan, np.nan
    return float(hits.mean()), *wilson(float(hits.sum()), len(hits))


def _values(relative: np.ndarray, hits: np.ndarray) -> dict[str, Value]:
    values: dict[str, Value] = dict.fromkeys(COLUMNS)
    values["basin_walks"] = hits.shape[2]
    for sigma, word in NAMED.items():
        own, control = (_share(rows[relative == sigma][0]) for rows in hits)
        if np.isnan(own[0]):
            continue
        for name, share in (("basin_return", own), ("basin_control", control)):
            values |= zip((f"{name}_{word}", f"{name}_{word}_lo", f"{name}_{word}_hi"), share, strict=True)
        if sigma == EXCESS_AT:
            ends = difference(own, control)
            values |= zip(("basin_excess", "basin_excess_lo", "basin_excess_hi"), ends, strict=True)
    asked = ~np.isnan(hits[0]).any(axis=1)
    of_T, of_H = (np.array([_share(row) for row in rows[asked]]).reshape(-1, 3) for rows in hits)
    values |= crossing_columns("basin_sigma50", relative[asked], of_T)
    values["basin_sigma50_control"] = crossing_columns("", relative[asked], of_H)[""]
    return values


def _table(relative: np.ndarray, hits: np.ndarray, sigma_data: float) -> dict[str, np.ndarray]:
    table = {"sigma": sigma_data * relative, "sigma_rel": relative}
    for name, rows in zip(("basin_return", "basin_control"), hits, strict=True):
        shares = np.array([_share(row) for row in rows])
        table |= {f"{name}{end}": shares[:, k] for k, end in enumerate(("", "_lo", "_hi"))}
    return table
