"""The feature likelihood divergence (Jiralerspong et al. 2023): how likely held-out images are under the samples."""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from difgen_cli.metrics import Result, Shared
from difgen_cli.metrics._features import (
    Embed,
    among,
    drawn,
    features_of,
    name_of,
    require_held_out,
    squared_distances_to,
)
from difgen_cli.neighbours import distinct

VERSION = 2
NEEDS = ("posterior mean",)  # of the denoiser: what the mean of clean images given x is
HELD_OUT_MIN = 2

COLUMNS = {
    "fld": ("float64", "0.01 nats", "fld_nll - fld_baseline: 0 for images as good as real ones, lower is better"),
    "fld_lo": ("float64", "0.01 nats", "lower end of its 95 % interval over held-out images, the samples fixed"),
    "fld_hi": ("float64", "0.01 nats", "upper end of its 95 % interval over held-out images, the samples fixed"),
    "fld_gap": (
        "float64",
        "0.01 nats",
        "fld_nll of the training images minus that of held-out ones: negative for overfitting",
    ),
    "fld_gap_lo": ("float64", "0.01 nats", "lower end of its 95 % interval over held-out images, the samples fixed"),
    "fld_gap_hi": ("float64", "0.01 nats", "upper end of its 95 % interval over held-out images, the samples fixed"),
    "fld_gap_control": (
        "float64",
        "0.01 nats",
        "fld_gap with half of the held-out images as samples, on the other half: below 0 by the fit of the variances",
    ),
    "fld_nll": (
        "float64",
        "0.01 nats",
        "100/d times the mean negative log-likelihood of held-out images under Gaussians around the samples",
    ),
    "fld_baseline": ("float64", "0.01 nats", "fld_nll of half of the training images, fitted on the other half"),
    "fld_features": ("string", "", "the feature space"),
    "fld_dimensions": ("int64", "features", "d, those that are not constant over the held-out images"),
    "fld_n_gen": ("int64", "images", "samples used"),
    "fld_n_train": ("int64", "images", "training images that the variances are fitted on"),
}

SEED = 7
SAMPLES = 10_000  # at most, as in the authors' evaluation
BATCH = 10_000  # training images a step
EPOCHS, LEARNING_RATE, BETAS, EPSILON = 50, 0.5, (0.9, 0.999), 1e-8  # Adam
JITTER = 1e-3  # added to the squared distances that the variances start from
LOG_VARIANCE = (-40.0, 20.0)  # copies would drive it to -inf
ORIGIN = 0.81  # of the squared distance to the mean of T, in the component that catches images far from all samples
CONSTANT = 1e-6  # of the largest deviation of any feature
BLOCK = 1 << 17  # log-likelihoods held at once: 1 MiB, within a cache
TILE = 1 << 22  # squared distances taken at once: 32 MiB
ROUNDED = 1 << 27  # squared distances that are kept in float64: 1 GiB; of 50,000 × 10,000, 2 GB are kept in float32

LOG_2PI = float(np.log(2 * np.pi))


@dataclass(frozen=True)
class Scale:
    """Mean and deviation (d,) of the features that are kept, by which all images are normalised."""

    kept: np.ndarray  # (all features,) bool
    mean: np.ndarray
    deviation: np.ndarray

    def __call__(self, features: np.ndarray) -> np.ndarray:
        return np.asarray((features[:, self.kept].astype(np.float64) - self.mean) / self.deviation)


