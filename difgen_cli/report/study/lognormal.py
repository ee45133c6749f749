"""A straight line through times that are known only to lie between two snapshots, on log-log axes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_ndtr

SIZES_MIN = 3  # sizes with both ends known; with fewer there is no slope to speak of
UNIFORM = 1 / np.sqrt(12)  # deviation of a uniform distribution of width 1
LOG_ROOT_2_PI = 0.5 * np.log(2 * np.pi)
MOST = 100.0  # of an exponent


@dataclass(frozen=True)
class FittedLine:
    """log τ = intercept + slope · log N + scatter · ε, ε standard normal; natural logarithms."""

    slope: float
    intercept: float
    scatter: float
    resolution: float  # standard error of the slope from not knowing where in the intervals τ is, whatever the scatter


def fit(sizes: np.ndarray, low: np.ndarray, high: np.ndarray) -> FittedLine | None:
    """The likeliest line where τ of each size is in (low, high]; low 0: left-censored, high ∞: right-censored.

    All sizes count, the censored ones by the probability of what is known of them; None where fewer than three have
    both ends. The scatter is at least `finest` of the intervals: below the snapshots' resolution it cannot be known,
    and where one line passes through every interval, so would many.

    In (1/s, a/s, b/s) the likelihood is log-concave (Burridge 1981), so that the maximum is the only one.
    """
    has_both_ends = (low > 0) & np.isfinite(high)
    if len(np.unique(sizes[has_both_ends])) < SIZES_MIN:
        return None
    with np.errstate(divide="ignore"):
        ends = np.log(np.asarray(low, float)), np.log(np.asarray(high, float))
    x = np.log(np.asarray(sizes, float))
    centre = float(x.mean())
    least = finest(low, high)
    middle = (ends[0][has_both_ends] + ends[1][has_both_ends]) / 2
    slope, height = np.polyfit(x[has_both_ends] - centre, middle, 1)
    scatter = max(least, float(np.std(middle - height - slope * (x[has_both_ends] - centre))))
    optimum = minimize(
        loss,
        np.array([1.0, height, slope]) / scatter,
        args=(x - centre, *ends),
        jac=True,
        method="L-BFGS-B",
        bounds=[(1e-6, 1 / least), (None, None), (None, None)],
        options={"ftol": 1e-14, "gtol": 1e-9, "maxiter": 1000},
    )
    precision, height, slope = (float(value) for value in optimum.x)
    resolution = least / float(np.sqrt(np.square(x[has_both_ends] - x[has_both_ends].mean()).sum()))
    return FittedLine(slope / precision, (height - slope * centre) / precision, 1 / precision, resolution)


def finest(low: np.ndarray, high: np.ndarray) -> float:
    """The least scatter that such intervals can tell: a uniform distribution's over the median one with both ends."""
    has_both_ends = (low > 0) & np.isfinite(high)
    return float(UNIFORM * np.median(np.log(high[has_both_ends] / low[has_both_ends])))


def loss(scaled: np.ndarray, x: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[float, np.ndarray]:
    """Minus the log-likelihood of (1/s, a/s, b/s), and its gradient; low −∞ and high ∞ are censored ends."""
    log_share, (low, pull_low), (high, pull_high) = _ends(scaled, x, low, high)
    moved = pull_high - pull_low
    to_precision = (pull_high * high - pull_low * low) / scaled[0] + moved * (scaled[1] + scaled[2] * x) / scaled[0]
    return -float(log_share.sum()), -np.array([to_precision.sum(), -moved.sum(), -(moved * x).sum()])


End = tuple[np.ndarray, np.ndarray]


def _ends(scaled: np.ndarray, x: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, End, End]:
    """log P of each interval; and of either end its z, and φ(z)/P: what moving that end does to log P (0: no end)."""
    precision, height, slope = scaled
    z = [precision * ends - (height + slope * x) for ends in (low, high)]
    log_share = _log_between(*z)
    ends = []
    for end in z:
        finite_z = np.where(np.isfinite(end), end, 0)
        log_pull = np.where(np.isfinite(end), -(finite_z**2) / 2 - LOG_ROOT_2_PI - log_share, -np.inf)
        ends.append((finite_z, np.exp(np.minimum(log_pull, MOST))))  # a search far off the mark may be cut short
    return log_share, ends[0], ends[1]


def _log_between(bottom: np.ndarray, top: np.ndarray) -> np.ndarray:
    """log(Φ(top) − Φ(bottom)), in the tail where it loses nothing."""
    upper = bottom > 0
    first, second = np.where(upper, -top, bottom), np.where(upper, -bottom, top)
    least, most = log_ndtr(first), log_ndtr(second)
    return np.asarray(most + np.log(-np.expm1(np.minimum(least - most, -1e-300))))
