"""How many conditions the training images really have: of the labels alone, before anything is trained."""

import numpy as np

from difgen_cli.metrics import Result

VERSION = 1

COLUMNS = {
    "clusters_used": ("int64", "conditions", "labels that at least one training image has; null: unconditional"),
    "clusters_effective": (
        "float64",
        "conditions",
        "exp of the entropy of the training images' labels: as many labels of equal share are as varied",
    ),
}


def measure(train_labels: np.ndarray | None) -> Result:
    """The non-empty conditions of the training subset, and exp(−Σ_c p_c ln p_c) over their shares p_c.

    Both are None where there is no condition.
    """
    if train_labels is None or not len(train_labels):
        return Result(dict.fromkeys(COLUMNS))
    counts = np.unique(train_labels, return_counts=True)[1]
    shares = counts / counts.sum()
    return Result({"clusters_used": len(counts), "clusters_effective": float(np.exp(-(shares * np.log(shares)).sum()))})
