"""How far the denoiser is from the perfect memorizer, and from the best linear denoiser, on noisy training images."""

import hashlib
from functools import partial
from typing import TYPE_CHECKING, Annotated

import numpy as np
from annotated_types import Gt

from difgen_cli.metrics import Result, Shared, Value, flat
from difgen_cli.metrics._intervals import given_images
from difgen_cli.metrics._noise import TRAIN, Bank, bank_of_pairs, denoise, device_of, loss_weight, mean_square, within
from difgen_cli.neighbours import with_mirrors

if TYPE_CHECKING:
    import torch

    from difgen_cli.diffusion import DenoiserLike

VERSION = 2
NEEDS = ("posterior mean",)  # of the denoiser: what the mean of clean images given x is

COLUMNS = {
    "ideal_dev_025": ("float64", "", "lambda(sigma) E|D - D*|²/d at 0.25 sigma_d, D* the posterior mean over T"),
    "ideal_dev_025_lo": ("float64", "", "lower end of its 95 % interval over noise, given T"),
    "ideal_dev_025_hi": ("float64", "", "upper end of its 95 % interval over noise, given T"),
    "ideal_dev_050": ("float64", "", "the same at 0.5 sigma_d"),
    "ideal_dev_050_lo": ("float64", "", "lower end of its 95 % interval"),
    "ideal_dev_050_hi": ("float64", "", "upper end of its 95 % interval"),
    "ideal_dev_100": ("float64", "", "the same at sigma_d"),
    "ideal_dev_100_lo": ("float64", "", "lower end of its 95 % interval"),
    "ideal_dev_100_hi": ("float64", "", "upper end of its 95 % interval"),
    "wiener_dev_025": ("float64", "", "the same against the Gaussian with the moments of T, at 0.25 sigma_d"),
    "wiener_dev_025_lo": ("float64", "", "lower end of its 95 % interval"),
    "wiener_dev_025_hi": ("float64", "", "upper end of its 95 % interval"),
    "wiener_dev_050": ("float64", "", "the same at 0.5 sigma_d"),
    "wiener_dev_050_lo": ("float64", "", "lower end of its 95 % interval"),
    "wiener_dev_050_hi": ("float64", "", "upper end of its 95 % interval"),
    "wiener_dev_100": ("float64", "", "the same at sigma_d"),
    "wiener_dev_100_lo": ("float64", "", "lower end of its 95 % interval"),
    "wiener_dev_100_hi": ("float64", "", "upper end of its 95 % interval"),
    "wiener_dev_pool_025": ("float64", "", "the same with the moments of the pool without H, at 0.25 sigma_d"),
    "wiener_dev_pool_025_lo": ("float64", "", "lower end of its 95 % interval"),
    "wiener_dev_pool_025_hi": ("float64", "", "upper end of its 95 % interval"),
    "wiener_dev_pool_050": ("float64", "", "the same at 0.5 sigma_d"),
    "wiener_dev_pool_050_lo": ("float64", "", "lower end of its 95 % interval"),
    "wiener_dev_pool_050_hi": ("float64", "", "upper end of its 95 % interval"),
    "wiener_dev_pool_100": ("float64", "", "the same at sigma_d"),
    "wiener_dev_pool_100_lo": ("float64", "", "lower end of its 95 % interval"),
    "wiener_dev_pool_100_hi": ("float64", "", "upper end of its 95 % interval"),
    "local_dev_025": (
        "float64",
        "",
        "the same against the ideal denoiser of patches of `patch` pixels, at 0.25 sigma_d",
    ),
    "local_dev_025_lo": ("float64", "", "lower end of its 95 % interval"),
    "local_dev_025_hi": ("float64", "", "upper end of its 95 % interval"),
    "local_dev_050": ("float64", "", "the same at 0.5 sigma_d"),
    "local_dev_050_lo": ("float64", "", "lower end of its 95 % interval"),
    "local_dev_050_hi": ("float64", "", "upper end of its 95 % interval"),
    "local_dev_100": ("float64", "", "the same at sigma_d"),
    "local_dev_100_lo": ("float64", "", "lower end of its 95 % interval"),
    "local_dev_100_hi": ("float64", "", "upper end of its 95 % interval"),
}

