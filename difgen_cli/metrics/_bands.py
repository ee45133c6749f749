"""The ratio of held-out to training loss over noise levels: simultaneous bands, its peak, and the peak's bias."""

from dataclasses import dataclass

import numpy as np

SEED = 4
FINE = 16  # places of the spline to each step of the grid
TAIL = 0.025  # beyond either end of an interval
FEWEST = 5  # images; of fewer, a resample is too often one image again and again


@dataclass(frozen=True)
class Gap:
    """log(L_H/L_T) by σ, (levels,), and 95 % intervals; NaN where a loss is 0 or a split has fewer than 5 images."""

    log_ratio: np.ndarray
    lower: np.ndarray  # of the band: holds at all σ together
    upper: np.ndarray
    lower_alone: np.ndarray  # of the interval for each σ alone
    upper_alone: np.ndarray
    critical: float  # standard errors from the middle to the band's ends with many images; NaN likewise

    def peak_interval(self, log_sigma: np.ndarray) -> tuple[float, float]:
        """Ends of the interval for the largest value over σ, a maximum of estimates being biased upwards.

        The peak may be anywhere, so the lower end is the band's. The largest value is at least the one at the true
        peak, wherever that is, so the upper end need hold at one σ alone.
        """
        return float(peak(self.lower, log_sigma)[0]), float(peak(self.upper_alone, log_sigma)[0])


def gap_of(losses_T: np.ndarray, losses_H: np.ndarray, resamples: int) -> Gap:
    """Intervals from a studentised bootstrap by image (Efron 1982; Hall 1988) of losses (images, levels) in each split.

    Each resample's deviation of log r is divided by its own standard error: t. A mean of few skewed losses rises and
    falls with its standard error, which neither percentiles nor Student's t know of. The quantiles of the largest and
    of the least t over σ, with 2.5 % beyond each, give the band (max-t); those of t at one σ the interval there.
    """
    parts = losses_T, losses_H
    means = [part.mean(axis=0) for part in parts]
    log_ratio, lower, upper, lower_alone, upper_alone = (np.full(len(means[0]), np.nan) for _ in range(5))
    defined = np.flatnonzero((means[0] > 0) & (means[1] > 0))
    log_ratio[defined] = np.log(means[1][defined] / means[0][defined])
    if min(map(len, parts)) < FEWEST or not len(defined):
        return Gap(log_ratio, lower, upper, lower_alone, upper_alone, np.nan)
    relative = [part[:, defined] / mean[defined] for part, mean in zip(parts, means, strict=True)]
    deviation, error = _resampled(relative, resamples)
    finite = np.isfinite(deviation).all(axis=0)
    if not finite.any():
        return Gap(log_ratio, lower, upper, lower_alone, upper_alone, np.nan)
    deviation, error, places = deviation[:, finite], error[:, finite], defined[finite]
    t = np.divide(deviation, error, out=np.zeros_like(deviation), where=error > 0)
    own = np.sqrt(sum(part[:, finite].var(axis=0) / (len(part) - 1) for part in relative))
    lower[places] = log_ratio[places] - np.quantile(t.max(axis=1), 1 - TAIL) * own
    upper[places] = log_ratio[places] - np.quantile(t.min(axis=1), TAIL) * own
    lower_alone[places] = log_ratio[places] - np.quantile(t, 1 - TAIL, axis=0) * own
    upper_alone[places] = log_ratio[places] - np.quantile(t, TAIL, axis=0) * own
    return Gap(log_ratio, lower, upper, lower_alone, upper_alone, _critical(deviation))


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
    return float(np.expm1(np.quantile(peak(np.log(means[1] / means[0]), log_sigma)[0], 1 - 2 * TAIL)))


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


def _resampled(relative: list[np.ndarray], resamples: int) -> tuple[np.ndarray, np.ndarray]:
    """log(L_H/L_T) of each resample and its standard error, both (resamples, levels), by the delta method.

    relative: the losses of each split with mean 1. A resample has as many images as there are, with replacement. NaN at
    levels where one has the mean 0: of its few positive losses it may have none.
    """
    logs, squares = [], []
    for split, losses in enumerate(relative):
        n = len(losses)
        rng = np.random.default_rng((SEED, 10 + split))
        shares = np.stack([np.bincount(rng.integers(n, size=n), minlength=n) for _ in range(resamples)]) / n
        shift = shares @ (losses - 1)  # squares of what is near 0 keep their digits
        variance = np.maximum(shares @ (losses - 1) ** 2 - shift**2, 0) / (n - 1)
        mean = np.where((shares @ losses).min(axis=0) > 0, 1 + shift, np.nan)
        logs.append(np.log(mean))
        squares.append(variance / mean**2)
    return logs[1] - logs[0], np.sqrt(squares[0] + squares[1])


def _critical(deviation: np.ndarray) -> float:
    """The 95 % quantile of the largest |deviation| over σ, in standard deviations."""
    spread = deviation.std(axis=0)
    scaled = np.divide(abs(deviation), spread, out=np.zeros_like(deviation), where=spread > 0)
    return float(np.quantile(scaled.max(axis=1), 1 - 2 * TAIL))
