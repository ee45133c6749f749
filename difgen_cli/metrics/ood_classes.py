"""Out-of-distribution detection by what the classes of T say of a feature space (Adaloglou et al. 2023)."""

from collections.abc import Callable
from typing import Annotated

import numpy as np
from annotated_types import Gt

from difgen_cli.metrics import Result, Shared, Value, nearest, wilson
from difgen_cli.metrics._features import Embed, among, drawn, features_of, name_of, require_held_out, unit
from difgen_cli.metrics._logistic import fit
from difgen_cli.metrics.ood import SEED, columns_of

VERSION = 1
HELD_OUT_MIN = 1

COLUMNS = {
    "ood_mahalanobis_auroc": (
        "float64",
        "",
        "P(a held-out image is nearer to its nearest class of T than one of the other data set), in Mahalanobis' "
        "distance with the classes' common covariance, ties 1/2",
    ),
    "ood_mahalanobis_auroc_lo": ("float64", "", "lower end of its 95 % interval over images, DeLong's on the logit"),
    "ood_mahalanobis_auroc_hi": ("float64", "", "upper end of its 95 % interval over images"),
    "ood_mahalanobis_fpr95": (
        "float64",
        "share",
        "images of the other data set that pass for held-out ones, where 95 % of those do",
    ),
    "ood_mahalanobis_fpr95_lo": ("float64", "share", "lower end of its 95 % interval over images of both"),
    "ood_mahalanobis_fpr95_hi": ("float64", "share", "upper end of its 95 % interval over images of both"),
    "ood_relative_mahalanobis_auroc": (
        "float64",
        "",
        "ood_mahalanobis_auroc of the squared distance minus that to all of T as one class",
    ),
    "ood_relative_mahalanobis_auroc_lo": ("float64", "", "lower end of its 95 % interval over images"),
    "ood_relative_mahalanobis_auroc_hi": ("float64", "", "upper end of its 95 % interval over images"),
    "ood_relative_mahalanobis_fpr95": ("float64", "share", "ood_mahalanobis_fpr95 of the same"),
    "ood_relative_mahalanobis_fpr95_lo": ("float64", "share", "lower end of its 95 % interval over images of both"),
    "ood_relative_mahalanobis_fpr95_hi": ("float64", "share", "upper end of its 95 % interval over images of both"),
    "ood_probe_auroc": ("float64", "", "ood_mahalanobis_auroc of the largest probability that a linear probe gives"),
    "ood_probe_auroc_lo": ("float64", "", "lower end of its 95 % interval over images"),
    "ood_probe_auroc_hi": ("float64", "", "upper end of its 95 % interval over images"),
    "ood_probe_fpr95": ("float64", "share", "ood_mahalanobis_fpr95 of the same"),
    "ood_probe_fpr95_lo": ("float64", "share", "lower end of its 95 % interval over images of both"),
    "ood_probe_fpr95_hi": ("float64", "share", "upper end of its 95 % interval over images of both"),
    "ood_samples_mahalanobis_auroc": (
        "float64",
        "",
        "ood_mahalanobis_auroc with samples in place of the other data set: 0.5 where they are as near as H",
    ),
    "ood_samples_mahalanobis_auroc_lo": ("float64", "", "lower end of its 95 % interval over images"),
    "ood_samples_mahalanobis_auroc_hi": ("float64", "", "upper end of its 95 % interval over images"),
    "ood_samples_relative_mahalanobis_auroc": ("float64", "", "the same of the relative distance"),
    "ood_samples_relative_mahalanobis_auroc_lo": ("float64", "", "lower end of its 95 % interval over images"),
    "ood_samples_relative_mahalanobis_auroc_hi": ("float64", "", "upper end of its 95 % interval over images"),
    "ood_samples_probe_auroc": ("float64", "", "the same of the linear probe"),
    "ood_samples_probe_auroc_lo": ("float64", "", "lower end of its 95 % interval over images"),
    "ood_samples_probe_auroc_hi": ("float64", "", "upper end of its 95 % interval over images"),
    "ood_knn_acc": (
        "float64",
        "share",
        "held-out images whose class is that of most of the k most similar training images",
        {"label": "nearest-neighbour accuracy", "scale": "share"},
    ),
    "ood_knn_acc_lo": ("float64", "share", "lower end of its 95 % Wilson interval"),
    "ood_knn_acc_hi": ("float64", "share", "upper end of its 95 % Wilson interval"),
    "ood_classes_images": ("int64", "images", "of the other data set", {"role": "count"}),
    "ood_classes_features": ("string", "", "the feature space"),
}

SMALLEST = 1e-12  # variance of a direction, of the largest one, that is not rounding

Score = Callable[[np.ndarray], np.ndarray]  # features (n, d) -> (n,), higher for what is like T


