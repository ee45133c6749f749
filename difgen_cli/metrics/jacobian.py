"""The derivative of the denoiser: how many directions it keeps, how sharply, from how far, and is it a gradient?"""

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated

import numpy as np
from annotated_types import Ge, Gt, Lt

from difgen_cli.metrics import Result, Value
from difgen_cli.metrics._derivatives import jvp, vjp
from difgen_cli.metrics._intervals import mean_columns, standard_error
from difgen_cli.metrics._noise import BLOCK_ELEMENTS, TRAIN, bank, device_of, within

if TYPE_CHECKING:
    from torch import Tensor

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
MEASURES = ("jac_rank", "jac_asym", "jac_top", "corr_range")
SEED = 13
STEPS = 24  # of the bidiagonalisation: products with J, and as many with its transpose, for each probe


@dataclass(frozen=True)
class Derivative:
    """What is read off ∂D/∂x at one image and noise level, and the standard errors of what was estimated."""

    jac_rank: float
    jac_asym: float
    jac_top: float
    corr_range: float
    jac_rank_error: float = 0.0
    jac_asym_error: float = 0.0
    corr_range_error: float = 0.0


@dataclass(frozen=True)
class At:
    """A denoiser at one noisy image (1, ...) and one absolute noise level."""

    denoiser: "DenoiserLike"
    x: "Tensor"
    sigma: float
    label: "Tensor | None"

    def left(self, vectors: np.ndarray) -> np.ndarray:
        """uᵀJ of rows u (k, d): (k, d) float64."""
        return self._products(vjp, vectors)

    def right(self, vectors: np.ndarray) -> np.ndarray:
        """Jv of rows v (k, d): (k, d) float64."""
        return self._products(jvp, vectors)

    def _products(self, product: "Product", vectors: np.ndarray) -> np.ndarray:
        import torch

        block, parts = max(1, min(256, BLOCK_ELEMENTS // vectors.shape[1])), []
        for start in range(0, len(vectors), block):
            some = torch.from_numpy(vectors[start : start + block]).to(self.x).view(-1, *self.x.shape[1:])
            copies, labels = self.x.expand_as(some).clone(), None if self.label is None else self.label.expand(len(some))
            parts.append(product(self.denoiser, copies, self.sigma, labels, some).flatten(1).double().cpu().numpy())
        return np.concatenate(parts)


if TYPE_CHECKING:
    from collections.abc import Callable

    Product = Callable[[DenoiserLike, Tensor, float, Tensor | None, Tensor], Tensor]


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

    Exact where images have at most `exact` values: one product uᵀJ a value. Elsewhere estimated. The spectrum is that of
    stochastic Lanczos quadrature (Ubaru et al. 2017): `probes` random vectors, 24 steps of Golub and Kahan's
    bidiagonalisation each, so that the number of singular values above a threshold, and their energy, are means of
    Ritz values' weights; the largest s is the largest Ritz value, which is not above it. The asymmetry is Hutchinson's
    from the same vectors, the range that of eight rows for each probe. That is 58 products a probe. The table has the
    standard errors of an image's estimates over probes, and over rows; intervals over images hold them.

    sigmas: noise levels of the table beside 0.25, 0.5 and 1, in units of sigma_d, above 0.
    images: training images, at most, each with one draw of noise.
    energy: the share of Σ s² that the rank is for.
    exact: values of an image up to which the whole of J is computed.
    probes: random vectors of the estimate.
    """
    if not len(train):
        raise ValueError("jacobian needs training images: there are none")
    if min(sigmas, default=1.0) <= 0:
        raise ValueError(f"jacobian: sigmas must be above 0, not {min(sigmas)}")
    relative = np.unique([*sigmas, *NAMED])
    levels, d = sigma_data * relative, train[0].size
    of_T = bank(train[:images], None if train_labels is None else train_labels[:images], 1, TRAIN, device_of(denoiser))
    whole, places = d <= exact, pixels(train.shape[1:])
    of_image = np.full((len(fields(Derivative)), len(levels), len(of_T.images)), np.nan)
    for k in np.flatnonzero(within(denoiser, levels)):
        sigma = float(levels[k])
        for i in range(len(of_T.images)):
            one = slice(i, i + 1)
            x = of_T.images[one] + sigma * of_T.noise[one]
            at = At(denoiser, x, sigma, None if of_T.labels is None else of_T.labels[one])
            read = of_matrix(at.left(np.eye(d)), places, energy) if whole else estimated(at, places, energy, probes, i)
            of_image[:, k, i] = [getattr(read, field.name) for field in fields(Derivative)]
    return _result(relative, sigma_data, of_image, d if whole else probes * (2 * STEPS + 10))


def pixels(shape: tuple[int, ...]) -> np.ndarray | None:
    """Row and column (d, 2) of each value of an image (H, W, C), in torch's order of channels first; None of points."""
    if len(shape) != 3:
        return None
    rows, columns, channels = shape
    grid = np.stack(np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij"), axis=-1).reshape(-1, 2)
    return np.tile(grid, (channels, 1)).astype(float)


def of_matrix(matrix: np.ndarray, places: np.ndarray | None, energy: float) -> Derivative:
    """All of it from J itself, (d, d); NaN for what a J of zeros does not have."""
    if not np.isfinite(matrix).all():
        raise ValueError("jacobian: the denoiser's derivative is NaN or infinite: did the training diverge?")
    values = np.linalg.svd(matrix, compute_uv=False)
    total, norm = np.cumsum(values**2), float(np.linalg.norm(matrix))
    rank = float(np.searchsorted(total, energy * total[-1]) + 1) if norm else 0.0
    asymmetry = float(np.linalg.norm(matrix - matrix.T)) / (2 * norm) if norm else np.nan
    reach = np.nan if places is None else _range(matrix, np.arange(len(matrix)), places)[0]
    return Derivative(rank, asymmetry, float(values[0]), reach)


def estimated(at: At, places: np.ndarray | None, energy: float, probes: int, number: int) -> Derivative:
    """The same from products alone; `number` chooses the random vectors."""
    chance, d = np.random.default_rng((SEED, number)), at.x.numel()
    vectors = chance.standard_normal((probes, d))
    vectors *= np.sqrt(d) / np.linalg.norm(vectors, axis=1, keepdims=True)
    right, left = at.right(vectors), at.left(vectors)
    if not (np.isfinite(right).all() and np.isfinite(left).all()):
        raise ValueError("jacobian: the denoiser's derivative is NaN or infinite: did the training diverge?")
    apart, size = np.square(right - left).sum(axis=1), (np.square(right) + np.square(left)).sum(axis=1) / 2
    if not size.any():
        return Derivative(0.0, np.nan, 0.0, np.nan)
    nodes, weights = ritz(at, vectors / np.sqrt(d))
    without = [np.arange(probes) != k for k in range(probes)]
    ranks = [rank_of(nodes[some], weights[some], d, energy) for some in without]
    asymmetries = [_asymmetry(apart[some], size[some]) for some in without]
    rows = chance.choice(d, size=min(d, 8 * probes), replace=False)
    reach, reach_error = (np.nan, np.nan) if places is None else _range(at.left(np.eye(d)[rows]), rows, places)
    return Derivative(
        rank_of(nodes, weights, d, energy), _asymmetry(apart, size), float(nodes.max()), reach,
        _jackknife(ranks), _jackknife(asymmetries), reach_error,
    )  # fmt: skip


def ritz(at: At, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ritz values of J's singular values from unit vectors (k, d), and their weights, which sum to 1: (k, steps) each.

    Golub & Kahan 1965, all vectors of both sides kept and orthogonal, of all probes at once.
    """
    probes, d = vectors.shape
    steps = min(STEPS, d)
    ours, theirs = np.zeros((probes, steps, d)), np.zeros((probes, steps, d))
    bidiagonal = np.zeros((probes, steps, steps))
    v = vectors
    for k in range(steps):
        ours[:, k] = v
        u, alpha = _next(at.right(v), theirs[:, :k])
        bidiagonal[:, k, k], theirs[:, k] = alpha, u
        if k + 1 < steps:
            v, bidiagonal[:, k, k + 1] = _next(at.left(u), ours[:, : k + 1])
    _, values, rights = np.linalg.svd(bidiagonal)
    return values, rights[:, :, 0] ** 2


def _next(product: np.ndarray, before: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A product (k, d) made orthogonal to the vectors before it (k, j, d) and of length 1, and its length (k,).

    Where nothing is left, as for a J of low rank, both are 0.
    """
    size = np.linalg.norm(product, axis=1)
    for _ in range(2):  # twice is enough (Parlett 1998)
        product = product - np.einsum("kj,kjd->kd", np.einsum("kjd,kd->kj", before, product), before)
    length = np.linalg.norm(product, axis=1)
    length = np.where(length > 1e-6 * size, length, 0.0)  # rounding of float32
    return np.divide(product, length[:, None], out=np.zeros_like(product), where=length[:, None] > 0), length


def rank_of(nodes: np.ndarray, weights: np.ndarray, dimensions: int, energy: float) -> float:
    """How many singular values have the share `energy` of Σ s², from Ritz values and weights of probes, (k, steps)."""
    order = np.argsort(-nodes, axis=None)
    share, each = weights.ravel()[order] / len(nodes), nodes.ravel()[order] ** 2
    held = np.concatenate([[0.0], np.cumsum(share * each)])
    return float(dimensions * np.interp(energy * held[-1], held, np.concatenate([[0.0], np.cumsum(share)])))


def _asymmetry(apart: np.ndarray, size: np.ndarray) -> float:
    return float(np.sqrt(apart.sum() / size.sum()) / 2)


def _jackknife(without: list[float]) -> float:
    """The standard error of an estimate from its values without each of its parts."""
    return float(np.sqrt((len(without) - 1) * np.var(without)))


def _range(rows: np.ndarray, of: np.ndarray, places: np.ndarray) -> tuple[float, float]:
    """Σ d |J| / Σ |J| over rows (k, d) of J, those of the values `of`, and its standard error where they are drawn."""
    distances = np.linalg.norm(places[of, None] - places[None], axis=2)
    reach, weight = (distances * abs(rows)).sum(axis=1), abs(rows).sum(axis=1)
    if not weight.any():
        return np.nan, np.nan
    value = reach.sum() / weight.sum()
    return float(value), float(np.sqrt(len(of)) * np.std(reach - value * weight, ddof=1) / weight.sum())


def _result(relative: np.ndarray, sigma_data: float, of_image: np.ndarray, products: int) -> Result:
    """Columns and table from (numbers of a Derivative, levels, images)."""
    by_name = dict(zip([field.name for field in fields(Derivative)], of_image, strict=True))
    n = of_image.shape[2]
    values: dict[str, Value] = dict.fromkeys(COLUMNS) | {"jac_images": n, "jac_products": products}
    table = {"sigma": sigma_data * relative, "sigma_rel": relative, "n_pairs": np.full(len(relative), n)}
    for name in MEASURES:
        for sigma, word in NAMED.items():
            values |= mean_columns(f"{name}_{word}", by_name[name][relative == sigma][0])
        table |= {name: by_name[name].mean(axis=1), f"{name}_se": standard_error(by_name[name])}
        if f"{name}_error" in by_name:
            table[f"{name}_error"] = np.sqrt(np.square(by_name[f"{name}_error"]).mean(axis=1))
    return Result(values, {"jacobian": {name: table[name] for name in TABLES["jacobian"]}})
