"""More worlds with known answers: intervals over three seeds, and those of the metrics that are asked for by name.

- mem_frac over seeds: three models, each with its own share of copies, and 1,000 samples of each; shares near both ends
  and between, alike (none varies) or beta-distributed.
- fd_gap: the samples are drawn; T and H stay. fld, fld_gap, recall: H is drawn; T and the samples stay.
- ct: samples and H are drawn; T and its cells stay.
- space_near_train: T is drawn.
- optimal_weight on the samples' way: samples are drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd
from drawing import Arrays, Ends, World, ends, unshared
from worlds import rectified

from difgen_cli.engine.columns import ColumnSpec
from difgen_cli.metrics import copying, coverage, feature_copies, frechet, likelihood, wilson
from difgen_cli.report.study import curves, paths

SEEDS, SAMPLES = 3, 1000
CHUNK = 50  # draws whose intervals are made at once


@dataclass(frozen=True)
class Seeds:
    """The share of copies of three seeds, of 1,000 samples each; `spread` is its deviation between seeds."""

    share: float
    spread: float = 0.0

    def __str__(self) -> str:
        return f"p = {self.share:g} ± {self.spread:g}, three seeds"

    def truth(self) -> Arrays:
        return {"mem_frac over seeds": np.array(self.share)}

    def intervals(self, draw: int) -> Ends:
        lo, hi = _over_seeds(self, draw // CHUNK)[draw % CHUNK]
        return {"mem_frac over seeds": (np.array(lo), np.array(hi))}

    def rows(self, draw: int) -> pd.DataFrame:
        chance = np.random.default_rng(draw)
        shares = np.full(SEEDS, self.share)
        if self.spread:
            size = self.share * (1 - self.share) / self.spread**2 - 1
            shares = chance.beta(self.share * size, (1 - self.share) * size, SEEDS)
        hits = chance.binomial(SAMPLES, shares)
        own = np.array([wilson(int(count), SAMPLES) for count in hits])
        columns = {"mem_frac": hits / SAMPLES, "mem_frac_lo": own[:, 0], "mem_frac_hi": own[:, 1]}
        return pd.DataFrame({"draw": draw, "seed": range(SEEDS), **columns})


@cache
def _over_seeds(world: Seeds, chunk: int) -> list[tuple[float, float]]:
    """The intervals of CHUNK draws at once, as a report makes those of many groups."""
    frame = pd.concat([world.rows(chunk * CHUNK + k) for k in range(CHUNK)])
    numbers = curves.over_seeds(frame, ["draw"], ["mem_frac"], {"mem_frac": ColumnSpec("share")})
    return list(zip(numbers["lo"], numbers["hi"], strict=True))


@dataclass(frozen=True)
class Copier:
    """Samples in 16 rectified features, each a copy of one of 200 training images with probability `share`."""

    share: float
    metric: str

    def __str__(self) -> str:
        return f"{self.metric}, share of copies {self.share:g}"

    @property
    def names(self) -> tuple[str, ...]:
        return {"fld": ("fld", "fld_gap"), "ct": ("ct",), "fd_gap": ("fd_gap", "fd_gap_rel"), "recall": ("recall",)}[
            self.metric
        ]

    def truth(self) -> Arrays:
        """The mean over 1,000 other draws."""
        return {name: np.array(value) for name, value in _means(self).items()}

    def intervals(self, draw: int) -> Ends:
        return ends(self.values(draw), *self.names, null=self.metric == "fd_gap")

    def values(self, draw: int) -> dict[str, object]:
        T, H, G = rectified(10**7, 200), rectified(3 * draw + 1, 400), self._samples(3 * draw + 2)
        if self.metric == "fd_gap":
            return dict(frechet.measure(G, T, rectified(10**7 + 1, 400), _itself, unshared).values)
        if self.metric == "ct":
            return dict(copying.measure(*(x.astype(np.float32) for x in (G, T, H)), _itself, unshared).values)
        fixed = self._samples(0)
        module = likelihood if self.metric == "fld" else coverage
        return dict(module.measure(fixed, T, H, _itself, unshared).values)

    def _samples(self, seed: int) -> np.ndarray:
        chance, drawn, T = np.random.default_rng((seed, 1)), rectified(seed, 400), rectified(10**7, 200)
        copied = chance.random(len(drawn)) < self.share
        drawn[copied] = T[chance.integers(len(T), size=copied.sum())] + 0.05
        return drawn


@dataclass(frozen=True)
class Background:
    """The share of so many images of Gaussian features whose cosine with another one is above a threshold."""

    size: int
    features: int
    threshold: float

    def __str__(self) -> str:
        return f"{self.size} images of {self.features} features, cosine {self.threshold:g}"

    def truth(self) -> Arrays:
        """The mean over 1,000 other draws."""
        shares = [float(str(self.values(10**5 + k)["space_near_train"])) for k in range(1000)]
        return {"space_near_train": np.array(np.mean(shares))}

    def intervals(self, draw: int) -> Ends:
        return ends(self.values(draw), "space_near_train")

    def values(self, draw: int) -> dict[str, object]:
        T = np.random.default_rng(draw).standard_normal((self.size, self.features)).astype(np.float32)
        return dict(feature_copies.measure(T[:1], T, T[:0], _itself, unshared, threshold=self.threshold).values)


@dataclass(frozen=True)
class Steered:
    """Samples with errors in the plane, whose best weights grow with the log-normal square of the direction."""

    count: int

    def __str__(self) -> str:
        return f"{self.count} samples, best weights that depend on the length"

    def truth(self) -> Arrays:
        """E[w l]/E[l] for w = 2 + (l − E[l])/2 + noise, with ln l of deviation 1/2."""
        first, second = np.exp(1 / 8), np.exp(1 / 2)
        return {"optimal_weight": np.array(2 + (second / first - first) / 2)}

    def intervals(self, draw: int) -> Ends:
        chance = np.random.default_rng(draw)
        square, angle = chance.lognormal(0, 0.5, self.count), chance.uniform(0, 2 * np.pi, self.count)
        along = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        weight = 2 + (square - np.exp(1 / 8)) / 2 + 0.8 * chance.standard_normal(self.count)
        across = chance.standard_normal(self.count)[:, None] * along[:, ::-1] * (-1, 1)
        direction = np.sqrt(square)[:, None] * along
        low, high = paths.interval(across - weight[:, None] * direction, direction)
        return {"optimal_weight": (np.array(low), np.array(high))}


def _itself(x: np.ndarray) -> np.ndarray:
    return x


@cache
def _means(world: Copier) -> dict[str, float]:
    drawn = [world.values(10**5 + k) for k in range(1000)]
    return {name: float(np.mean([float(str(values[name])) for values in drawn])) for name in world.names}


FURTHER: tuple[World, ...] = (
    *(Seeds(share) for share in (0.0003, 0.002, 0.5, 0.97, 0.999)),
    *(Seeds(share, spread) for share, spread in ((0.0003, 0.00015), (0.002, 0.001), (0.999, 0.0005), (0.97, 0.015))),
    *(Seeds(0.5, spread) for spread in (0.02, 0.05)),
    *(Background(*world) for world in ((100, 16, 0.75), (200, 16, 0.6), (300, 32, 0.5))),
    *(Copier(share, metric) for metric in ("fd_gap", "ct", "fld", "recall") for share in (0.0, 0.5)),
    *(Steered(count) for count in (32, 64, 256)),
)
