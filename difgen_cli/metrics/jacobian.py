"""The derivative of the denoiser: how many directions it keeps, how sharply, from how far, and is it a gradient?"""

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from annotated_types import Ge, Gt, Lt

from difgen_cli.metrics import Result, Value
from difgen_cli.metrics._intervals import mean_columns, standard_error
from difgen_cli.metrics._noise import TRAIN, Bank, bank, device_of, within
from difgen_cli.metrics._spectrum import ROWS, STEPS, At, Derivative, estimated, exactly, pixels

if TYPE_CHECKING:
    from difgen_cli.diffusion import DenoiserLike

VERSION = 1
NEEDS = ("posterior mean",)  # of the denoiser: what the mean of clean images given x is

COLUMNS = {
    "jac_rank_025": ("float64", "", "singular values of dD/dx with 99 % of the energy, at 0.25 sigma_d"),
    "jac_rank_025_lo": ("float64", "", "lower end of its 95 % interval over images"),
    "jac_rank_025_hi": ("float64", "", "upper end of its 95 % interval over images"),
    "jac_rank_050": ("float64", "", "the same at 0.5 sigma_d"),
    "jac_rank_050_lo": ("float64", "", "lower end of its 95 % interval"),
    "jac_rank_050_hi": ("float64", "", "upper end of its 95 % interval"),
    "jac_rank_100": ("float64", "", "the same at sigma_d"),
    "jac_rank_100_lo": ("float64", "", "lower end of its 95 % interval"),
    "jac_rank_100_hi": ("float64", "", "upper end of its 95 % interval"),
    "jac_asym_025": ("float64", "", "|J - J'| / 2|J| of J = dD/dx, at 0.25 sigma_d: 0 for the gradient of a density"),
    "jac_asym_025_lo": ("float64", "", "lower end of its 95 % interval over images"),
    "jac_asym_025_hi": ("float64", "", "upper end of its 95 % interval over images"),
    "jac_asym_050": ("float64", "", "the same at 0.5 sigma_d"),
    "jac_asym_050_lo": ("float64", "", "lower end of its 95 % interval"),
    "jac_asym_050_hi": ("float64", "", "upper end of its 95 % interval"),
    "jac_asym_100": ("float64", "", "the same at sigma_d"),
    "jac_asym_100_lo": ("float64", "", "lower end of its 95 % interval"),
    "jac_asym_100_hi": ("float64", "", "upper end of its 95 % interval"),
    "jac_top_025": ("float64", "", "largest singular value of dD/dx, at 0.25 sigma_d"),
    "jac_top_025_lo": ("float64", "", "lower end of its 95 % interval over images"),
    "jac_top_025_hi": ("float64", "", "upper end of its 95 % interval over images"),
    "jac_top_050": ("float64", "", "the same at 0.5 sigma_d"),
    "jac_top_050_lo": ("float64", "", "lower end of its 95 % interval"),
    "jac_top_050_hi": ("float64", "", "upper end of its 95 % interval"),
    "jac_top_100": ("float64", "", "the same at sigma_d"),
    "jac_top_100_lo": ("float64", "", "lower end of its 95 % interval"),
    "jac_top_100_hi": ("float64", "", "upper end of its 95 % interval"),
    "corr_range_025": ("float64", "pixels", "mean distance that |dD/dx| reaches, at 0.25 sigma_d; missing for points"),
    "corr_range_025_lo": ("float64", "pixels", "lower end of its 95 % interval over images"),
    "corr_range_025_hi": ("float64", "pixels", "upper end of its 95 % interval over images"),
    "corr_range_050": ("float64", "pixels", "the same at 0.5 sigma_d"),
    "corr_range_050_lo": ("float64", "pixels", "lower end of its 95 % interval"),
    "corr_range_050_hi": ("float64", "pixels", "upper end of its 95 % interval"),
    "corr_range_100": ("float64", "pixels", "the same at sigma_d"),
    "corr_range_100_lo": ("float64", "pixels", "lower end of its 95 % interval"),
    "corr_range_100_hi": ("float64", "pixels", "upper end of its 95 % interval"),
    "jac_images": ("int64", "images", "training images, each with one draw of noise", {"role": "count"}),
    "jac_products": (
        "int64",
        "products",
        "of dD/dx with a vector, of one image at one noise level: as many as an image has values where it is exact",
        {"role": "count"},
    ),
}

