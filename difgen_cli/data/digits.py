"""The 1,797 handwritten digits of 8 × 8 pixels that come with scikit-learn."""

import numpy as np

from difgen_cli.data import Pool

VERSION = 1


def load() -> Pool:
    """(1797, 8, 8, 1): the 17 grey levels 0 … 16 as uint8 = round(level · 255 / 16), with labels 0 … 9."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.round(digits.images * 255 / 16).astype(np.uint8)[..., None]
    return Pool(images, digits.target.astype(np.int64), tuple(str(name) for name in digits.target_names))
