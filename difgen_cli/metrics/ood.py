"""Out-of-distribution detection by nearest neighbours in a feature space (Sun et al. 2022; Adaloglou et al. 2023)."""

from typing import Annotated, Literal

import numpy as np
from annotated_types import Gt

from difgen_cli.metrics import Result, Shared, nearest
from difgen_cli.metrics._features import Embed, among, drawn, features_of, name_of, require_held_out, unit
from difgen_cli.metrics._ranks import LEVEL, auroc
from difgen_cli.neighbours import distinct

VERSION = 2
HELD_OUT_MIN = 1

COLUMNS = {
    "ood_auroc": ("float64", "", "P(a held-out image is more similar to T than one of the other data set), ties 1/2"),
    "ood_auroc_lo": ("float64", "", "lower end of its 95 % interval over images, DeLong's on the logit scale"),
    "ood_auroc_hi": ("float64", "", "upper end of its 95 % interval over images"),
    "ood_fpr95": (
        "float64",
        "share",
        "images of the other data set that pass for held-out ones, where 95 % of those do",
    ),
    "ood_fpr95_lo": ("float64", "share", "lower end of its 95 % interval over images of both"),
    "ood_fpr95_hi": ("float64", "share", "upper end of its 95 % interval over images of both"),
    "ood_samples_auroc": (
        "float64",
        "",
        "ood_auroc with samples in place of the other data set: 0.5 where they are as similar to T as H, 0 for copies",
    ),
    "ood_samples_auroc_lo": ("float64", "", "lower end of its 95 % interval over images"),
    "ood_samples_auroc_hi": ("float64", "", "upper end of its 95 % interval over images"),
    "ood_samples_fpr95": ("float64", "share", "ood_fpr95 with samples: 0.95 where they are as similar to T as H is"),
    "ood_samples_fpr95_lo": ("float64", "share", "lower end of its 95 % interval over images of both"),
    "ood_samples_fpr95_hi": ("float64", "share", "upper end of its 95 % interval over images of both"),
    "ood_images": ("int64", "images", "of the other data set"),
    "ood_features": ("string", "", "the feature space"),
}

SEED = 7
NEVER = 1e-12  # a weight that adds nothing
PASSING = 20  # one in so many held-out images may fail: a true positive rate of 95 %


def measure(
    samples: np.ndarray,
    train: np.ndarray,
    held_out: np.ndarray,
    against: np.ndarray,
    embed: Embed,
    shared: Shared,
    *,
    similarity: Literal["cosine", "top_k", "nearest"] = "cosine",
    k: Annotated[int, Gt(0)] = 10,
    images: Annotated[int, Gt(0)] = 10_000,
    features: str = "auto",
) -> Result:
    """How well the similarity to T tells held-out images from those of another data set, and from samples.

    `against` is the other data set, in the size and colours of this one: what is detected is not its resolution, but
    blur or blockiness of resizing may be. Samples are hard to tell from held-out images where the model is good, and
    more similar to T than those where it copies. Repeats and near-duplicates of a training image are one of the k.
    Held-out images scored as samples have no value beside themselves.

    similarity: cosine: of the most similar training image; top_k: the mean cosine of the k most similar; nearest: minus
        the distance of normalised features to the k-th nearest, which ranks as its cosine does.
    k: of training images for top_k and nearest; all of T where there are fewer.
    images: of each kind, at most; drawn at random from more.
    features: the feature space; auto is the classifier where there are labels, and random_conv elsewhere.
    """
    require_held_out("ood", held_out, HELD_OUT_MIN)
    values: dict[str, float | int | str | bool | None] = dict.fromkeys(COLUMNS)
    others = drawn(against, images, (SEED, 1))
    values |= {"ood_images": len(others), "ood_features": name_of(embed, features)}
    real = unit("ood", features_of("ood", embed, train))
    if similarity != "cosine":  # of the nearest alone, which repeats do not move
        real = real[shared("distinct", lambda: {"train": distinct(train)})["train"]]

    def scores(part: np.ndarray) -> np.ndarray:
        return similarities(unit("ood", features_of("ood", embed, part)), real, similarity, k)

    reference = shared(
        "scores", lambda: {"held_out": scores(drawn(held_out, images, (SEED, 0))), "others": scores(others)}
    )
    values |= columns_of("ood", reference["held_out"], reference["others"])
    if len(samples) and not among(samples, held_out):
        values |= columns_of("ood_samples", reference["held_out"], scores(drawn(samples, images, (SEED, 2))))
    return Result(values)


def similarities(queries: np.ndarray, references: np.ndarray, rule: str, k: int) -> np.ndarray:
    """(n,) of unit features (n, d) to those of T (N, d), higher for the more similar: ‖a − b‖² = 2 − 2 cos."""
    wanted = 1 if rule == "cosine" else min(k, len(references))
    distances, _ = nearest(queries, references, wanted)
    if rule == "nearest":
        return np.asarray(-distances[:, -1])
    return np.asarray((1 - distances**2 / 2).mean(axis=1))


def fpr95(inside: np.ndarray, outside: np.ndarray) -> tuple[float, float, float]:
    """The share of `outside` that scores at or above the highest threshold that 95 % of `inside` reach; its interval.

    Both the threshold and the share are left to chance. The true threshold lies between the j-th and the next of the
    n scores of `inside` with the binomial weight of j in n at 5 %, whatever their distribution, and at either of the
    two with half of it here; given a threshold the share has Jeffreys' posterior. The interval's ends are quantiles of
    the mixture.
    """
    from scipy.optimize import brentq
    from scipy.special import bdtr, betainc

    n, m = len(inside), len(outside)
    # Of `outside`, for each score of `inside` as the threshold; for none lower and none higher at the ends.
    at_least = m - np.searchsorted(np.sort(outside), np.sort(inside), "left")
    value = float(at_least[n // PASSING] / m)
    counts = np.concatenate([np.insert(at_least, 0, m), np.append(at_least, 0)])
    weights = np.tile(np.diff(bdtr(np.arange(n + 1.0), n, 1 / PASSING), prepend=0) / 2, 2)
    likely = weights > NEVER
    counts, weights = counts[likely], weights[likely]

    def quantile(level: float) -> float:
        return float(brentq(lambda x: float(weights @ betainc(counts + 0.5, m - counts + 0.5, x)) - level, 0, 1))

    lower = 0.0 if value == 0 else min(value, quantile((1 - LEVEL) / 2))
    upper = 1.0 if value == 1 else max(value, quantile((1 + LEVEL) / 2))
    return value, lower, upper


def columns_of(name: str, inside: np.ndarray, outside: np.ndarray) -> dict[str, float | None]:
    """`<name>_auroc` and `<name>_fpr95` with their intervals, of scores that are higher for what is like T."""
    ranks, passing = auroc(inside, outside), fpr95(inside, outside)
    columns: dict[str, float | None] = {
        f"{name}_auroc": ranks.value, f"{name}_auroc_lo": ranks.lower, f"{name}_auroc_hi": ranks.upper
    }  # fmt: skip
    return columns | dict(zip((f"{name}_fpr95", f"{name}_fpr95_lo", f"{name}_fpr95_hi"), passing, strict=True))
