"""Whether a model was trained on an image, judged by models of the same kind that were trained on other subsets.

A signal φ is minus the logarithm of a denoising loss: high for images that a model knows. Easy images have a high φ in
every model, whether it was trained on them or not; the difference to other models, the references, is free of that
(Carlini et al. 2022, Watson et al. 2022). References that were trained on an image themselves have a φ that is higher
by a shift Δ. With few references one Δ for all images is all that can be estimated: the mean and the spread of each
image, as in LiRA, would be mostly noise (measured: benchmarks/NOTES.md).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from difgen_cli.metrics._ranks import Auroc, auroc_of_placements, half_width, placements

MEAN_WORTH, SPREAD_WORTH = 1.0, 6.0  # models that the common mean and the common spread are worth in `student`
LEAST_SPREAD = 1e-3  # of φ, below which a spread is one of rounding


def shift(phi: np.ndarray, trained: np.ndarray) -> float:
    """Δ: by how much φ is higher in models that were trained on an image. phi, trained: (K, n).

    Least squares with a level for each model and each image. Where no image is in some subsets and not in others, as
    with one reference, there is no level for each image: the mean over T minus the mean over all others.
    """
    for centred in (_centred_twice, _centred):
        regressor = centred(trained.astype(float))
        if (square := float((regressor**2).sum())) > 1e-9 * trained.size:
            return float((regressor * centred(phi)).sum() / square)
    return 0.0


def difference(own: np.ndarray, phi: np.ndarray, trained: np.ndarray, delta: float) -> np.ndarray:
    """The shifted difference: φ of a model (n,) minus the mean over its references of φ − Δ · trained, (K, n)."""
    return np.asarray(own - (phi - delta * trained).mean(axis=0))


def student(own: np.ndarray, phi: np.ndarray, trained: np.ndarray, delta: float) -> np.ndarray:
    """Log-likelihood ratio of trained against not, (n,), by Student's t with shrunk means and spreads.

    Each image's mean is drawn towards that of all references, shifted by Δ, as if that were one model more, and its
    squared spread towards the common one, as if that were six: a normal-inverse-gamma prior, after BaVarIA (2026).
    """
    from scipy.stats import t

    centre, ratio = (phi - delta * trained).mean(axis=0), np.zeros(len(own))
    for sign, among, prior in ((1, trained, centre + delta), (-1, ~trained, centre)):
        count, mean, squares = _moments(phi, among)
        common = _common_spread(phi, among)
        posterior = (MEAN_WORTH * prior + count * mean) / (MEAN_WORTH + count)
        squares = squares + MEAN_WORTH * count / (MEAN_WORTH + count) * (mean - prior) ** 2
        freedom = SPREAD_WORTH + count
        variance = (SPREAD_WORTH * common**2 + squares) / freedom * (1 + 1 / (MEAN_WORTH + count))
        scale = np.sqrt(variance)
        ratio += sign * (t.logpdf((own - posterior) / scale, freedom) - np.log(scale))
    return ratio


def lira(own: np.ndarray, phi: np.ndarray, trained: np.ndarray, delta: float, *, own_spread: bool) -> np.ndarray:
    """LiRA's log-likelihood ratio (Carlini et al. 2022, online), (n,): normal, with a mean for each image in and out.

    own_spread: of each image, as published, which needs about 64 references; else one common to all. An image that all
    or no references were trained on has the mean of the others, shifted by Δ.
    """
    parts = [_moments(phi, among) for among in (trained, ~trained)]
    means = [
        np.where(count > 0, mean, other[1] + sign * delta)
        for sign, (count, mean, _), other in zip((1, -1), parts, parts[::-1], strict=True)
    ]
    ratio = np.zeros(len(own))
    for sign, among, mean, (count, _, squares) in zip((1, -1), (trained, ~trained), means, parts, strict=True):
        spread = np.full(len(own), _common_spread(phi, among))
        if own_spread:
            spread = np.where(count > 1, np.sqrt(squares / np.maximum(count - 1, 1)), spread)
        spread = np.maximum(spread, LEAST_SPREAD)
        ratio -= sign * (((own - mean) / spread) ** 2 / 2 + np.log(spread))
    return ratio


def split_half(own: np.ndarray, phi: np.ndarray, trained: np.ndarray, delta: float, among: np.ndarray) -> float:
    """Reliability of the shifted difference over references: its correlation between two halves of them, stepped up to
    all of them (Spearman 1910, Brown 1910). NaN below two references, or three images. among: (n,) which images.
    """
    if len(phi) < 2 or among.sum() < 3:
        return float("nan")
    halves = [difference(own, phi[k::2], trained[k::2], delta)[among] for k in (0, 1)]
    if min(half.std() for half in halves) == 0:
        return float("nan")
    correlation = float(np.corrcoef(*halves)[0, 1])
    return 2 * correlation / (1 + correlation) if correlation > -1 else float("nan")


def mean_auroc(single: Sequence[Auroc], variances: np.ndarray | None, left_out: np.ndarray) -> Auroc:
    """The mean AUROC of several models, with a 95 % interval over images and over models.

    single: of each model; variances: DeLong's of each, (M,); left_out: (g,) the mean, all of it made anew, where one of
    g random parts of the images is left out. The variance over images is the jackknife's of these means: it knows that
    models share images, and that each is a reference of the others. What models differ by beyond their own variances is
    added, with Student's t; without `variances` it is not: an interval over images, given the models. On the logit
    scale; where all are told apart the widest of the models' own intervals.
    """
    areas, models, parts = np.array([one.value for one in single]), len(single), len(left_out)
    value = float(areas.mean())
    if not 0 < value < 1:
        ends = [(one.lower, one.upper) for one in single if one.lower is not None and one.upper is not None]
        return Auroc(value, min(lower for lower, _ in ends), max(upper for _, upper in ends)) if ends else single[0]
    over_images = (parts - 1) / parts * float(((left_out - left_out.mean()) ** 2).sum())
    between = 0.0
    if variances is not None and models > 1:
        between = (float(areas.var(ddof=1)) - float(variances.mean())) / models
    half = half_width([over_images, max(between, 0.0)], [parts - 1, max(models - 1, 1)])
    middle, reach = np.log(value / (1 - value)), half / (value * (1 - value))
    return Auroc(value, *(float(1 / (1 + np.exp(-middle - side * reach))) for side in (-1, 1)))


def area(score: np.ndarray, positive: np.ndarray, negative: np.ndarray) -> float:
    """The AUROC of a score (n,) of one model."""
    return float(placements(score[positive], score[negative]).mean())


def delong(score: np.ndarray, positive: np.ndarray, negative: np.ndarray) -> tuple[Auroc, float]:
    """The AUROC of a score (n,) of one model with its interval over images, and its variance."""
    above = placements(score[positive], score[negative])
    below = 1 - placements(score[negative], score[positive])
    variance = sum(float(side.var(ddof=1)) / len(side) if len(side) > 1 else 0.0 for side in (above, below))
    return auroc_of_placements(above, below), variance


def _centred(x: np.ndarray) -> np.ndarray:
    return np.asarray(x - x.mean(axis=1, keepdims=True))


def _centred_twice(x: np.ndarray) -> np.ndarray:
    return np.asarray(_centred(x) - x.mean(axis=0) + x.mean())


def _moments(phi: np.ndarray, among: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each image over the models where `among`: how many, the mean (0 for none), and the sum of squares about it."""
    count = among.sum(axis=0)
    mean = (phi * among).sum(axis=0) / np.maximum(count, 1)
    return count, mean, (((phi - mean) * among) ** 2).sum(axis=0)


def _common_spread(phi: np.ndarray, among: np.ndarray) -> float:
    """The standard deviation about the images' means, pooled over images; that of all models where none has two."""
    for chosen in (among, np.ones_like(among)):
        count, _, squares = _moments(phi, chosen)
        if (freedom := int(np.maximum(count - 1, 0).sum())) > 0:
            return max(float(np.sqrt(squares.sum() / freedom)), LEAST_SPREAD)
    return max(float(phi.std()), LEAST_SPREAD)
