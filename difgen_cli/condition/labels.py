"""The labels that the data set comes with."""

import numpy as np

from difgen_cli.condition import Labels

VERSION = 1


def fit(labels: np.ndarray | None, held_out_labels: np.ndarray | None) -> Labels:
    """Each image's own label. ValueError where the data set has none."""
    if labels is None or held_out_labels is None:
        raise ValueError(
            "condition.name: labels needs a data set with labels, this one has none: choose kmeans or none"
        )
    classes = int(np.concatenate([labels, held_out_labels]).max()) + 1
    return Labels(labels.astype(np.int64), held_out_labels.astype(np.int64), classes)
