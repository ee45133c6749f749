"""Made-up models of a pool: signals of images that are easy or hard for all of them, and higher where trained on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from difgen_cli.report.study.calibrated import Models


@dataclass(frozen=True)
class Pool:
    """Signals φ of `count` models, each trained on `size` of `images` images of one pool.

    easy: the deviation of how easy images are. leak: the mean of how much training raises φ, and `unequal` its
    deviation over images. noise: the deviation of a model's own chance.
    """

    images: int = 600
    size: int = 200
    count: int = 3
    easy: float = 1.0
    leak: float = 0.5
    unequal: float = 0.2
    noise: float = 0.3
    held_out: int = 300

    def draw(self, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """phi (M, n), trained (M, n) bool, and phi of images that no model was trained on (M, h)."""
        chance = np.random.default_rng(seed)
        shape = (self.count, self.images + self.held_out)
        trained = np.zeros(shape, bool)
        for row in trained:
            row[chance.permutation(self.images)[: self.size]] = True
        raised = self.leak + self.unequal * chance.standard_normal(shape[1])
        phi = (
            self.easy * chance.standard_normal(shape[1]) + raised * trained + self.noise * chance.standard_normal(shape)
        )
        return phi[:, : self.images], trained[:, : self.images], phi[:, self.images :]

    def models(self, seed: int) -> Models:
        """The same as the report reads them."""
        phi, trained, phi_held_out = self.draw(seed)
        cells = [f"{k:016x}" for k in range(self.count)]
        return Models(list(range(self.count)), cells, np.arange(self.images), phi, trained, phi_held_out)
