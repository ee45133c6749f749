"""The ratio of held-out to training loss over noise levels: simultaneous bands, its peak, and the peak's bias."""

from dataclasses import dataclass

import numpy as np

SEED = 4
LEVEL = 0.95
FINE = 16  # places of the spline to each step of the grid


@dataclass(frozen=True)
class Gap:
    """log(L_H/L_T) by σ, and the ends of its simultaneous band; NaN where a loss is 0 or a split is one image."""

    log_ratio: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    critical: float  # standard errors from the middle to the ends, before the correction for few images; NaN likewise


def gap_of(losses_T: np.ndarray, losses_H: np.ndarray, resamples: int) -> Gap:
    """Bands log r ± q se, q the 95 % quantile of the largest |log r* − log r| / se over σ (max-t).

    Few images: the deviations of each split get the factor √((n + 1)/(n − 1)) that makes their variance unbiased, and
    Student's t of Welch's degrees of freedom takes the place of the normal at the level that q stands for.
    """
    parts = losses_T, losses_H
    means = [part.mean(axis=0) for part in parts]
    defined = (means[0] > 0) & (means[1] > 0)
    log_ratio = np.full(len(defined), np.nan)
    log_ratio[defined] = np.log(means[1][defined] / means[0][defined])
    lower, upper, critical = np.full_like(log_ratio, np.nan), np.full_like(log_ratio, np.nan), np.nan
    if defined.any() and min(map(len, parts)) > 1:
        of_T, of_H = (_deviations(part[:, defined], resamples, split) for split, part in enumerate(parts))
        deviation = of_H - of_T
        error = deviation.std(axis=0)
        t = np.divide(abs(deviation), error, out=np.zeros_like(deviation), where=error > 0)
        critical = float(np.quantile(t.max(axis=1), LEVEL))
        freedom = _welch(of_T.var(axis=0), of_H.var(axis=0), len(losses_T), len(losses_H))
        half_width = _student(critical, freedom) * error
        lower[defined], upper[defined] = log_ratio[defined] - half_width, log_ratio[defined] + half_width
    return Gap(log_ratio, lower, upper, critical)


def null_of(losses_H: np.ndarray, log_sigma: np.ndarray, resamples: int) -> float | None:
    """The 95 % quantile of the largest gap between two random halves of H; None for fewer than 4 images."""
    half = len(losses_H) // 2
    if half < 2:
        return None
    drawn = np.random.default_rng((SEED, 12)).random((resamples, len(losses_H)), np.float32)
    first = np.zeros(drawn.shape)
    np.put_along_axis(first, drawn.argpartition(half, axis=1)[:, :half], 1.0, axis=1)
    sums = first @ losses_H
    means = sums / half, (losses_H.sum(axis=0) - sums) / (len(losses_H) - half)
    if min(mean.min() for mean in means) <= 0:
        return None
    return float(np.expm1(np.quantile(peak(np.log(means[1] / means[0]), log_sigma)[0], LEVEL)))


def peak(curves: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Height and place of the largest value of curves (..., s) on a rising grid x (s,), by a cubic spline through all
    of their values; at an end of the grid, and where it is flat, the value itself."""
    from scipy.interpolate import CubicSpline

    steps = np.linspace(0, len(x) - 1, FINE * (len(x) - 1) + 1)
    fine = np.interp(steps, np.arange(len(x)), x)
    return _vertex(np.asarray(CubicSpline(x, curves, axis=-1)(fine)), fine)


def _vertex(curves: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same by a parabola through the highest value and its neighbours."""
    k = curves.argmax(axis=-1)
    inner = np.clip(k, 1, len(x) - 2)
    y0, y1, y2 = (np.take_along_axis(curves, (inner + i)[..., None], -1)[..., 0] for i in (-1, 0, 1))
    x0, x1, x2 = (x[inner + i] for i in (-1, 0, 1))
    slope = (y1 - y0) / (x1 - x0)
    bend = ((y2 - y1) / (x2 - x1) - slope) / (x2 - x0)  # Newton: y₀ + slope (x − x₀) + bend (x − x₀)(x − x₁)
    bent = (k == inner) & (bend < 0)
    vertex = (x0 + x1) / 2 - np.divide(slope, 2 * bend, out=np.zeros_like(slope), where=bent)
    top = y0 + (vertex - x0) * (slope + bend * (vertex - x1))
    height = np.take_along_axis(curves, k[..., None], -1)[..., 0]
    return np.where(bent, top, height), np.where(bent, vertex, x[k])


def _deviations(per_image: np.ndarray, resamples: int, split: int) -> np.ndarray:
    """log of the mean (resamples, levels) under random weights of the images, Exp(1) (the Bayesian bootstrap, Rubin
    1981), less that under equal ones."""
    n = len(per_image)
    weights = np.random.default_rng((SEED, 10 + split)).standard_exponential((resamples, n))
    means = weights @ per_image / weights.sum(axis=1, keepdims=True)
    return np.asarray(np.sqrt((n + 1) / (n - 1)) * np.log(means / per_image.mean(axis=0)))


def _welch(variance_T: np.ndarray, variance_H: np.ndarray, n_T: int, n_H: int) -> np.ndarray:
    """Degrees of freedom of the sum of two estimated variances (Welch 1947); infinite where both are 0."""
    below = variance_T**2 / (n_T - 1) + variance_H**2 / (n_H - 1)
    total = (variance_T + variance_H) ** 2
    return np.asarray(np.divide(total, below, out=np.full_like(below, np.inf), where=below > 0))


def _student(z: float, freedom: np.ndarray) -> np.ndarray:
    """The quantile of Student's t at the level where the normal's is z."""
    from scipy.special import ndtr, stdtrit

    return np.asarray(stdtrit(np.minimum(freedom, 1e9), ndtr(z)))