TABLES = {
    "deviation": {
        "sigma": ("float64", "", "noise level"),
        "sigma_rel": ("float64", "sigma_d", "noise level over the data's standard deviation"),
        "ideal_dev": ("float64", "", "lambda(sigma) E|D - D*|²/d on noisy training images: 0 for a perfect memorizer"),
        "ideal_dev_se": ("float64", "", "its standard error over noise, given T"),
        "wiener_dev": ("float64", "", "against the Gaussian with the moments of T: 0 for a Gaussian model of T"),
        "wiener_dev_se": ("float64", "", "its standard error"),
        "wiener_dev_pool": ("float64", "", "against the Gaussian with the moments of the pool without H"),
        "wiener_dev_pool_se": ("float64", "", "its standard error"),
        "local_dev": ("float64", "", "against the ideal denoiser of patches; missing where no `patch` is asked for"),
        "local_dev_se": ("float64", "", "its standard error"),
        "n_pairs": ("int64", "pairs", "pairs of image and noise"),
    }
}

REFERENCES = ("ideal_dev", "wiener_dev", "wiener_dev_pool", "local_dev")
NAMED = {0.25: "025", 0.5: "050", 1.0: "100"}  # noise levels with columns
Means = dict[str, list[tuple[float, float, float]]]  # of a reference at each level: `given_images`


def measure(
    denoiser: "DenoiserLike",
    train: np.ndarray,
    train_labels: np.ndarray | None,
    rest: np.ndarray,
    sigma_data: float,
    shared: Shared,
    mirrored: bool = False,
    *,
    sigmas: tuple[float, ...] = (0.0625, 0.125, 2.0, 4.0, 8.0),
    pairs: Annotated[int, Gt(0)] = 1024,
    guided: bool = False,
    patch: Annotated[int, Gt(0)] | None = None,
) -> Result:
    """λ(σ) E‖D − D'‖²/d on x = x₀ + σn, x₀ of T, for some D': the loss that D has beyond D' where D' is best.

    The ideal denoiser D*(x; σ) = Σᵢ softmax(−‖x − xᵢ‖²/2σ²) xᵢ over T, within the condition where there is one: in
    expectation ideal_dev is the excess training loss λ (E‖D − x₀‖² − E‖D* − x₀‖²)/d. The Wiener filter
    μ + Σ(Σ + σ²I)⁻¹(x − μ) with the moments of T (1/N), whatever the condition, and with those of `rest`, the whole
    pool without H: with fewer images than dimensions the former memorizes their span. Given `patch`, the ideal denoiser
    of patches of T (`models/patches.py`). `mirrored`: training showed mirror images too, and D*, its patches and both
    filters are made of them too: there the training loss is least.

    Intervals are given the denoiser and T, of which it and D' are made: the value is the mean over all of T, and noise
    is chance, and images of T that are more than `pairs`. Another T would have another network; that is what seeds are
    for.

    sigmas: noise levels of the table beside 0.25, 0.5 and 1, in units of sigma_d, above 0.
    pairs: of image and noise, at least; at most so many images, each with two draws or more.
    guided: look at the denoiser that the sampler follows, and not at the network by itself.
    patch: pixels along each side of the patches that local_dev is for; null: it is not measured.
    """
    if not (len(train) and len(rest)):
        raise ValueError(f"deviation needs training images and a pool: there are {len(train)} and {len(rest)}")
    if min(sigmas, default=1.0) <= 0:
        raise ValueError(f"deviation: sigmas must be above 0, not {min(sigmas)}")
    relative = np.unique([*sigmas, *NAMED])
    levels = sigma_data * relative
    used = min(len(train), pairs)
    asked, of_asked = train[:used], None if train_labels is None else train_labels[:used]
    pairs_of_T = bank_of_pairs(asked, of_asked, max(pairs, 2 * used), TRAIN, device_of(denoiser))
    shown, labels, pool = train, train_labels, rest
    if mirrored:
        shown, pool = with_mirrors(train), with_mirrors(rest)
        labels = None if train_labels is None else np.tile(train_labels, 2)
    name = _digest(train_labels)  # one subset may be trained on under several conditionings
    sizes = {f"ideal-{name}": None} | ({} if patch is None else {f"patches-{name}": patch})
    posteriors = [
        shared(key, partial(_posterior, shown, labels, sigma_data, pairs_of_T, levels, size))["denoised"]
        for key, size in sizes.items()
    ]
    filters = [shared("train", lambda: principal(shown)), shared("pool", lambda: principal(pool))]
    of_pair = _of_pairs(denoiser, pairs_of_T, levels, posteriors, filters)
    of_pair *= loss_weight(levels, sigma_data)[None, :, None, None]
    means = {
        name: [given_images(at, len(train)) for at in rows] for name, rows in zip(REFERENCES, of_pair, strict=True)
    }
    common = {"sigma": levels, "sigma_rel": relative, "n_pairs": np.full(len(levels), len(pairs_of_T.images))}
    return Result(_values(relative, means), {"deviation": _table(common, means)})


