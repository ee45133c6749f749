"""Which share of a claim was used in training: dataset usage cardinality inference (Tong et al. 2025)."""

import numpy as np

from difgen_cli.metrics._claims import LEAST

REFERENCES_MIN = 3  # below them nothing says how much models differ
IMAGES_MIN = 20  # of the references' own, on each side
RATE_MIN = 0.1  # that the share found must be above that of false alarms

Share = tuple[float, float, float]


def share_used(
    own: np.ndarray, phi: np.ndarray, trained: np.ndarray, of_claim: np.ndarray, of_pool: np.ndarray
) -> Share | None:
    """The share, and its 95 % interval cut to [0, 1]; None where it cannot be had.

    own (n,): φ of the model; phi, trained (K, n): of references; of_claim, of_pool (n,): images of the claim, and those
    that references were trained on or not. All others are control images, which no model was trained on.

    (share flagged − false alarms) / (share found − false alarms). An image is flagged where φ, less its mean over the
    other models that were not trained on it, lies above the middle between both kinds. The share found is that of the
    references among the images that they were trained on, by each other; false alarms are those among images of the
    claim that they were not trained on, so that a claim of one kind has its own. The interval has the luck of the
    claim's images, and how much references differ, with Student's t.
    """
    if len(phi) < REFERENCES_MIN:
        return None
    control = ~of_claim & ~of_pool
    scores = [_apart(phi[k], np.delete(phi, k, 0), np.delete(trained, k, 0), control) for k in range(len(phi))]
    inside = [~np.isnan(s) & t & of_pool for s, t in zip(scores, trained, strict=True)]
    outside = [~np.isnan(s) & ~t & of_pool for s, t in zip(scores, trained, strict=True)]
    without = [~np.isnan(s) & ~t & of_claim for s, t in zip(scores, trained, strict=True)]
    sides = zip(inside, outside, without, strict=True)
    usable = [
        k for k, (one, other, third) in enumerate(sides)
        if min(one.sum(), other.sum()) >= IMAGES_MIN and third.sum() >= LEAST
    ]  # fmt: skip
    target = _apart(own, phi, trained, control)
    asked = of_claim & ~np.isnan(target)
    if len(usable) < REFERENCES_MIN or asked.sum() < LEAST:
        return None
    middle = np.mean([(scores[k][inside[k]].mean() + scores[k][outside[k]].mean()) / 2 for k in usable])
    hits = np.array([(scores[k][inside[k]] > middle).mean() for k in usable])
    alarms = np.array([(scores[k][without[k]] > middle).mean() for k in usable])
    return _estimate(float((target[asked] > middle).mean()), int(asked.sum()), hits, alarms)


def _estimate(flagged: float, images: int, hits: np.ndarray, alarms: np.ndarray) -> Share | None:
    from scipy.special import stdtrit

    hit_rate, alarm_rate = float(hits.mean()), float(alarms.mean())
    if hit_rate - alarm_rate < RATE_MIN:
        return None
    value, count = (flagged - alarm_rate) / (hit_rate - alarm_rate), len(hits)
    part = min(max(value, 0.0), 1.0)
    smooth = (flagged * images + 1) / (images + 2)
    one_more = 1 + 1 / count  # the model is one more draw of such a model
    variance = smooth * (1 - smooth) / images
    variance += one_more * (part**2 * float(hits.var(ddof=1)) + (1 - part) ** 2 * float(alarms.var(ddof=1)))
    half = float(stdtrit(count - 1, 0.975)) * float(np.sqrt(variance)) / (hit_rate - alarm_rate)
    return part, min(max(value - half, 0.0), 1.0), max(min(value + half, 1.0), 0.0)


def _apart(own: np.ndarray, phi: np.ndarray, trained: np.ndarray, control: np.ndarray) -> np.ndarray:
    """φ less the mean over models that were not trained on the image, less its mean over the control: (n,); NaN where
    all were."""
    count = (~trained).sum(axis=0)
    mean = np.where(trained, 0.0, phi).sum(axis=0) / np.maximum(count, 1)
    scores = np.where(count > 0, own - mean, np.nan)
    return np.asarray(scores - np.nanmean(scores[control]))
