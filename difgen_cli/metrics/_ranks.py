"""How well a score tells two groups apart: the AUROC with an interval, and the share found at few false alarms."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

LEVEL = 0.95


@dataclass(frozen=True)
class Auroc:
    """P(positive > negative), ties one half, and its 95 % interval; None for the ends with a single image a group."""

    value: float
    lower: float | None
    upper: float | None


def auroc(positives: np.ndarray, negatives: np.ndarray) -> Auroc:
    """The AUROC of two groups of scores, with an interval after DeLong et al. 1988.

    The interval is taken on the logit scale, so that it stays within (0, 1), with Student's t of Welch's degrees of
    freedom for few images. Where the groups are apart, or all scores equal, DeLong's variance is 0 for lack of
    evidence: there it is Newcombe's (2006, method 5), which needs the AUROC and the counts alone.
    """
    return auroc_of_placements(placements(positives, negatives), 1 - placements(negatives, positives))


def auroc_of_placements(above: np.ndarray, below: np.ndarray) -> Auroc:
    """The same from the share of negatives that each positive is above, and of positives that each negative is below.

    Of several comparisons one after the other: theirs.
    """
    value, counts = float(above.mean()), (len(above), len(below))
    if min(counts) < 2:
        return Auroc(value, None, None)
    variances = above.var(ddof=1) / counts[0], below.var(ddof=1) / counts[1]
    if not 0 < value < 1 or sum(variances) == 0:
        return Auroc(value, *_newcombe(value, *counts))
    from scipy.special import expit, logit

    reach = half_width(variances, [n - 1 for n in counts]) / (value * (1 - value))
    return Auroc(value, float(expit(logit(value) - reach)), float(expit(logit(value) + reach)))


def half_width(variances: Sequence[float], freedoms: Sequence[float]) -> float:
    """Of the 95 % interval of a sum of independent means with these squared standard errors, each estimated with its
    degrees of freedom: Student's t with Welch's (1947)."""
    from scipy.special import stdtrit

    total = sum(variances)
    if total == 0:
        return 0.0
    freedom = total**2 / sum(v**2 / f for v, f in zip(variances, freedoms, strict=True))
    return float(stdtrit(freedom, (1 + LEVEL) / 2) * np.sqrt(total))


def found_at(positives: np.ndarray, negatives: np.ndarray, allowed: int) -> int:
    """How many positives lie above the lowest threshold that at most `allowed` of the negatives are above."""
    threshold = np.sort(negatives)[len(negatives) - 1 - allowed]
    return int((positives > threshold).sum())


def clopper_pearson(count: int, total: int) -> tuple[float, float]:
    """The exact 95 % interval for a share of `count` in `total` draws (Clopper & Pearson 1934)."""
    from scipy.special import betaincinv

    tail = (1 - LEVEL) / 2
    lower = 0.0 if count == 0 else float(betaincinv(count, total - count + 1, tail))
    upper = 1.0 if count == total else float(betaincinv(count + 1, total - count, 1 - tail))
    return lower, upper


def placements(scores: np.ndarray, others: np.ndarray) -> np.ndarray:
    """For each score the share of `others`, of any shape, below it, ties one half: like scores."""
    ordered = np.sort(others, axis=None)
    left, right = (np.searchsorted(ordered, scores, side) for side in ("left", "right"))
    return np.asarray((left + right) / (2 * ordered.size))


def _newcombe(value: float, positives: int, negatives: int) -> tuple[float, float]:
    """Newcombe 2006, method 5: the AUROCs within z standard errors, of Hanley & McNeil 1982, of `value`."""
    from scipy.optimize import brentq

    z, mean = NormalDist().inv_cdf((1 + LEVEL) / 2), (positives + negatives) / 2 - 1

    def beyond(theta: float) -> float:
        variance = theta * (1 - theta) * (1 + mean * (1 - theta) / (2 - theta) + mean * theta / (1 + theta))
        return float((value - theta) ** 2 - z**2 * variance / (positives * negatives))

    edge = 1e-9  # of both ends, where the variance is 0
    lower = 0.0 if value == 0 else float(brentq(beyond, 0.0, min(value, 1 - edge)))
    upper = 1.0 if value == 1 else float(brentq(beyond, max(value, edge), 1.0))
    return lower, upper
