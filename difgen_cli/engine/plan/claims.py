"""How the images of a claim are kept for workers: one line each, in one array under its content."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

METRIC, INPUT = "claim", "claims"  # the metric that is asked about them, and the input that stands for them
ASKED, BESIDE = "asked", "beside"  # its settings: content of the images, and keys of the weights of references
CLAIM, KEPT, CONTROL = 0, 1, 2  # roles: claimed (of twins the published one), its unpublished twin, control


def record(shape: tuple[int, ...]) -> Any:
    """The type of a line, for images of a shape."""
    import numpy as np

    return np.dtype([("image", np.uint8, shape), ("role", np.int8), ("claim", np.int32)])


def content(records: np.ndarray) -> str:
    """SHA-256 (hex) of such lines."""
    return hashlib.sha256(f"claims {records.dtype.descr}".encode() + records.tobytes()).hexdigest()
