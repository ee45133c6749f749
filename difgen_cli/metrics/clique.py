"""How many samples the model makes again from other noise: what can be said of copies without training images."""

import numpy as np

from difgen_cli.metrics import Result, Value, flat
from difgen_cli.metrics._groups import on_logit
from difgen_cli.neighbours import groups

VERSION = 1

COLUMNS = {
    "clique_frac": (
        "float64",
        "share",
        "samples with another sample, from other noise, within 0.05 rms: 0 for images that are all different",
        {"label": "samples that are made again", "scale": "share"},
    ),
    "clique_frac_lo": ("float64", "share", "lower end of its 95 % interval over draws of as many samples"),
    "clique_frac_hi": ("float64", "share", "upper end of its 95 % interval over draws of as many samples"),
    "clique_largest": (
        "int64",
        "samples",
        "in the largest group that such pairs join: of a model that makes few images, most of them",
        {"role": "count"},
    ),
    "clique_constant": ("int64", "samples", "of a single colour, which are counted as any others", {"role": "count"}),
}

PER_CLIQUE = 2  # samples, at least: so many stand for one independent event


def measure(samples: np.ndarray) -> Result:
    """The share of samples (n, H, W, C) with another one less than 0.05 rms away; of points, that are equal.

    Of n independent copies of N images, each as likely, it is 1 − (1 − 1/N)^(n − 1) on average: the larger the more
    samples there are, so compare it at equal numbers. It needs no training images, and cannot tell copies from a model
    that makes few images. None for a single sample.
    """
    values: dict[str, Value] = dict.fromkeys(COLUMNS)
    if len(samples) > 1:
        sizes = np.unique_counts(groups(samples)).counts
        values |= zip(("clique_frac", "clique_frac_lo", "clique_frac_hi"), _share(sizes), strict=True)
        values["clique_largest"] = int(sizes.max())
        values["clique_constant"] = int((np.ptp(flat(samples), axis=1) == 0).sum())
    return Result(values)


def _share(sizes: np.ndarray) -> tuple[float, float, float]:
    """The share of samples in groups of two or more, given the sizes of all groups, with its 95 % interval.

    It is 1 − s₁/n, with s₁ samples that have no other. Where an image is sampled a Poisson number of times with mean λ,
    given the sum n over images, the variance of s₁ is Σ p(1 − p) − (Σ p(1 − λ))²/n with p = λ e^−λ. There Σ p is s₁,
    Σ λp is 2 s₂, for s₂ groups of two, and Σ p² is s₁ times p at the mean λ of the samples without another, 2 s₂/s₁
    (Good 1953). The interval is on the logit.
    """
    n, ones, twos = int(sizes.sum()), int((sizes == 1).sum()), int((sizes == 2).sum())
    mean = 2 * twos / max(1, ones)
    variance = ones * (1 - mean * np.exp(-mean)) - (ones - 2 * twos) ** 2 / n
    decisive = min(ones, int((sizes > 1).sum()))
    value = (n - ones) / n
    ends = on_logit(value, max(0.0, variance) / n**2, max(2, decisive - 1), n / PER_CLIQUE)
    return value, *ends