def measure(
    samples: np.ndarray,
    train: np.ndarray,
    held_out: np.ndarray,
    embed: Embed,
    shared: Shared,
    *,
    features: str = "auto",
) -> Result:
    """p(x) = 1/m Σⱼ N(x; gⱼ, σⱼ²) around the samples, its variances fitted to T, evaluated on T and on H.

    A sample that copies gets a variance near 0, and is lost for H: with nothing but copies fld exceeds 1,000 by any
    amount. Features are normalised by H, and the baseline has half of T as its samples, as in the authors' code; that
    makes fld depend on the size of T through its baseline as well. Between sizes compare fld_nll, which has none.
    The variances are fitted in a fixed number of steps, without the early stop of the authors' code. Repeats and
    near-duplicates count once where T, for the baseline, and H, for the control, are split in halves: an image in both
    would be a sample that copies.

    Intervals are over held-out images, each less its own baseline: the samples, T, the fit and the normalisation are
    fixed. Other samples have other variances, which only several seeds show. That H also normalises moves fld_gap: its
    interval covers 93 % without copies, and 91 % where half of the samples are copies.

    fld_gap leans below 0 even for an honest model, since the variances have seen T: read it beside its control. fld is
    None for a single training image, and all are without samples, where every feature is constant, and for held-out
    images scored as samples.

    features: the feature space; auto is the classifier where there are labels, and random_conv elsewhere.
    """
    require_held_out("likelihood", held_out, HELD_OUT_MIN)
    if not len(train):
        raise ValueError("likelihood needs training images to fit its variances on, there are 0")
    used = drawn(samples, SAMPLES, (SEED, 0))
    values: dict[str, float | int | str | bool | None] = dict.fromkeys(COLUMNS)
    values |= {"fld_features": name_of(embed, features), "fld_n_gen": len(used), "fld_n_train": len(train)}
    real = shared(f"references-{len(used)}", lambda: _real(embed, train, held_out, len(used)))
    scale = scale_of(real["held_out"])
    values["fld_dimensions"] = int(scale.kept.sum())
    if not (len(used) and scale.kept.any()) or among(used, held_out):
        return Result(values)
    t, h = scale(real["train"]), scale(real["held_out"])
    of_train, of_held_out = evaluated(scale(features_of("likelihood", embed, used)), t, h)
    nll, gap = float(of_held_out.mean()), float(of_train.mean() - of_held_out.mean())
    values |= {"fld_nll": nll, "fld_gap": gap}
    once = of_held_out[real["once"]]  # of each distinct held-out image
    values["fld_gap_lo"], values["fld_gap_hi"] = interval(gap, once)
    if "gap_control" in real:
        values["fld_gap_control"] = float(real["gap_control"])
    if "baseline" in real:
        baseline = real["baseline"]  # of each distinct held-out image too
        fld = nll - float(baseline.mean())
        values |= {"fld_baseline": float(baseline.mean()), "fld": fld}
        values["fld_lo"], values["fld_hi"] = interval(fld, once - baseline)
    return Result(values)


def _real(embed: Embed, train: np.ndarray, held_out: np.ndarray, count: int) -> dict[str, np.ndarray]:
    """What does not depend on the samples but for their count: features, and what the two controls need."""
    features = {
        "train": features_of("likelihood", embed, train),
        "held_out": features_of("likelihood", embed, held_out),
    }
    t, h = _normalised(**features)
    once = distinct(held_out)
    return features | {"once": once} | _references(t[distinct(train)], h[once], count)


def interval(value: float, each: np.ndarray) -> tuple[float, float]:
    """value ± 1.96 standard errors of the mean of what each held-out image, of 2 or more, contributes (n,)."""
    half = NormalDist().inv_cdf(0.975) * float(each.std(ddof=1) / np.sqrt(len(each)))
    return value - half, value + half


def scale_of(held_out: np.ndarray) -> Scale:
    """By the held-out features (n, d), n >= 2."""
    deviation = held_out.std(axis=0, ddof=1, dtype=np.float64)
    kept = deviation > CONSTANT * max(deviation.max(), CONSTANT * abs(held_out).max())
    return Scale(kept, held_out.mean(axis=0, dtype=np.float64)[kept], deviation[kept])


def likelihoods(centres: np.ndarray, train: np.ndarray, held_out: np.ndarray) -> tuple[float, float]:
    """-100/d E log p on train and on held-out features, variances around the centres fitted on the former."""
    of_train, of_held_out = evaluated(centres, train, held_out)
    return float(of_train.mean()), float(of_held_out.mean())


