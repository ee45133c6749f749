"""Shares of samples that come in groups, such as the images of one prompt, which are not independent."""

from statistics import NormalDist

import numpy as np

from difgen_cli.metrics import wilson

LEAST = 5  # groups from which on an interval is told

Interval = tuple[float, float] | tuple[None, None]


def share_interval(hits: np.ndarray, groups: np.ndarray | None, level: float = 0.95) -> Interval:
    """The interval in [0, 1] of the mean of `hits` (n,), each in [0, 1], where the samples' `groups` (n,) are drawn.

    Without groups it is Wilson's. With groups: the jackknife's variance over groups, on the logit, with Student's t;
    where each group hits wholly or not at all, and so where all samples agree, Wilson's for as many draws as there are
    groups, of unequal ones as many equal ones as weigh the same (Kish 1965). (None, None) below five groups.
    """
    if groups is None:
        return wilson(float(np.sum(hits)), len(hits), level)
    _, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if len(sizes) < LEAST:
        return None, None
    value, weight = float(np.mean(hits)), sizes / len(hits)
    within = np.bincount(group, hits) / sizes
    if np.isin(within, (0, 1)).all():
        worth = effective(weight)
        return wilson(value * worth if 0 < value < 1 else round(value) * worth, worth, level)
    parts = (within - value) * weight / (1 - weight)
    return on_logit(value, float((parts**2).sum()), freedom(parts), level=level)


def on_logit(
    value: float, variance: float, freedom: float, worth: float | None = None, level: float = 0.95
) -> tuple[float, float]:
    """The interval in [0, 1] of a share with this variance, estimated with these degrees of freedom, on the logit.

    worth: however well they agree, so many independent units show no share above n/(n + z²), Wilson's lower end where
    all n agree, nor below z²/(n + z²).
    """
    from scipy.special import expit, logit

    lower = upper = value
    if 0 < value < 1:
        reach = quantile(freedom, level) * np.sqrt(variance) / (value * (1 - value))
        lower, upper = float(expit(logit(value) - reach)), float(expit(logit(value) + reach))
    if worth is None:
        return lower, upper
    least, most = bounds(worth, level)
    return min(lower, most), max(upper, least)


def quantile(freedom: float, level: float = 0.95) -> float:
    """How many standard errors a 95 % interval reaches to either side: Student's t."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + level) / 2))


def bounds(worth: float, level: float = 0.95) -> tuple[float, float]:
    """The upper end where none of so many independent units agrees, and the lower end where all do, by Wilson."""
    z = NormalDist().inv_cdf((1 + level) / 2)
    return z**2 / (worth + z**2), worth / (worth + z**2)


def freedom(parts: np.ndarray) -> float:
    """The degrees of freedom (at least 2) of a variance that is the sum of the squares of `parts` (n,).

    By the spread of the squares (Satterthwaite 1946): about n − 1 for normal parts, few where few are large.
    """
    squares = parts**2
    total = float(squares.sum())
    spread = float((squares**2).sum()) - total**2 / max(1, len(parts))
    return 1e9 if spread <= 2e-9 * total**2 else max(2.0, 2 * total**2 / spread - 1)


def effective(weights: np.ndarray) -> float:
    """How many equal units weigh as much as `weights` (n,), which add up to 1 (Kish 1965)."""
    return float(1 / (weights**2).sum())
