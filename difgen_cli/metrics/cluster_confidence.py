"""How certain the conditioning is of its labels, condition by condition (Adaloglou et al. 2025)."""

import numpy as np

from difgen_cli.metrics import Result, Value
from difgen_cli.metrics._intervals import mean_columns

VERSION = 1
KINDS = ("model",)

COLUMNS = {
    "confidence": (
        "float64",
        "",
        "confidence of the label of a training image, mean over T: the share of its cluster by temi, 1 - d1/d2 of the "
        "distances to its own centre and the next by kmeans; null: the conditioning has none",
        {"label": "confidence of the labels", "scale": "share"},
    ),
    "confidence_lo": ("float64", "", "lower end of its 95 % interval over images"),
    "confidence_hi": ("float64", "", "upper end of its 95 % interval over images"),
}

TABLES = {
    "cluster_confidence": {
        "label": ("int64", "", "the condition"),
        "images": ("int64", "images", "training images of it"),
        "samples": ("int64", "samples", "drawn under it"),
        "confidence": ("float64", "", "mean confidence over its training images"),
        "confidence_lo": ("float64", "", "lower end of its 95 % interval over images; NaN for a single one"),
        "confidence_hi": ("float64", "", "upper end of its 95 % interval over images"),
    }
}


def measure(
    samples: np.ndarray,
    sample_labels: np.ndarray | None,
    train_labels: np.ndarray | None,
    train_confidence: np.ndarray | None,
) -> Result:
    """The mean confidence over T, and a line for each condition with a training image, the least certain first.

    Confidences of different conditionings are on scales of their own: compare conditions within a cell. Intervals are
    over the training images of a condition, its centres or heads fixed. No lines without conditions, or where the
    conditioning has no confidence.
    """
    values: dict[str, Value] = dict.fromkeys(COLUMNS)
    if train_labels is None or train_confidence is None or sample_labels is None:
        return Result(values, {"cluster_confidence": {name: np.empty(0) for name in TABLES["cluster_confidence"]}})
    own = np.isfinite(train_confidence)  # planted canaries have none
    labels, confidence = train_labels[own], train_confidence[own].astype(float)
    values |= mean_columns("confidence", confidence, 0.0, 1.0)
    lines = []
    for label in np.unique(labels):
        of_label = confidence[labels == label]
        numbers = mean_columns("confidence", of_label, 0.0, 1.0)
        missing = {name: np.nan for name, value in numbers.items() if value is None}
        counts = {"label": label, "images": len(of_label), "samples": (sample_labels == label).sum()}
        lines.append(counts | numbers | missing)
    lines.sort(key=lambda line: (line["confidence"], line["label"]))
    return Result(
        values,
        {
            "cluster_confidence": {
                name: np.array([line[name] for line in lines]) for name in TABLES["cluster_confidence"]
            }
        },
    )