def _of_pairs(
    denoiser: "DenoiserLike",
    bank: Bank,
    levels: np.ndarray,
    posteriors: list[np.ndarray],
    filters: list[dict[str, np.ndarray]],
) -> np.ndarray:
    """‖D − D'‖²/d of each reference, level, image and draw: (references, levels, n, draws); NaN where not asked for."""
    of_pair = np.full((len(REFERENCES), len(levels), len(bank.images) // bank.draws, bank.draws), np.nan)
    for k, sigma in enumerate(levels):
        denoised = denoise(denoiser, bank, float(sigma))
        x = bank.images + sigma * bank.noise
        ideal, *local = (_like(posterior[k], denoised) for posterior in posteriors)
        references = [ideal, *(_wiener(x, f, float(sigma)) for f in filters), *local]
        for row, reference in zip(of_pair, references, strict=False):
            row[k] = mean_square(denoised, reference).reshape(-1, bank.draws)
    if not np.isfinite(of_pair[: len(posteriors) + len(filters), within(denoiser, levels)]).all():
        raise ValueError("deviation: the denoiser gives NaN or infinite values: did the training diverge?")
    return of_pair


def principal(images: np.ndarray) -> dict[str, np.ndarray]:
    """Mean (d,), principal axes (r, d) and variances (r,), with 1/N, of images; r at most min(N, d)."""
    x = flat(images).astype(np.float64)
    mean = x.mean(axis=0)
    x -= mean
    n, d = x.shape
    if n < d:
        _, values, axes = np.linalg.svd(x / np.sqrt(n), full_matrices=False)
        return {"mean": mean, "axes": axes, "variances": values**2}
    variances, vectors = np.linalg.eigh(x.T @ x / n)
    return {"mean": mean, "axes": vectors.T, "variances": np.maximum(variances, 0.0)}


def _wiener(x: "torch.Tensor", moments: dict[str, np.ndarray], sigma: float) -> "torch.Tensor":
    """μ + Σ(Σ + σ²I)⁻¹(x − μ) of x (p, C, H, W) or (p, D), in float64."""
    import torch

    mean, axes, variances = (torch.from_numpy(moments[n]).to(x.device) for n in ("mean", "axes", "variances"))
    pixels = x.permute(0, 2, 3, 1).flatten(1) if x.dim() == 4 else x  # as flat() has them: the channel last
    shrunk = (pixels.double() - mean) @ axes.T * (variances / (variances + sigma**2))
    filtered = mean + shrunk @ axes
    if x.dim() == 2:
        return filtered
    _, c, h, w = x.shape
    return filtered.view(-1, h, w, c).permute(0, 3, 1, 2)


def _posterior(
    train: np.ndarray, labels: np.ndarray | None, sigma_data: float, bank: Bank, levels: np.ndarray, size: int | None
) -> dict[str, np.ndarray]:
    """D* on the bank's noisy training images, or that of patches of a size: (levels, p, ...) float32.

    The same for all snapshots of the subset.
    """
    import torch

    from difgen_cli.diffusion import IdealDenoiser, PatchDenoiser, to_tensor

    T, conditions = to_tensor(train), None if labels is None else torch.from_numpy(labels)
    ideal = IdealDenoiser(T, sigma_data, conditions) if size is None else PatchDenoiser(T, sigma_data, size, conditions)
    ideal = ideal.to(bank.images.device)
    return {"denoised": np.stack([denoise(ideal, bank, float(sigma)).cpu().numpy() for sigma in levels])}


def _like(array: np.ndarray, denoised: "torch.Tensor") -> "torch.Tensor":
    import torch

    return torch.from_numpy(array).to(denoised.device)


def _digest(labels: np.ndarray | None) -> str:
    return "none" if labels is None else hashlib.sha256(labels.astype("<i8").tobytes()).hexdigest()[:16]


def _values(relative: np.ndarray, means: Means) -> dict[str, Value]:
    """The columns: means over T at the named levels, with intervals on the scale of the logarithm.

    Deviations are above 0 and have a long tail of images: means that came out low have small standard errors too.
    """
    values: dict[str, Value] = dict.fromkeys(COLUMNS)
    for name, of_levels in means.items():
        for sigma, word in NAMED.items():
            mean, _, half = of_levels[int(np.flatnonzero(relative == sigma)[0])]
            if np.isfinite(mean):
                values[f"{name}_{word}"] = mean
            if np.isfinite(half):
                factor = float(np.exp(half / mean)) if mean > 0 else 1.0
                values |= {f"{name}_{word}_lo": mean / factor, f"{name}_{word}_hi": mean * factor}
    return values


def _table(common: dict[str, np.ndarray], means: Means) -> dict[str, np.ndarray]:
    table = dict(common)
    for name, of_levels in means.items():
        table[name], table[f"{name}_se"], _ = np.array(of_levels).T
    return {name: table[name] for name in TABLES["deviation"]}
