"""Worlds of calibrated membership: models of a few seeds, each trained on a part of one pool.

Everything is drawn: subsets, how easy images are, and what training did to each. The truth is the mean over such draws.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from drawing import Arrays, Ends, World

from difgen_cli.report.study import prototypes
from difgen_cli.report.study.calibrated import CONTROL, Models, areas
from difgen_cli.report.study.calibration import delong, difference, shift
from difgen_cli.report.study.prototypes import RAISED

sys.path.insert(0, str(Path(__file__).parent.parent / "report"))
from shadow_worlds import Pool


@dataclass(frozen=True)
class SeedsOfAPool:
    """As `Pool` draws them; without a leak labels are exchangeable, and the mean AUROC is one half."""

    models: int
    leak: float = 0.0

    def __str__(self) -> str:
        return f"{self.models} seeds, training raises the signal by {self.leak:g}"

    @property
    def pool(self) -> Pool:
        return Pool(count=self.models, leak=self.leak, unequal=self.leak / 2)

    def truth(self) -> Arrays:
        return {"cal_auc": np.array(_mean(self)), CONTROL: np.array(0.5)}

    def intervals(self, draw: int) -> Ends:
        """Of these columns alone: `summary` makes others too, which take as long again."""
        _, means = areas(self.pool.models(draw), list(range(self.models)), ("cal_auc", CONTROL))
        return {name: (np.array(area.lower), np.array(area.upper)) for name, area in means.items()}


@cache
def _mean(world: SeedsOfAPool) -> float:
    if not world.leak:
        return 0.5
    areas = []
    for seed in range(10**6, 10**6 + 1000):
        phi, trained, _ = world.pool.draw(seed)
        for m in range(world.models):
            at = np.delete(np.arange(world.models), m)
            scores = difference(phi[m], phi[at], trained[at], shift(phi[at], trained[at]))
            areas.append(delong(scores, trained[m], ~trained[m])[0].value)
    return float(np.mean(areas))


@dataclass(frozen=True)
class SparseFirst:
    """Training raises the signal by more where images are sparse; how far apart they are is drawn too."""

    models: int
    slope: float

    def __str__(self) -> str:
        return f"{self.models} seeds, raised by {self.slope:g} a deviation of the spacing"

    def truth(self) -> Arrays:
        return {RAISED: np.array(_mean_correlation(self))}

    def intervals(self, draw: int) -> Ends:
        found = prototypes.over_seeds(*self.drawn(draw), list(range(self.models)), RAISED)
        if found is None:
            raise ValueError(f"there is no interval for {RAISED}")
        return {RAISED: (np.array(found[1]), np.array(found[2]))}

    def drawn(self, draw: int) -> tuple[Models, prototypes.Surroundings]:
        models = Pool(count=self.models).models(draw)
        spacing = np.random.default_rng((draw, 1)).standard_normal(len(models.images))
        everywhere = np.broadcast_to(spacing, models.phi.shape)
        raised = replace(models, phi=models.phi + self.slope * everywhere * models.trained)
        nothing = np.full(models.phi.shape, np.nan)
        return raised, prototypes.Surroundings(everywhere, nothing, nothing)


@cache
def _mean_correlation(world: SparseFirst) -> float:
    if not world.slope:
        return 0.0
    values = []
    for draw in range(10**6, 10**6 + 500):
        models, around = world.drawn(draw)
        values += [prototypes.CORRELATIONS[RAISED](models, around, m)[0] for m in range(world.models)]
    return float(np.mean(values))


SEEDS_OF_A_POOL: tuple[World, ...] = (
    *(SeedsOfAPool(models, leak) for models in (2, 3, 5) for leak in (0.0, 0.5)),
    *(SparseFirst(models, slope) for models in (3, 6) for slope in (0.0, 0.15)),
)