def measure(
    samples: np.ndarray,
    train: np.ndarray,
    held_out: np.ndarray,
    train_classes: np.ndarray | None,
    held_out_classes: np.ndarray | None,
    against: np.ndarray,
    embed: Embed,
    shared: Shared,
    *,
    k: Annotated[int, Gt(0)] = 10,
    images: Annotated[int, Gt(0)] = 10_000,
    features: str = "auto",
) -> Result:
    """How well three rules tell held-out images from those of another data set, and from samples.

    Mahalanobis' distance to the nearest class (Lee et al. 2018), the same relative to all of T (Ren et al. 2021), with
    correlations after Ledoit & Wolf (2004), which few images do not make singular; and the largest probability of a
    logistic regression on T (Hendrycks & Gimpel 2017). Intervals are over the images that are told apart, T fixed.
    Without classes all of T is one class: there is Mahalanobis' distance alone. So it is where T has a single class.

    k: training images that vote on the class of a held-out one, by the cosine; all of T where there are fewer.
    images: of each kind, at most; drawn at random from more.
    features: the feature space; auto is the classifier where there are labels, and random_conv elsewhere.
    """
    require_held_out("ood_classes", held_out, HELD_OUT_MIN)
    values: dict[str, Value] = dict.fromkeys(COLUMNS)
    others = drawn(against, images, (SEED, 1))
    values |= {"ood_classes_images": len(others), "ood_classes_features": name_of(embed, features)}

    def embedded(part: np.ndarray) -> np.ndarray:
        return features_of("ood_classes", embed, part).astype(np.float64)

    fitted = rules(embedded(train), train_classes)
    inside = drawn(held_out, images, (SEED, 0))

    def reference() -> dict[str, np.ndarray]:
        of_H, of_others = embedded(inside), embedded(others)
        return {f"{name}-{side}": rule(part) for name, rule in fitted.items()
                for side, part in (("held_out", of_H), ("others", of_others))}  # fmt: skip

    scores = shared("scores", reference)
    for name in fitted:
        values |= columns_of(f"ood_{name}", scores[f"{name}-held_out"], scores[f"{name}-others"])
    if len(samples) and not among(samples, held_out):
        generated = embedded(drawn(samples, images, (SEED, 2)))
        for name, rule in fitted.items():
            of_samples = columns_of(f"ood_samples_{name}", scores[f"{name}-held_out"], rule(generated))
            values |= {column: value for column, value in of_samples.items() if column in COLUMNS}
    if train_classes is not None and held_out_classes is not None:
        right = shared(
            "votes", lambda: {"right": _right(embedded, train, held_out, train_classes, held_out_classes, k)}
        )
        values["ood_knn_acc"] = float(right["right"].mean())
        values["ood_knn_acc_lo"], values["ood_knn_acc_hi"] = wilson(float(right["right"].sum()), len(held_out))
    return Result(values)


def rules(train: np.ndarray, classes: np.ndarray | None) -> dict[str, Score]:
    """The scores by name, fitted on features (n, d) of T; the nearness to its one class alone where it has no more."""
    whole = nearness(train, np.zeros(len(train), np.int64))
    if classes is None or len(np.unique(classes)) < 2:
        return {"mahalanobis": whole}
    of_classes, probe = nearness(train, classes), fit(train, classes)
    return {
        "mahalanobis": of_classes,
        "relative_mahalanobis": lambda x: of_classes(x) - whole(x),
        "probe": lambda x: probe.probabilities(x).max(axis=1),
    }


def nearness(train: np.ndarray, classes: np.ndarray) -> Score:
    """Minus the squared Mahalanobis distance to the nearest mean of a class, with the covariance within classes.

    Each feature has unit spread within classes before the covariance is shrunk, so that its scale does not matter.
    """
    from sklearn.covariance import ledoit_wolf

    used, of = np.unique(classes, return_inverse=True)
    means = np.stack([train[of == place].mean(axis=0) for place in range(len(used))])
    within = train - means[of]
    spread = within.std(axis=0)
    spread = np.where(spread > 0, spread, spread.max() or 1.0)  # without any spread distances are Euclidean
    correlation, _ = ledoit_wolf(within / spread, assume_centered=True)
    values, vectors = np.linalg.eigh(correlation if correlation.any() else np.eye(len(spread)))
    kept = values > values[-1] * SMALLEST
    whiten = vectors[:, kept] / np.sqrt(values[kept]) / spread[:, None]
    centres = means @ whiten

    def score(features: np.ndarray) -> np.ndarray:
        white = features @ whiten
        squares = np.stack([((white - centre) ** 2).sum(axis=1) for centre in centres])
        return np.asarray(-squares.min(axis=0))

    return score


def votes(queries: np.ndarray, train: np.ndarray, classes: np.ndarray, k: int) -> np.ndarray:
    """The class of most of the k nearest of T's unit features (N, d) to each query (n, d); of equal ones the lowest."""
    used, of = np.unique(classes, return_inverse=True)
    _, indices = nearest(queries, train, min(k, len(train)))
    counts = np.stack([(of[indices] == place).sum(axis=1) for place in range(len(used))])
    return np.asarray(used[counts.argmax(axis=0)])


def _right(
    embedded: Callable[[np.ndarray], np.ndarray], train: np.ndarray, held_out: np.ndarray, of_T: np.ndarray,
    of_H: np.ndarray, k: int,
) -> np.ndarray:  # fmt: skip
    """Which held-out images are classified rightly: those of classes that T lacks are not."""
    held_out_units, train_units = (unit("ood_classes", embedded(images)) for images in (held_out, train))
    return np.asarray(votes(held_out_units, train_units, of_T, k) == of_H)
