"""A metric of one's own: how bright samples are."""

import numpy as np

from difgen_cli.metrics import Result

COLUMNS = {"brightness": ("float64", "grey level", "mean of the samples' pixels, 0 to 255")}


def measure(samples: np.ndarray) -> Result:
    """samples: (n, H, W, C) in [−1, 1]."""
    return Result({"brightness": float((samples.mean() + 1) * 127.5)}, {})
