"""Images of a run directory for the table `images`: of each training image the nearest sample, and both as pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from difgen_cli.data import scaled
from difgen_cli.engine.plan import facts, recipes
from difgen_cli.engine.store import Store, sample_files
from difgen_cli.engine.store.access import exists, parsed
from difgen_cli.neighbours import nearest

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Album:
    """The pictures of a study. trajectories: by cell of a model."""

    store: Store
    trajectories: Mapping[str, str]

    def nearest_samples(self, lines: pd.DataFrame) -> pd.DataFrame:
        """`d1`, the Euclidean distance in pixels to the nearest sample of the cell, and `sample`, its number from 0.

        lines: `cell`, `pool` and `image` (a place in the pool); the result has the same index. NaN where the samples of
        a cell are not stored.
        """
        near = lines.assign(d1=np.nan, sample=np.nan)[["d1", "sample"]]
        for (cell, pool), own in lines.groupby(["cell", "pool"], sort=False, observed=True):
            samples = self._samples(str(cell))
            if samples is None:
                continue
            spec = self.store.run_folder(self.trajectories[str(cell)], "").spec()
            mirrored = recipes.mirrored(recipes.load(spec["recipe"])[spec["key"]])
            images = scaled(facts.pool(self.store, str(pool)).images[own["image"].to_numpy()])
            distances, numbers = nearest(images, scaled(samples), 1, mirrored=mirrored)
            near.loc[own.index, "d1"], near.loc[own.index, "sample"] = distances[:, 0], numbers[:, 0]
        return near

    def image(self, pool: str, place: int) -> bytes:
        """An image of a data set as PNG; nothing for a point."""
        images = facts.pool(self.store, pool).images
        return sample_files.png(np.asarray(images[place])) if images.ndim == 4 else b""

    def sample(self, cell: str, number: int) -> bytes:
        """A sample as PNG; nothing where it is not stored, or a point."""
        file = self.store.run_folder(self.trajectories[cell], "").samples(cell)
        if not exists(file):
            return b""
        samples, _ = parsed(file, sample_files.read)
        return sample_files.png(samples[number]) if samples.ndim == 4 else b""

    def samples_under(self, cell: str, label: int, most: int) -> np.ndarray:
        """The first samples of a cell that were drawn under a condition: (n, H, W, C) uint8; none where it has none."""
        if cell not in self.trajectories:
            return np.empty((0, 1, 1, 1), np.uint8)
        file = self.store.run_folder(self.trajectories[cell], "").samples(cell)
        samples, labels = parsed(file, sample_files.read) if exists(file) else (np.empty(0), None)
        if labels is None or samples.ndim != 4:
            return np.empty((0, 1, 1, 1), np.uint8)
        return np.asarray(samples[labels == label][:most])

    def _samples(self, cell: str) -> np.ndarray | None:
        """Images uint8, or points, of a cell; None where none are stored."""
        if cell not in self.trajectories:
            return None
        file = self.store.run_folder(self.trajectories[cell], "").samples(cell)
        return parsed(file, sample_files.read)[0] if exists(file) else None