TABLES = {
    "jacobian": {
        "sigma": ("float64", "", "noise level"),
        "sigma_rel": ("float64", "sigma_d", "noise level over the data's standard deviation"),
        "jac_rank": ("float64", "", "singular values of dD/dx with 99 % of the energy, mean over images"),
        "jac_rank_se": ("float64", "", "its standard error over images; missing for a single one"),
        "jac_rank_error": ("float64", "", "standard error of the estimate for one image; 0 where it is exact"),
        "jac_asym": ("float64", "", "|J - J'| / 2|J|"),
        "jac_asym_se": ("float64", "", "its standard error"),
        "jac_asym_error": ("float64", "", "standard error of the estimate for one image; 0 where it is exact"),
        "jac_top": ("float64", "", "largest singular value"),
        "jac_top_se": ("float64", "", "its standard error"),
        "corr_range": ("float64", "pixels", "mean distance that |dD/dx| reaches"),
        "corr_range_se": ("float64", "pixels", "its standard error"),
        "corr_range_error": ("float64", "pixels", "standard error of the estimate for one image; 0 where it is exact"),
        "n_pairs": ("int64", "pairs", "pairs of image and noise"),
    }
}

NAMED = {0.25: "025", 0.5: "050", 1.0: "100"}  # noise levels with columns
HELD = 1 << 25  # numbers held at once: 256 MiB
MEASURES = ("jac_rank", "jac_asym", "jac_top", "corr_range")


def measure(
    denoiser: "DenoiserLike",
    train: np.ndarray,
    train_labels: np.ndarray | None,
    sigma_data: float,
    *,
    sigmas: tuple[float, ...] = (),
    images: Annotated[int, Gt(0)] = 32,
    energy: Annotated[float, Gt(0), Lt(1)] = 0.99,
    exact: Annotated[int, Ge(0)] = 256,
    probes: Annotated[int, Ge(2)] = 4,
) -> Result:
    """J = ∂D/∂x at x = x₀ + σn, x₀ of T: means over images of four numbers, with Student's t intervals.

    The rank: how many of the largest singular values s have the share `energy` of Σ s² (Wang et al. 2024). The
    asymmetry ‖J − Jᵀ‖/2‖J‖, from 0 to 1: D is the gradient of a potential where it is 0 (Horvat & Pfister 2024). The
    largest s: how sharply the estimate depends on x. The range Σ d |J| / Σ |J|, d the distance of an output's pixel to
    an input's (Kaiser & Kollmann 2026).

    Exact where images have at most `exact` values: one product uᵀJ a value. Elsewhere estimated: the spectrum is that
    of stochastic Lanczos quadrature (Ubaru et al. 2017): `probes` random vectors, 24 steps of Golub and Kahan's
    bidiagonalisation each, so that the number of singular values above a threshold, and their energy, are means of
    Ritz values' weights; the largest s is the largest Ritz value, which is not above it. The asymmetry is Hutchinson's
    from the same vectors, the range that of eight rows for each probe. That is 57 products a probe. The table has the
    standard errors of an image's estimates over probes, and over rows; intervals over images hold them.

    sigmas: noise levels of the table beside 0.25, 0.5 and 1, in units of sigma_d, above 0.
    images: training images, at most, each with one draw of noise.
    energy: the share of Σ s² that the rank is for.
    exact: values of an image up to which the whole of J is computed.
    probes: random vectors of the estimate.
    """
    if not len(train):
        raise ValueError("jacobian needs training images: there are none")
    relative = levels_of("jacobian", sigmas)
    of_T = bank(train[:images], None if train_labels is None else train_labels[:images], 1, TRAIN, device_of(denoiser))
    of_image = over_images(denoiser, of_T, sigma_data * relative, pixels(train.shape[1:]), energy, exact, probes)
    return _result(relative, sigma_data, of_image, products_of(train[0].size, exact, probes))


