"""Another trajectory, as metrics see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from difgen_cli import data

if TYPE_CHECKING:
    import numpy as np

    from difgen_cli.engine.worker.scoring import ScoringRun


@dataclass(frozen=True)
class DependencyView:
    """Its samples, its training images with their labels, and its denoiser, each made when it is asked for."""

    run: ScoringRun

    @property
    def samples(self) -> np.ndarray:
        return data.scaled(self.run.samples)

    @property
    def train(self) -> np.ndarray:
        return self.run.subset.images

    @property
    def train_labels(self) -> np.ndarray | None:
        labels: np.ndarray | None = self.run.conditions.train
        return labels

    @property
    def denoiser(self) -> Any:
        return self.run.denoiser
