"""A published network as a feature space in a worker: each set of images goes through it once."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable

import numpy as np

from difgen_cli.engine.store import Arrays

HELD_BYTES = 1 << 29  # of features in memory, at most

Once = Callable[[str, Callable[[], Arrays]], Arrays]


class Space:
    """Images (n, ...) to features (n, d), told apart by their content; weights and preprocessing are the space's own.

    What several metrics ask for, such as the samples of a cell, is held in memory. Features of images that `lasts` says
    are the data set's own are kept in the run directory by `once`, for all cells and workers.
    """

    def __init__(
        self,
        name: str,
        embed: Callable[[np.ndarray], np.ndarray],
        once: Once,
        lasts: Callable[[np.ndarray], bool],
    ) -> None:
        self.name, self._embed, self._once, self._lasts = name, embed, once, lasts
        self._held: OrderedDict[str, np.ndarray] = OrderedDict()

    def __call__(self, images: np.ndarray) -> np.ndarray:
        content = _content(images)
        if content not in self._held:
            self._held[content] = self._made(content, images)
        self._held.move_to_end(content)
        features = self._held[content]
        while len(self._held) > 1 and sum(each.nbytes for each in self._held.values()) > HELD_BYTES:
            self._held.popitem(last=False)
        return features

    def _made(self, content: str, images: np.ndarray) -> np.ndarray:
        if not self._lasts(images):
            return self._embed(images)
        return self._once(f"embedded-{content}", lambda: {"features": self._embed(images)})["features"]


def _content(images: np.ndarray) -> str:
    digest = hashlib.sha256(f"{images.dtype} {images.shape}".encode())
    digest.update(np.ascontiguousarray(images).data)
    return digest.hexdigest()[:16]