def levels_of(metric: str, sigmas: tuple[float, ...]) -> np.ndarray:
    """Those of the table in units of σ_d, with the named ones; ValueError for one that is not above 0."""
    if min(sigmas, default=1.0) <= 0:
        raise ValueError(f"{metric}: sigmas must be above 0, not {min(sigmas)}")
    return np.unique([*sigmas, *NAMED])


def over_images(
    denoiser: "DenoiserLike", of_split: Bank, levels: np.ndarray, places: np.ndarray | None, energy: float, exact: int,
    probes: int,
) -> np.ndarray:  # fmt: skip
    """The numbers of a Derivative at absolute noise levels, of each image with one draw: (numbers, levels, images).

    `places` are its pixels'. NaN at levels that the denoiser is not for.
    """
    d = of_split.images[0].numel()
    whole = d <= exact
    of_image = np.full((len(fields(Derivative)), len(levels), len(of_split.images)), np.nan)
    together = max(1, HELD // (d * (d if whole else 2 * probes * STEPS)))
    for k in np.flatnonzero(within(denoiser, levels)):
        for start in range(0, len(of_split.images), together):
            some = slice(start, start + together)
            x = of_split.images[some] + float(levels[k]) * of_split.noise[some]
            at = At(denoiser, x, float(levels[k]), None if of_split.labels is None else of_split.labels[some])
            read = exactly(at, places, energy) if whole else estimated(at, places, energy, probes, start)
            of_image[:, k, some] = np.transpose([[getattr(one, f.name) for f in fields(Derivative)] for one in read])
    return of_image


def evaluations(shape: tuple[int, ...], settings: Mapping[str, Any]) -> float:
    """Of the network, for one cell: what a plan expects before anything has run. A product costs about three."""
    d, levels = math.prod(shape), len({*settings["sigmas"], *NAMED})
    return 3.0 * float(settings["images"]) * levels * products_of(d, settings["exact"], settings["probes"])


def products_of(dimensions: int, exact: int, probes: int) -> int:
    """Of J with a vector, for one image of so many values at one noise level."""
    return dimensions if dimensions <= exact else probes * (2 * STEPS + 1 + ROWS)


def _result(relative: np.ndarray, sigma_data: float, of_image: np.ndarray, products: int) -> Result:
    """Columns and table from (numbers of a Derivative, levels, images)."""
    values: dict[str, Value] = dict.fromkeys(COLUMNS) | {"jac_images": of_image.shape[2], "jac_products": products}
    for number, name in enumerate(MEASURES):
        for sigma, word in NAMED.items():
            values |= mean_columns(f"{name}_{word}", of_image[number][relative == sigma][0])
    return Result(values, {"jacobian": table_of(relative, sigma_data, of_image)})


def table_of(relative: np.ndarray, sigma_data: float, of_image: np.ndarray) -> dict[str, np.ndarray]:
    """A line for each noise level, from (numbers of a Derivative, levels, images)."""
    by_name = dict(zip([field.name for field in fields(Derivative)], of_image, strict=True))
    n_pairs = np.full(len(relative), of_image.shape[2])
    table = {"sigma": sigma_data * relative, "sigma_rel": relative, "n_pairs": n_pairs}
    for name in MEASURES:
        table |= {name: by_name[name].mean(axis=1), f"{name}_se": standard_error(by_name[name])}
        if f"{name}_error" in by_name:
            table[f"{name}_error"] = np.sqrt(np.square(by_name[f"{name}_error"]).mean(axis=1))
    return {name: table[name] for name in TABLES["jacobian"]}
