"""The Fréchet distance of the samples to held-out and to training images in a feature space (Heusel et al. 2017)."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from difgen_cli.metrics import Result, Shared
from difgen_cli.metrics._features import Embed, among, features_of, name_of, require_held_out
from difgen_cli.metrics._groups import quantile

VERSION = 4
HELD_OUT_MIN = 2

COLUMNS = {
    "fd_test": (
        "float64",
        "features²",
        "Fréchet distance of the samples to all held-out images",
        {"label": "{frechet}", "scale": "log"},
    ),
    "fd_test_lo": ("float64", "features²", "lower end of its 95 % interval over samples; missing below three floors"),
    "fd_test_hi": ("float64", "features²", "upper end of its 95 % interval over samples; missing below three floors"),
    "fd_train": (
        "float64",
        "features²",
        "Fréchet distance of the samples to as many training images, or to all there are",
        {"label": "Fréchet distance to the training images", "scale": "ratio"},
    ),
    "fd_floor": (
        "float64",
        "features²",
        "real against real images at the sizes of fd_test: what a perfect model scores",
        {"label": "Fréchet distance, real against real", "scale": "ratio"},
    ),
    "fd_floor_expected": ("float64", "features²", "the same in closed form for Gaussian features", {"scale": "ratio"}),
    "fd_copycat": (
        "float64",
        "features²",
        "resampled training images in place of samples",
        {"label": "Fréchet distance of the copycat", "scale": "ratio"},
    ),
    "fd_gap": (
        "float64",
        "features²",
        "distance to held-out minus distance to training images, at equal numbers of both",
    ),
    "fd_gap_lo": ("float64", "features²", "lower end of its 95 % interval over samples"),
    "fd_gap_hi": ("float64", "features²", "upper end of its 95 % interval over samples"),
    "fd_gap_rel": ("float64", "", "fd_gap less fd_shift, over the distance to training images: 0 without copying"),
    "fd_gap_rel_lo": ("float64", "", "lower end of its 95 % interval over samples"),
    "fd_gap_rel_hi": ("float64", "", "upper end of its 95 % interval over samples"),
    "fd_shift": ("float64", "features²", "distance of T to H beyond that of random halves of both; 0 within chance"),
    "fd_se": (
        "float64",
        "features²",
        "standard error of fd_test over the samples, by its influence function",
        {"label": "standard error of the Fréchet distance"},
    ),
    "fd_features": ("string", "", "the feature space", {"role": "features"}),
    "n_gen": ("int64", "images", "samples", {"label": "generated samples", "role": "count"}),
    "n_ref": (
        "int64",
        "images",
        "held-out images that fd_test, fd_floor and fd_copycat refer to",
        {"label": "reference images", "role": "count"},
    ),
    "n_ref_train": ("int64", "images", "images on each side of fd_gap, and that fd_train refers to", {"role": "count"}),
}

SEED = 3
DRAWS = 5  # random halves of H, and copycats, averaged over
FLOORS = 3  # below so many the distance is mostly bias, and its standard error says little
ROWS = 1 << 14  # features in float64 at once


@dataclass(frozen=True)
class Moments:
    """The mean (d,), and a root R (r, d), r <= min(n, d), of the unbiased covariance RᵀR of n features."""

    mean: np.ndarray
    root: np.ndarray

    @property
    def trace(self) -> float:
        return float(np.sum(self.root**2))


def measure(
    samples: np.ndarray,
    train: np.ndarray,
    held_out: np.ndarray,
    embed: Callable[[np.ndarray], np.ndarray],
    shared: Shared,
    *,
    features: str = "auto",
) -> Result:
    """Distances in float64, with the floor that a finite number of real images has, and what a copycat scores.

    fd_test refers to all of H, so that it is comparable between subset sizes. Where T is smaller than H, fd_train and
    fd_gap use as many images of H as T has: fd_gap is 0 on average for a model that does not copy. Fewer than 2 images
    on a side have no covariance: None. Held-out images scored as samples have no distance to themselves either. The
    interval of fd_gap is over samples alone, T and H fixed: both distances move with the same samples, and its standard
    error is that of the difference of their influence functions. So is that of fd_gap_rel, without fd_shift.
    The feature space's name is `embed.name` if there is one, else the setting.

    features: the feature space; auto is the classifier where there are labels, and random_conv elsewhere.
    """
    require_held_out("frechet", held_out, HELD_OUT_MIN)
    n_gen, n_train = len(samples), min(len(train), len(held_out))
    values: dict[str, float | int | str | bool | None] = dict.fromkeys(COLUMNS)
    name = name_of(embed, features)
    values |= {"fd_features": name, "n_gen": n_gen, "n_ref": len(held_out), "n_ref_train": n_train}
    if n_gen < 2:
        return Result(values)
    reference = shared(
        f"frechet-{n_gen}", lambda: _references(_embedded(embed, train), _embedded(embed, held_out), n_gen)
    )
    generated = _embedded(embed, samples)
    g, h = moments(generated), _stored(reference, "held_out")
    values["fd_floor_expected"] = expected_floor(h, n_gen, len(held_out))
    values["fd_floor"] = float(reference["floor"]) if "floor" in reference else None
    apart = not among(samples, held_out)
    if apart:
        to_held_out, error = distance(g, h), standard_error(generated, g, h)
        values |= {"fd_test": to_held_out, "fd_se": error}
        if error is not None and to_held_out > FLOORS * expected_floor(h, n_gen, len(held_out)):
            values["fd_test_lo"], values["fd_test_hi"] = interval(to_held_out, error)
    if len(train) >= 2:
        to_train = distance(g, _stored(reference, "train"))
        values |= {"fd_train": to_train, "fd_copycat": float(reference["copycat"])}
        if apart:
            equal, of_train = _stored(reference, "equal"), _stored(reference, "train")
            values["fd_gap"] = gap = distance(g, equal) - to_train
            values["fd_gap_lo"], values["fd_gap_hi"] = gap_interval(gap, generated, g, equal, of_train)
            shift = shift_of(embed, train[:n_train], held_out[:n_train], shared)
            values |= _relative(gap, to_train, shift, generated, (g, equal, of_train))
    return Result(values)


def shift_of(embed: Embed, train: np.ndarray, held_out: np.ndarray, shared: Shared) -> float:
    """The Fréchet distance of T to as many images of H beyond the mean one of random halves of these images.

    0 within Student's 95 % prediction interval of the halves, or below: it only adds scatter (benchmarks/NOTES.md).
    """

    def compute() -> dict[str, np.ndarray]:
        of_T, of_H = _embedded(embed, train), _embedded(embed, held_out)
        both, rng = np.concatenate([of_T, of_H]), np.random.default_rng((SEED, 2))
        halves = [np.split(rng.permutation(both), 2) for _ in range(DRAWS)]
        chance = np.array([distance(moments(a), moments(b)) for a, b in halves])
        beyond = distance(moments(of_T), moments(of_H)) - chance.mean()
        most = quantile(DRAWS - 1) * chance.std(ddof=1) * math.sqrt(1 + 1 / DRAWS)
        return {"shift": np.array(beyond if beyond > most else 0.0)}

    return float(shared("frechet-beyond-chance", compute)["shift"])


def _relative(
    gap: float, to_train: float, shift: float, features: np.ndarray, parts: tuple[Moments, Moments, Moments]
) -> dict[str, float | None]:
    """(FD(G, H) − FD(G, T) − shift) / FD(G, T) of samples with these features, and moments of them, of H and of T.

    Its interval is even on the logarithm of (FD(G, H) − shift) / FD(G, T), as both are distances.
    """
    columns: dict[str, float | None] = {"fd_shift": shift}
    if to_train <= 0:
        return columns
    columns["fd_gap_rel"] = (gap - shift) / to_train
    g, held_out, train = parts
    far, near = (influences(features, g, reference) for reference in (held_out, train))
    to_held_out = gap - shift + to_train
    if far is not None and near is not None and to_held_out > 0:
        error = float((far / to_held_out - near / to_train).std(ddof=1) / np.sqrt(len(far)))
        lower, upper = interval(1.0, error)
        ratio = to_held_out / to_train
        columns |= {"fd_gap_rel_lo": ratio * lower - 1, "fd_gap_rel_hi": ratio * upper - 1}
    return columns


def moments(features: np.ndarray) -> Moments:
    """Of features (n, d), n >= 2, in float64: the triangular factor of one block of rows joins the next block."""
    from difgen_cli.diffusion import large

    mean, root = features.mean(axis=0, dtype=np.float64), np.zeros((0, features.shape[1]))
    for start in range(0, len(features), ROWS):
        centred = (features[start : start + ROWS] - mean) / np.sqrt(len(features) - 1)
        rows = np.concatenate([root, centred]) if start else centred
        root = large.triangular(rows)
    return Moments(mean, root)


def distance(a: Moments, b: Moments) -> float:
    """‖μ₁ − μ₂‖² + tr Σ₁ + tr Σ₂ − 2 tr √(Σ₁Σ₂).

    With Σᵢ = RᵢᵀRᵢ the last trace is the nuclear norm of R₁R₂ᵀ, which stays exact where the rank is deficient.
    """
    cross = np.linalg.svd(a.root @ b.root.T, compute_uv=False).sum()
    return max(0.0, float(np.sum((a.mean - b.mean) ** 2) + a.trace + b.trace - 2 * cross))


def standard_error(features: np.ndarray, g: Moments, r: Moments) -> float | None:
    """sd(IF)/√n of the distance of the features (n, d) with moments g to r, the reference held fixed; None as there."""
    values = influences(features, g, r)
    return None if values is None else float(values.std(ddof=1) / np.sqrt(len(values)))


def gap_interval(
    gap: float, features: np.ndarray, g: Moments, held_out: Moments, train: Moments
) -> tuple[float, float] | tuple[None, None]:
    """95 % interval of the distance to `held_out` less that to `train` over the features (n, d); none as there."""
    far, near = (influences(features, g, reference) for reference in (held_out, train))
    if far is None or near is None:
        return None, None
    half = NormalDist().inv_cdf(0.975) * float((far - near).std(ddof=1) / np.sqrt(len(far)))
    return gap - half, gap + half


def influences(features: np.ndarray, g: Moments, r: Moments) -> np.ndarray | None:
    """The influence function (n,) of the distance to r at each of the features (n, d), whose moments are g.

    IF(x) = 2(μ_g − μ_r)·(x − μ_g) + (x − μ_g)ᵀ(I − T)(x − μ_g), T = R_rᵀ (R_r Σ_g R_rᵀ)^−½ R_r. None where the samples
    do not span the reference's features: the distance then has no derivative.
    """
    if len(features) <= min(len(r.root), features.shape[1]):
        return None
    _, singular, right = np.linalg.svd(g.root @ r.root.T, full_matrices=False)
    kept = singular > singular.max(initial=0) * 1e-10
    transport = r.root.T @ (right[kept].T / np.sqrt(singular[kept]))

    def influence(block: np.ndarray) -> np.ndarray:
        centred = block - g.mean
        transported = centred @ transport  # its squared norm is xᵀTx
        of_block = 2 * centred @ (g.mean - r.mean) + np.sum(centred**2, axis=1) - np.sum(transported**2, axis=1)
        return np.asarray(of_block)

    return np.concatenate([influence(features[k : k + ROWS]) for k in range(0, len(features), ROWS)])


def interval(value: float, error: float) -> tuple[float, float]:
    """95 % interval of E FD at this number of samples against this reference: ± 1.96 standard errors of the logarithm.

    The standard error grows with the distance, so that a linear interval misses more often below than above.
    """
    factor = math.exp(NormalDist().inv_cdf(0.975) * error / value)
    return value / factor, value * factor


def expected_floor(reference: Moments, n_gen: int, n_ref: int) -> float:
    """E FD(n, m) ≈ (1/n + 1/m) [tr Σ + Σᵢⱼ λᵢλⱼ(1 + δᵢⱼ) / (2(λᵢ + λⱼ))], λ the eigenvalues of Σ, Gaussian features."""
    eigenvalues = np.linalg.svd(reference.root, compute_uv=False) ** 2
    total = eigenvalues[:, None] + eigenvalues
    pairs = np.divide(eigenvalues[:, None] * eigenvalues, 2 * total, out=np.zeros_like(total), where=total > 0)
    return float((1 / n_gen + 1 / n_ref) * (reference.trace + pairs.sum() + np.trace(pairs)))


def floor(train: np.ndarray, held_out: np.ndarray, n_gen: int) -> float | None:
    """Real features against real ones at (n_gen, |H|): T against H where T has as many as there are samples.

    Elsewhere random halves of H, moved to these sizes by the factor (1/n + 1/m) that the expectation has; None where a
    half has fewer than 2 images.
    """
    if len(train) >= n_gen:
        return distance(moments(train[:n_gen]), moments(held_out))
    half = len(held_out) // 2
    if half < 2:
        return None
    rng = np.random.default_rng((SEED, 0))
    halves = [np.split(rng.permutation(held_out), [half]) for _ in range(DRAWS)]
    mean = np.mean([distance(moments(a), moments(b)) for a, b in halves])
    return float(mean * (1 / n_gen + 1 / len(held_out)) / (1 / half + 1 / (len(held_out) - half)))


def _references(train: np.ndarray, held_out: np.ndarray, n_gen: int) -> dict[str, np.ndarray]:
    """What every snapshot of the subset shares, from features (n, d)."""
    h = moments(held_out)
    arrays, real = _parts("held_out", h), floor(train, held_out, n_gen)
    if real is not None:
        arrays["floor"] = np.array(real)
    if len(train) < 2:
        return arrays
    rng = np.random.default_rng((SEED, 1))
    copycats = [train[rng.integers(len(train), size=n_gen)] for _ in range(DRAWS)]
    arrays["copycat"] = np.array(np.mean([distance(moments(copies), h) for copies in copycats]))
    equal = min(len(train), len(held_out))
    return arrays | _parts("train", moments(train[:equal])) | _parts("equal", moments(held_out[:equal]))


def _parts(name: str, m: Moments) -> dict[str, np.ndarray]:
    return {f"{name}_mean": m.mean, f"{name}_root": m.root}


def _stored(reference: dict[str, np.ndarray], name: str) -> Moments:
    return Moments(reference[f"{name}_mean"], reference[f"{name}_root"])


def _embedded(embed: Embed, images: np.ndarray) -> np.ndarray:
    return features_of("frechet", embed, images)
