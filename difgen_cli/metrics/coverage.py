"""Precision and recall (Kynkäänniemi et al. 2019), density and coverage (Naeem et al. 2020) in a feature space."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Gt

from difgen_cli.metrics import Result, Shared, nearest, wilson
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
HELD_OUT_MIN = 2

COLUMNS = {
    "precision": (
        "float64",
        "share",
        "samples within reach of a held-out image: as far as its k-th nearest held-out one",
    ),
    "precision_lo": ("float64", "share", "lower end of its 95 % Wilson interval over the samples"),
    "precision_hi": ("float64", "share", "upper end of its 95 % Wilson interval over the samples"),
    "precision_control": ("float64", "share", "the same for training images in place of samples; missing for too few"),
    "recall": ("float64", "share", "held-out images within reach of a sample: as far as its k-th nearest sample"),
    "recall_lo": ("float64", "share", "lower end of its 95 % Wilson interval over held-out images, the samples fixed"),
    "recall_hi": ("float64", "share", "upper end of its 95 % Wilson interval over held-out images, the samples fixed"),
    "recall_control": ("float64", "share", "the same for training images in place of samples"),
    "density": ("float64", "", "held-out images in reach of which a sample lies, over k: 1 on average for real images"),
    "density_lo": ("float64", "", "lower end of its 95 % t interval over the samples; missing where all agree"),
    "density_hi": ("float64", "", "upper end of its 95 % t interval over the samples; missing where all agree"),
    "density_control": ("float64", "", "the same for training images in place of samples"),
    "coverage": ("float64", "share", "held-out images that have a sample within reach of their k-th nearest one"),
    "coverage_lo": ("float64", "share", "lower end of its 95 % interval over held-out images, the samples fixed"),
    "coverage_hi": ("float64", "share", "upper end of its 95 % interval over held-out images, the samples fixed"),
    "coverage_control": ("float64", "share", "the same for training images in place of samples"),
    "coverage_features": ("string", "", "the feature space"),
    "coverage_n": ("int64", "images", "samples, and held-out images, compared: all four depend on it"),
}

SEED = 6
TILE = 1 << 22  # squared distances held at once: 32 MiB
EDGE = 1 + 1e-9  # times a squared radius: a point on the edge of a ball is in it, however it was rounded


@dataclass(frozen=True)
class Reach:
    """What lies within reach of what, for n real and n generated images."""

    balls: np.ndarray  # (n,) of each generated image: real balls that it lies in
    covered: np.ndarray  # (n,) of each real image: whether its ball holds a generated one
    nearly: np.ndarray  # (n,) the same of the ball that reaches one neighbour further
    recalled: np.ndarray  # (n,) of each real image: whether it lies in a generated one's ball

    def values(self, k: int) -> dict[str, float]:
        return {
            "precision": float((self.balls > 0).mean()),
            "recall": float(self.recalled.mean()),
            "density": float(self.balls.mean() / k),
            "coverage": float(self.covered.mean()),
        }


def measure(
    samples: np.ndarray,
    train: np.ndarray,
    held_out: np.ndarray,
    embed: Embed,
    shared: Shared,
    *,
    k: Annotated[int, Gt(0)] = 5,
    features: str = "auto",
) -> Result:
    """Balls around real and generated images that reach to the k-th nearest image of the same kind, edges included.

    As many samples as held-out images are compared, drawn at random from whichever is more. Training images in place
    of samples are the control, where there are as many: precision and recall of a perfect model are not 1. A copier of
    many training images has perfect values, so none of the four says anything of copying. Repeats and near-duplicates
    of held-out and of training images count once: else the ball around an image that is there more than k times has no
    radius. Samples are taken as they are, as few images again and again reach few others. All are None where there are
    not more than k images, and for held-out images scored as samples.

    Intervals: of precision and density over samples, H fixed; of recall and coverage over held-out images, the samples
    fixed, since those are what they count. That of coverage allows for the radii, which move with the held-out images
    around (a jackknife). Another draw of samples moves recall and coverage as well, which is not binomial: several
    seeds show it.

    k: which neighbour a ball reaches to.
    features: the feature space; auto is the classifier where there are labels, and random_conv elsewhere.
    """
    require_held_out("coverage", held_out, HELD_OUT_MIN)
    once = shared("distinct", lambda: {"train": distinct(train), "held_out": distinct(held_out)})
    real_images, train = held_out[once["held_out"]], train[once["train"]]
    n = min(len(samples), len(real_images))
    values: dict[str, float | int | str | bool | None] = dict.fromkeys(COLUMNS)
    values |= {"coverage_features": name_of(embed, features), "coverage_n": n}
    if n <= k or among(samples, held_out):
        return Result(values)

    def embedded(images: np.ndarray) -> np.ndarray:
        return features_of("coverage", embed, drawn(images, n, (SEED, len(images)))).astype(np.float32)

    def reference() -> dict[str, np.ndarray]:
        real = embedded(real_images)
        distances, neighbours = nearest(real, real, min(k + 1, n - 1), exclude_self=True)
        arrays = {"real": real, "radii": distances[:, k - 1], "further": distances[:, -1], "near": neighbours[:, :k]}
        if len(train) >= n:
            control = within_reach(real, arrays["radii"], embedded(train), k).values(k)
            arrays |= {f"{name}_control": np.array(value) for name, value in control.items()}
        return arrays

    of_real = shared(f"held_out-{n}", reference)
    reach = within_reach(of_real["real"], of_real["radii"], embedded(samples), k, of_real["further"])
    values |= reach.values(k)
    values |= {name: float(of_real[name]) for name in COLUMNS if name in of_real}
    values["precision_lo"], values["precision_hi"] = wilson(int((reach.balls > 0).sum()), n)
    values["recall_lo"], values["recall_hi"] = wilson(int(reach.recalled.sum()), n)
    values["coverage_lo"], values["coverage_hi"] = coverage_interval(reach, of_real["near"])
    values["density_lo"], values["density_hi"] = _mean_interval(reach.balls / k)
    return Result(values)


def coverage_interval(reach: Reach, near: np.ndarray) -> tuple[float, float]:
    """Wilson's interval of the coverage for as many images as make its standard error over real images.

    near: (n, k) places of the k nearest others of each. Without one of them an image's ball reaches one neighbour
    further: leaving out image j takes its own part, and adds the images that only the further ball covers. The variance
    is the jackknife's, which errs on the wide side (Efron & Stein 1981): with H drawn anew 94 to 100 % are covered.
    """
    n, share = len(near), float(reach.covered.mean())
    gained = np.repeat(reach.nearly & ~reach.covered, near.shape[1])
    parts = reach.covered - np.bincount(near.ravel()[gained], minlength=n)
    variance, binomial = float(parts.var(ddof=1)) / n, share * (1 - share)
    count = max(1, min(n, round(binomial / variance))) if binomial and variance else n
    return wilson(share * count, count)


def radii_of(features: np.ndarray, k: int) -> np.ndarray:
    """Distance (n,) of each row to its k-th nearest other row."""
    distances, _ = nearest(features, features, k, exclude_self=True)
    return np.asarray(distances[:, k - 1])


def within_reach(
    real: np.ndarray, radii: np.ndarray, generated: np.ndarray, k: int, further: np.ndarray | None = None
) -> Reach:
    """Of features (n, d) and the radii of the real ones; further: radii that reach one neighbour further."""
    wide = radii if further is None else further
    own_radii = radii_of(generated, k)
    balls = np.zeros(len(generated), np.int64)
    covered, nearly, recalled = (np.zeros(len(real), bool) for _ in range(3))
    squared_to_real, rows = squared_distances_to(real), max(1, TILE // len(real))
    for start in range(0, len(generated), rows):
        block = slice(start, start + rows)
        squared = squared_to_real(generated[block])
        in_real = squared <= EDGE * radii**2
        balls[block] = in_real.sum(axis=1)
        covered |= in_real.any(axis=0)
        nearly |= (squared <= EDGE * wide**2).any(axis=0)
        recalled |= (squared <= EDGE * own_radii[block, None] ** 2).any(axis=0)
    return Reach(balls, covered, nearly, recalled)


def _mean_interval(x: np.ndarray) -> tuple[float, float] | tuple[None, None]:
    """Student's 95 % interval of the mean of x >= 0; none where all agree, which says nothing of its spread."""
    from scipy.special import stdtrit

    if x.min() == x.max():  # the deviation of equal numbers may be rounding
        return None, None
    half_width = float(stdtrit(len(x) - 1, 0.975) * x.std(ddof=1) / np.sqrt(len(x)))
    return max(0.0, float(x.mean()) - half_width), float(x.mean()) + half_width
