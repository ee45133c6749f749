"""How well the labels of a conditioning agree with the classes that the data have: accuracy, NMI and ARI."""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from difgen_cli.metrics import Result, Value, wilson
from difgen_cli.metrics._ranks import LEVEL

VERSION = 1

COLUMNS = {
    "clusters_acc": (
        "float64",
        "share",
        "training images whose class their label stands for, when labels and classes are matched one to one at best",
        {"label": "clustering accuracy", "scale": "share"},
    ),
    "clusters_acc_lo": (
        "float64",
        "share",
        "lower end of its 95 % Wilson interval, given the assignment; null where shuffled labels do as well, or there "
        "are more labels than classes",
    ),
    "clusters_acc_hi": ("float64", "share", "upper end of its 95 % Wilson interval"),
    "clusters_acc_control": ("float64", "share", "the mean of the same over labels shuffled among the images"),
    "clusters_nmi": (
        "float64",
        "",
        "mutual information of label and class over the mean of their entropies: 1 for the same partition",
        {"label": "normalised mutual information with the classes"},
    ),
    "clusters_nmi_lo": (
        "float64",
        "",
        "lower end of its 95 % interval over images, less the bias of few; null where over 1 % of images are the only "
        "ones of their label and class",
    ),
    "clusters_nmi_hi": ("float64", "", "upper end of its 95 % interval over images"),
    "clusters_nmi_control": ("float64", "", "the mean of the same over labels shuffled among the images"),
    "clusters_ari": (
        "float64",
        "",
        "adjusted Rand index of labels and classes: 1 for the same partition, 0 on average for shuffled labels",
        {"label": "adjusted Rand index with the classes"},
    ),
    "clusters_ari_lo": ("float64", "", "lower end of its 95 % interval over images; null below 5 images a label"),
    "clusters_ari_hi": ("float64", "", "upper end of its 95 % interval over images"),
    "clusters_classes": ("int64", "classes", "that training images have", {"role": "count"}),
}

SEED, SHUFFLES = 9, 20
IMAGES_LEAST = 5  # a label, on average, for an interval of the Rand index
ALONE_MOST = 0.01  # of the images, for an interval of the information: else much of it is of pairs that were not drawn


@dataclass(frozen=True)
class Agreement:
    """A value, what it is on average over draws of images nearer to the truth, and its standard error."""

    value: float
    centre: float
    error: float

    def interval(self) -> tuple[float, float]:
        half = NormalDist().inv_cdf((1 + LEVEL) / 2) * self.error
        return self.centre - half, self.centre + half


def measure(train_labels: np.ndarray | None, train_classes: np.ndarray | None) -> Result:
    """The agreement of two partitions of the training images: by the condition, and by the data set's own classes.

    All is None where there is no condition, or the data have no classes. Accuracy matches labels with classes one to
    one (Kuhn 1955), as Adaloglou et al. 2025 have it: with more labels than classes, images of a label without a class
    are wrong. Intervals are over images, the rule that gives an image its label held fixed.
    """
    values: dict[str, Value] = dict.fromkeys(COLUMNS)
    if train_labels is None or train_classes is None or not len(train_labels):
        return Result(values)
    counts = contingency(train_labels, train_classes)
    n, right = len(train_labels), matched(counts)
    rng = np.random.default_rng(SEED)
    shuffled = [contingency(rng.permutation(train_labels), train_classes) for _ in range(SHUFFLES)]
    by_chance = [matched(one) / n for one in shuffled]
    values |= {
        "clusters_classes": counts.shape[1],
        "clusters_acc": right / n,
        "clusters_acc_control": float(np.mean(by_chance)),
        "clusters_nmi_control": float(np.mean([mutual_information(one).value for one in shuffled])),
    }
    lower, upper = wilson(right, n)
    if lower > max(by_chance) and counts.shape[0] <= counts.shape[1]:
        values |= {"clusters_acc_lo": lower, "clusters_acc_hi": upper}
    information, index = mutual_information(counts), rand_index(counts)
    values |= {"clusters_nmi": information.value, "clusters_ari": index.value}
    if (counts == 1).sum() <= ALONE_MOST * n:
        values["clusters_nmi_lo"], values["clusters_nmi_hi"] = information.interval()
    if n >= IMAGES_LEAST * counts.shape[0]:
        values["clusters_ari_lo"], values["clusters_ari_hi"] = index.interval()
    return Result(values)


def contingency(labels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Images of each label in use and each class in use: (labels, classes) float64."""
    (used, rows), (named, columns) = (np.unique(x, return_inverse=True) for x in (labels, classes))
    counts = np.zeros((len(used), len(named)))
    np.add.at(counts, (rows, columns), 1)
    return counts


def matched(counts: np.ndarray) -> int:
    """Images whose label and class are matched, under the best matching one to one (the Hungarian method)."""
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(counts, maximize=True)
    return int(counts[rows, columns].sum())


def mutual_information(counts: np.ndarray) -> Agreement:
    """I/½(H_labels + H_classes); 1 where both are one group.

    The error is of the influence of an image, with what is left of it for independent partitions, where 2nI is χ² of
    (R − 1)(C − 1) degrees of freedom. The centre has entropies without their bias, R − 1 over 2n (Miller 1955).
    """
    n, filled = counts.sum(), counts > 0
    p = counts / n
    rows, columns = p.sum(axis=1), p.sum(axis=0)
    surprise = np.log(p, out=np.zeros_like(p), where=filled)
    of_row, of_column = -np.log(rows), -np.log(columns)
    shared = surprise + of_row[:, None] + of_column  # log p / (p_row p_column), where filled
    information, mean_entropy = float((p * shared).sum()), float(rows @ of_row + columns @ of_column) / 2
    if mean_entropy == 0:
        return Agreement(1.0, 1.0, 0.0)
    value = information / mean_entropy
    influence = (shared - value * (of_row[:, None] + of_column) / 2) / mean_entropy
    free = (len(rows) - 1) * (len(columns) - 1)
    variance = float((p * influence**2).sum()) / n + free / (2 * (n * mean_entropy) ** 2)
    excess = (filled.sum() - len(rows) - len(columns) + 1) / (2 * n)
    entropy = mean_entropy + (len(rows) + len(columns) - 2) / (4 * n)
    return Agreement(value, (information - excess) / entropy, float(np.sqrt(variance)))


def rand_index(counts: np.ndarray) -> Agreement:
    """(s − ab)/(½(a + b) − ab), of the shares of pairs of images that agree in both, in the label, in the class.

    Hubert & Arabie 1985. The error is of the influence of an image, with what is left of it for independent partitions.
    """
    n = counts.sum()
    p = counts / n
    rows, columns = p.sum(axis=1), p.sum(axis=0)
    both, label, class_ = (
        float((x * (x - 1)).sum() / (n * (n - 1))) if n > 1 else 0.0
        for x in (counts, counts.sum(axis=1), counts.sum(axis=0))
    )
    above, span = both - label * class_, (label + class_) / 2 - label * class_
    if span == 0:
        return Agreement(1.0, 1.0, 0.0)
    value = above / span
    d_both, d_label, d_class = 2 * (p - both), 2 * (rows - label)[:, None], 2 * (columns - class_)
    d_product = d_label * class_ + label * d_class
    influence = (d_both - d_product - value * ((d_label + d_class) / 2 - d_product)) / span
    apart = [float((x**2).sum() - 2 * (x**3).sum() + (x**2).sum() ** 2) for x in (rows, columns)]
    variance = float((p * influence**2).sum()) / n + 2 * apart[0] * apart[1] / (n * span) ** 2
    return Agreement(value, value, float(np.sqrt(variance)))
