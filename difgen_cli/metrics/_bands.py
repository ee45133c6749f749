"""The ratio of held-out to training loss over noise levels: simultaneous bands, its peak, and the peak's bias."""

from dataclasses import dataclass

import numpy as np

SEED = 4
LEVEL = 0.95


@dataclass(frozen=True)
class Gap:
    """log(L_H/L_T) by σ, and the ends of its simultaneous band; NaN where a loss is 0 or a split is one image."""

    log_ratio: np.ndarray
    lower: np.ndarray
    upper: np.ndarray


def gap_of(losses_T: np.ndarray, losses_H: np.ndarray, resamples: int) -> Gap:
    """Bands log r ± q se, q the 95 % quantile of the largest |log r* − log r| / se over σ (max-t)."""
    means = losses_T.mean(axis=0), losses_H.mean(axis=0)
    defined = (means[0] > 0) & (means[1] > 0)
    log_ratio = np.full(len(defined), np.nan)
    log_ratio[defined] = np.log(means[1][defined] / means[0][defined])
    lower, upper = np.full_like(log_ratio, np.nan), np.full_like(log_ratio, np.nan)
    if defined.any() and min(len(losses_T), len(losses_H)) > 1:
        resampled = [_reweighted(part[:, defined], resamples, split) for split, part in enumerate((losses_T, losses_H))]
        deviation = np.log(resampled[1] / resampled[0]) - log_ratio[defined]
        error = deviation.std(axis=0)
        t = np.divide(abs(deviation), error, out=np.zeros_like(deviation), where=error > 0)
        half_width = np.quantile(t.max(axis=1), LEVEL) * error
        lower[defined], upper[defined] = log_ratio[defined] - half_width, log_ratio[defined] + half_width
    return Gap(log_ratio, lower, upper)


def null_of(losses_H: np.ndarray, log_sigma: np.ndarray, resamples: int) -> float | None:
    """The 95 % quantile of the largest gap between two random halves of H; None for fewer than 4 images."""
    half = len(losses_H) // 2
    if half < 2:
        return None
    shuffled = np.random.default_rng((SEED, 12)).random((resamples, len(losses_H))).argsort(axis=1)
    first = np.zeros(shuffled.shape)
    np.put_along_axis(first, shuffled[:, :half], 1.0, axis=1)
    sums = first @ losses_H
    means = sums / half, (losses_H.sum(axis=0) - sums) / (len(losses_H) - half)
    if min(mean.min() for mean in means) <= 0:
        return None
    return float(np.expm1(np.quantile(peak(np.log(means[1] / means[0]), log_sigma)[0], LEVEL)))


def peak(curves: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Height and place of the largest value of curves (..., s) on an even grid x (s,), by a parabola through its three
    highest neighbours; at an end of the grid, and where it is flat, the value itself."""
    k = curves.argmax(axis=-1)
    inner = np.clip(k, 1, len(x) - 2)
    left, middle, right = (np.take_along_axis(curves, (inner + i)[..., None], -1)[..., 0] for i in (-1, 0, 1))
    curvature = left - 2 * middle + right
    bent = (k == inner) & (curvature < 0)
    slope = np.where(bent, left - right, 0.0)
    offset = np.divide(slope, 2 * curvature, out=np.zeros_like(slope), where=bent)
    height = np.take_along_axis(curves, k[..., None], -1)[..., 0] - slope * offset / 4
    return height, x[k] + offset * (x[1] - x[0])


def _reweighted(per_image: np.ndarray, resamples: int, split: int) -> np.ndarray:
    """Means (resamples, levels) under random weights of the images, Exp(1) (the Bayesian bootstrap, Rubin 1981)."""
    weights = np.random.default_rng((SEED, 10 + split)).standard_exponential((resamples, len(per_image)))
    return np.asarray(weights @ per_image / weights.sum(axis=1, keepdims=True))
