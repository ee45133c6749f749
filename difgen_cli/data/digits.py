"""The 1,797 handwritten digits of 8 × 8 pixels that come with scikit-learn."""

import importlib.util
from pathlib import Path

import numpy as np

from difgen_cli.data import Pool

VERSION = 1


def load() -> Pool:
    """(1797, 8, 8, 1): the 17 grey levels 0 … 16 as uint8 = round(level · 255 / 16), with labels 0 … 9."""
    levels, labels = _read()
    images = np.round(levels.reshape(-1, 8, 8, 1) * 255 / 16).astype(np.uint8)
    return Pool(images, labels, tuple(str(label) for label in range(10)))


def _read() -> tuple[np.ndarray, np.ndarray]:
    """Grey levels (n, 64) and labels (n,) int64, from the file itself: scikit-learn takes seconds to import."""
    package = importlib.util.find_spec("sklearn")
    file = Path(package.origin if package and package.origin else "").parent / "datasets/data/digits.csv.gz"
    if file.exists():
        table = np.loadtxt(file, delimiter=",", dtype=np.int64)
        return table[:, :-1], table[:, -1]
    from sklearn.datasets import load_digits

    digits = load_digits()
    return digits.data, digits.target.astype(np.int64)
