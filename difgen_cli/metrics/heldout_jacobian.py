"""The derivative of the denoiser at held-out images, and maps of one pixel's (Kaiser & Kollmann 2026).

It is what `jacobian` is at training images, with noise of its own: whether a network looks farther or less far where it
has seen the image.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from annotated_types import Ge, Gt, Lt

from difgen_cli.metrics import Result, Value
from difgen_cli.metrics._features import require_held_out
from difgen_cli.metrics._intervals import mean_columns
from difgen_cli.metrics._noise import HELD_OUT, TRAIN, Bank, bank, device_of, of_known_conditions, within
from difgen_cli.metrics._spectrum import At, pixels
from difgen_cli.metrics.jacobian import MEASURES, NAMED, levels_of, over_images, products_of, table_of
from difgen_cli.metrics.jacobian import evaluations as of_jacobian

if TYPE_CHECKING:
    from difgen_cli.diffusion import DenoiserLike

VERSION = 1
NEEDS = ("posterior mean",)  # of the denoiser: what the mean of clean images given x is
HELD_OUT_MIN = 1

COLUMNS = {
    "corr_range_heldout_025": ("float64", "pixels", "mean distance that |dD/dx| reaches at H, at 0.25 sigma_d"),
    "corr_range_heldout_025_lo": ("float64", "pixels", "lower end of its 95 % interval over images"),
    "corr_range_heldout_025_hi": ("float64", "pixels", "upper end of its 95 % interval over images"),
    "corr_range_heldout_050": ("float64", "pixels", "the same at 0.5 sigma_d; missing for points"),
    "corr_range_heldout_050_lo": ("float64", "pixels", "lower end of its 95 % interval"),
    "corr_range_heldout_050_hi": ("float64", "pixels", "upper end of its 95 % interval"),
    "corr_range_heldout_100": ("float64", "pixels", "the same at sigma_d"),
    "corr_range_heldout_100_lo": ("float64", "pixels", "lower end of its 95 % interval"),
    "corr_range_heldout_100_hi": ("float64", "pixels", "upper end of its 95 % interval"),
    "jac_heldout_images": ("int64", "images", "held-out images, each with one draw of noise", {"role": "count"}),
    "jac_heldout_products": (
        "int64",
        "products",
        "of dD/dx with a vector, of one image at one noise level: as many as an image has values where it is exact",
        {"role": "count"},
    ),
}

TABLES = {
    "heldout_jacobian": {
        "sigma": ("float64", "", "noise level"),
        "sigma_rel": ("float64", "sigma_d", "noise level over the data's standard deviation"),
        "jac_rank": ("float64", "", "singular values of dD/dx with 99 % of the energy, mean over held-out images"),
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
    },
    "pixel_map": {
        "sigma": ("float64", "", "noise level"),
        "sigma_rel": ("float64", "sigma_d", "noise level over the data's standard deviation"),
        "split": ("string", "", "train or heldout: whose image it is"),
        "image": ("int64", "", "its place in T, or among held-out images of conditions that T has, from 0"),
        "row": ("int64", "pixels", "of the noisy image's pixel, from the top"),
        "column": ("int64", "pixels", "of the same, from the left"),
        "derivative": ("float64", "", "of the middle pixel's mean colour of D, by this pixel in all colours"),
        "noisy": ("float64", "", "this pixel's mean colour with noise"),
    },
}


def measure(
    denoiser: "DenoiserLike",
    train: np.ndarray,
    held_out: np.ndarray,
    train_labels: np.ndarray | None,
    held_out_labels: np.ndarray | None,
    sigma_data: float,
    *,
    sigmas: tuple[float, ...] = (),
    images: Annotated[int, Gt(0)] = 32,
    energy: Annotated[float, Gt(0), Lt(1)] = 0.99,
    exact: Annotated[int, Ge(0)] = 256,
    probes: Annotated[int, Ge(2)] = 4,
    maps: Annotated[int, Ge(0)] = 1,
) -> Result:
    """J = ∂D/∂x at x = x₀ + σn, x₀ of H: the numbers of `jacobian`; and of some images of T and H one row of it.

    Images of H of a condition that T does not have are left out. The map is of the pixel in the middle, row H // 2 and
    column W // 2, at 0.25, 0.5 and 1 σ_d: how its mean over colours changes with each pixel of the noisy image, in all
    colours alike. Points have no map and no range.

    sigmas: noise levels of the table beside 0.25, 0.5 and 1, in units of sigma_d, above 0.
    images: held-out images, at most, each with one draw of noise.
    energy: the share of Σ s² that the rank is for.
    exact: values of an image up to which the whole of J is computed.
    probes: random vectors of the estimate.
    maps: images of T, and of H, of which a map is made.
    """
    require_held_out("heldout_jacobian", held_out, HELD_OUT_MIN)
    relative, device = levels_of("heldout_jacobian", sigmas), device_of(denoiser)
    x, labels = of_known_conditions(held_out, held_out_labels, train_labels)
    if not len(x):
        raise ValueError("heldout_jacobian needs held-out images of the conditions of T: there are none")
    of_H = bank(x[:images], None if labels is None else labels[:images], 1, HELD_OUT, device)
    places = pixels(x.shape[1:])
    of_image = over_images(denoiser, of_H, sigma_data * relative, places, energy, exact, probes)
    values: dict[str, Value] = dict.fromkeys(COLUMNS) | {"jac_heldout_images": len(of_H.images)}
    values["jac_heldout_products"] = products_of(x[0].size, exact, probes)
    of_range = of_image[MEASURES.index("corr_range")]
    for sigma, word in NAMED.items():
        values |= mean_columns(f"corr_range_heldout_{word}", of_range[relative == sigma][0])
    tables = {"heldout_jacobian": table_of(relative, sigma_data, of_image)}
    if places is not None and maps:
        of_T = bank(train[:maps], None if train_labels is None else train_labels[:maps], 1, TRAIN, device)
        shown = bank(x[:maps], None if labels is None else labels[:maps], 1, HELD_OUT, device)
        tables["pixel_map"] = _maps(denoiser, {"train": of_T, "heldout": shown}, sigma_data)
    return Result(values, tables)


def evaluations(shape: tuple[int, ...], settings: Mapping[str, Any]) -> float:
    """Of the network, for one cell: what a plan expects before anything has run."""
    return of_jacobian(shape, settings) + 6.0 * len(NAMED) * float(settings["maps"]) * (len(shape) > 1)


def _maps(denoiser: "DenoiserLike", splits: dict[str, Bank], sigma_data: float) -> dict[str, np.ndarray]:
    """The table `pixel_map`: all pixels of each image of each split, at each level that the denoiser is for."""
    parts: dict[str, list[Any]] = {name: [] for name in TABLES["pixel_map"]}
    for relative in (s for s in NAMED if within(denoiser, s * sigma_data)):
        for split, of_split in splits.items():
            sigma = relative * sigma_data
            noisy = of_split.images + sigma * of_split.noise
            n, colours, height, width = noisy.shape
            one = np.zeros((colours, height, width))
            one[:, height // 2, width // 2] = 1 / colours
            products = At(denoiser, noisy, sigma, of_split.labels).left(np.broadcast_to(one.ravel(), (n, 1, one.size)))
            row, column = np.indices((height, width)).reshape(2, -1)
            count = n * height * width
            lines = {
                "sigma": np.full(count, sigma), "sigma_rel": np.full(count, relative), "split": np.repeat(split, count),
                "image": np.repeat(np.arange(n), height * width), "row": np.tile(row, n), "column": np.tile(column, n),
                "derivative": products.reshape(n, colours, -1).sum(1).ravel(),
                "noisy": noisy.double().mean(1).flatten().cpu().numpy(),
            }  # fmt: skip
            for name, values in lines.items():
                parts[name].append(values)
    kinds = {"string": str, "int64": np.int64, "float64": np.float64}
    return {
        name: np.concatenate(part) if part else np.empty(0, kinds[TABLES["pixel_map"][name][0]])
        for name, part in parts.items()
    }