def evaluated(centres: np.ndarray, train: np.ndarray, held_out: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same of each image: (n,) and (m,)."""
    to_train = _distances(train, centres)
    origin = ORIGIN * np.sum((train - train.mean(axis=0)) ** 2, axis=1)
    log_variances = fitted(to_train, origin, train.shape[1])
    of_train = _negative_log_likelihood(to_train, log_variances, train.shape[1])
    return of_train, _negative_log_likelihood(_distances(held_out, centres), log_variances, train.shape[1])


def fitted(squared: np.ndarray, origin: np.ndarray, dimensions: int) -> np.ndarray:
    """log σⱼ² (m,) that make training images likely: a fixed number of steps of Adam from the nearest one's distance.

    squared: (n, m), from training images to centres; origin: (n,), to the mean, whose variance is fitted along.
    """
    parameters = np.append(np.log((squared.min(axis=0) + JITTER) / dimensions), 0.0)
    first, second = np.zeros_like(parameters), np.zeros_like(parameters)
    order = np.random.default_rng((SEED, 1)).permutation(len(squared))
    batches = [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
    for step in range(EPOCHS * len(batches)):
        gradient = _gradient(squared, origin, batches[step % len(batches)], parameters, dimensions)
        first = BETAS[0] * first + (1 - BETAS[0]) * gradient
        second = BETAS[1] * second + (1 - BETAS[1]) * gradient**2
        mean, square = first / (1 - BETAS[0] ** (step + 1)), second / (1 - BETAS[1] ** (step + 1))
        parameters -= LEARNING_RATE * mean / (np.sqrt(square) + EPSILON)
        parameters[:-1] = np.clip(parameters[:-1], *LOG_VARIANCE)
    return parameters[:-1]


def _gradient(
    squared: np.ndarray, origin: np.ndarray, batch: np.ndarray, parameters: np.ndarray, dimensions: int
) -> np.ndarray:
    """Of -1/(n d) Σᵢ log [1/m Σⱼ N(xᵢ; gⱼ, σⱼ²) + N(√0.81 (xᵢ − x̄); 0, σ₀²)] by the log σ²: (m + 1,).

    With responsibilities r it is -1/(n d) Σᵢ rᵢⱼ (Dᵢⱼ/(2σⱼ²) − d/2).
    """
    mass, pull = np.zeros(len(parameters)), np.zeros(len(parameters))  # Σᵢ rᵢⱼ and Σᵢ rᵢⱼ Dᵢⱼ
    for rows in _rows(batch, squared.shape[1]):
        distances = squared[rows]
        logs = _component_logs(distances, parameters[:-1], dimensions)
        of_origin = _log_normal(origin[rows], parameters[-1], dimensions)
        top = np.maximum(logs.max(axis=1), of_origin)
        shares, of_origin = np.exp(logs - top[:, None], out=logs), np.exp(of_origin - top)
        weight = 1 / (shares.sum(axis=1) + of_origin)
        mass[:-1] += weight @ shares
        shares *= distances
        pull[:-1] += weight @ shares
        mass[-1] += weight @ of_origin
        pull[-1] += weight @ (of_origin * origin[rows])
    return np.asarray((mass / 2 - pull * np.exp(-parameters) / (2 * dimensions)) / len(batch))


def _negative_log_likelihood(squared: np.ndarray, log_variances: np.ndarray, dimensions: int) -> np.ndarray:
    """-100/d log p (n,) of images with these squared distances (n, m) to the centres."""
    each = np.empty(len(squared))
    for rows in _rows(np.arange(len(squared)), squared.shape[1]):
        logs = _component_logs(squared[rows], log_variances, dimensions)
        top = logs.max(axis=1)
        each[rows] = top + np.log(np.exp(logs - top[:, None]).sum(axis=1))
    return -100 * each / dimensions


def _component_logs(squared: np.ndarray, log_variances: np.ndarray, dimensions: int) -> np.ndarray:
    """log [1/m N(xᵢ; gⱼ, σⱼ²)]: (n, m) float64."""
    logs = squared * (-0.5 * np.exp(-log_variances))
    logs -= dimensions / 2 * (log_variances + LOG_2PI) + np.log(len(log_variances))
    return np.asarray(logs)


def _log_normal(squared: np.ndarray, log_variance: float, dimensions: int) -> np.ndarray:
    return np.asarray(-0.5 * squared * np.exp(-log_variance) - dimensions / 2 * (log_variance + LOG_2PI))


def _normalised(train: np.ndarray, held_out: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scale = scale_of(held_out)
    return scale(train), scale(held_out)


def _references(train: np.ndarray, held_out: np.ndarray, n_gen: int) -> dict[str, np.ndarray]:
    """What every snapshot of the subset shares, from normalised features: the baseline, and an honest model's gap."""
    arrays: dict[str, np.ndarray] = {}
    if not train.shape[1]:
        return arrays
    rng = np.random.default_rng((SEED, 2))
    if len(train) >= 2:
        shuffled = rng.permutation(train)
        half = max(1, min(n_gen, len(train) // 2))
        arrays["baseline"] = evaluated(shuffled[:half], shuffled[half:], held_out)[1]
    shuffled = rng.permutation(held_out)
    half = min(SAMPLES, len(held_out) // 2)
    of_train, of_held_out = likelihoods(shuffled[:half], train, shuffled[half:])
    return arrays | {"gap_control": np.array(of_train - of_held_out)}


def _distances(x: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Squared, (n, m); where there are very many, rounded to float32 after they were taken in float64."""
    kept_as = np.float64 if len(x) * len(centres) <= ROUNDED else np.float32
    squared, squared_to_centres = np.empty((len(x), len(centres)), kept_as), squared_distances_to(centres)
    for rows in _rows(np.arange(len(x)), len(centres), TILE):
        squared[rows] = squared_to_centres(x[rows])
    return squared


def _rows(places: np.ndarray, columns: int, elements: int = BLOCK) -> list[np.ndarray]:
    """The places in blocks of so many rows as `columns` allow, for so many elements."""
    step = max(1, elements // columns)
    return [places[start : start + step] for start in range(0, len(places), step)]
