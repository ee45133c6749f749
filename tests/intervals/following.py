"""Worlds of metrics that follow a denoiser: where its walks end, what it depends on, and what noise leaves open.

- basin_return, basin_excess, basin_sigma50: each image has a noise level of its own up to which it is given back.
- dire_auc, inv_nll_gap: T and H are drawn, of one Gaussian or of two; the network saw none of them.
- x0_align, decided_sigma: the samples are drawn, and with them the level at which each is decided.
- jac_rank, jac_asym, jac_top, corr_range: the images and their noise are drawn; the network is fixed.
- target_var: T is drawn, and with it what its images are told from.
- local_dev, ideal_dev, wiener_dev: the noise is drawn, and which images of T are asked; T and the denoiser stay.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from unittest.mock import patch

import numpy as np
import torch
from drawing import Arrays, Ends, World, ends, unshared
from scipy.stats import lognorm
from torch import Tensor
from worlds import Wiener

from difgen_cli.metrics import _noise, basins, deviation, inversion, jacobian, path, targets
from difgen_cli.metrics._intervals import crossing

MANY = 1000  # other draws, whose mean is the truth where no formula is known


@dataclass(frozen=True)
class Forgetting:
    """`count` points on each side, given back up to a log-normal level about 1.3, or `control` for the unseen ones."""

    count: int
    control: float

    def __str__(self) -> str:
        return f"{self.count} walks, half of H given back up to {self.control:g} sigma_d"

    @property
    def may_be_null(self) -> bool:
        return True  # where an end of the band passes one half outside of the levels

    def truth(self) -> Arrays:
        levels = np.unique([*basins.NAMED, 0.125, 0.25, 4.0, 8.0])
        own, other = (lognorm.sf(levels, 0.7, scale=middle) for middle in (1.3, self.control))
        at = int(np.flatnonzero(levels == basins.EXCESS_AT)[0])
        return {
            "basin_return_100": own[at], "basin_control_100": other[at], "basin_excess": np.array(own[at] - other[at]),
            "basin_sigma50": np.array(crossing(levels, own)),
        }  # fmt: skip

    def intervals(self, draw: int) -> Ends:
        chance = np.random.default_rng(draw)
        limits = {side: lognorm.rvs(0.7, scale=m, size=self.count, random_state=chance)
                  for side, m in ((1, 1.3), (-1, self.control))}  # fmt: skip
        points = 1000.0 * np.arange(1, self.count + 1, dtype=np.float32)[:, None]

        def walks(x: np.ndarray, sigma: float, labels: np.ndarray | None) -> np.ndarray:
            side = int(np.sign(x[0, 0]))
            clean = side * points
            return np.where((sigma < limits[side])[:, None], clean, np.roll(clean, 1, axis=0))

        values = basins.measure(walks, points, -points, None, None, 1.0).values
        return ends(values, *self.truth(), null=True)


@dataclass(frozen=True)
class WalkedBack:
    """The best denoiser of 16-dimensional Gaussian data, and n points on each side; those of H are `wider`."""

    size: int
    wider: float = 1.0

    def __str__(self) -> str:
        return f"n = {self.size}, Gaussian data, H {self.wider:g} times as wide"

    def truth(self) -> Arrays:
        if self.wider == 1:
            return {"dire_auc": np.array(0.5), "inv_nll_gap": np.array(0.0)}
        return {name: np.array(value) for name, value in _means_of(WalkedBack(2000, self.wider), 50).items()}

    def intervals(self, draw: int) -> Ends:
        return ends(self.values(draw), "dire_auc", "inv_nll_gap")

    def values(self, draw: int) -> dict[str, object]:
        chance = np.random.default_rng(draw)
        T, H = (scale * chance.standard_normal((self.size, 16)).astype(np.float32) for scale in (1, self.wider))
        return dict(inversion.measure(Wiener(), T, H, None, None, 1.0, steps=8).values)


@dataclass(frozen=True)
class Deciding:
    """`count` samples that are training points, of which D is the mean of two up to a log-normal level, then theirs."""

    count: int

    def __str__(self) -> str:
        return f"{self.count} samples, decided at log-normal levels"

    def truth(self) -> Arrays:
        levels = np.unique(path.WAY)
        decided = crossing(levels, lognorm.sf(levels, 0.8, scale=1.1))
        return {
            "decided_sigma": np.array(decided),
            "x0_align_100": np.array(_means_of(Deciding(4000), 25)["x0_align_100"]),
        }

    def intervals(self, draw: int) -> Ends:
        return ends(self.values(draw), "x0_align_100", "decided_sigma", null=True)

    def values(self, draw: int) -> dict[str, object]:
        chance, fixed = np.random.default_rng(draw), np.random.default_rng(10**6)
        T, H = (fixed.standard_normal((n, 6)).astype(np.float32) for n in (24, 8))
        place, other = chance.integers(24, size=self.count), chance.integers(1, 24, size=self.count)
        limit = lognorm.rvs(0.8, scale=1.1, size=self.count, random_state=chance)
        levels = np.sort(np.unique(path.WAY))[::-1]
        away = T[(place + other) % 24] + 0.3 * chance.standard_normal((self.count, 6))
        denoised = np.stack([np.where((level < limit)[:, None], T[place], away) for level in levels])
        way = np.ones(1), denoised[:1], levels, denoised, T[place]
        return dict(path.measure(lambda *_, **__: way, T, H, 1.0, points=24).values)


class Bent:
    """D(x) = A tanh(B x) of 4 × 4 images, with fixed A and B: a Jacobian that differs from image to image."""

    sigma_data = 1.0

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(3)
        self.outer, self.inner = torch.randn(16, 12, generator=generator) / 4, torch.randn(12, 16, generator=generator)

    def __call__(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None, /) -> Tensor:
        return (torch.tanh(x.flatten(1) @ self.inner.T) @ self.outer.T).view_as(x)


@dataclass(frozen=True)
class Depending:
    """`images` images of unit Gaussian pixels before a fixed network of tanh."""

    images: int

    def __str__(self) -> str:
        return f"Jacobian, {self.images} images"

    def truth(self) -> Arrays:
        return {name: np.array(value) for name, value in _means_of(Depending(2000), 5).items()}

    def intervals(self, draw: int) -> Ends:
        return ends(self.values(draw), *JACOBIAN)

    def values(self, draw: int) -> dict[str, object]:
        chance = np.random.default_rng(draw)
        T = chance.standard_normal((self.images, 4, 4, 1)).astype(np.float32)
        with patch.object(_noise, "SEED", draw):
            return dict(jacobian.measure(Bent(), T, None, 1.0, images=self.images).values)


JACOBIAN = ("jac_rank_050", "jac_asym_050", "jac_top_050", "corr_range_050")


class Halved:
    """D(x) = x/2."""

    sigma_data = 1.0

    def __call__(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None, /) -> Tensor:
        return x / 2


@dataclass(frozen=True)
class LeftOpen:
    """T of `size` points of six unit Gaussian values, drawn anew: how much noise leaves open."""

    size: int

    def __str__(self) -> str:
        return f"N = {self.size}, Gaussian points, another T"

    @property
    def may_be_null(self) -> bool:
        return True  # where a few near pairs of points make up the variance

    def truth(self) -> Arrays:
        return {name: np.array(value) for name, value in _means_of(self).items()}

    def intervals(self, draw: int) -> Ends:
        return ends(self.values(draw), *OPEN, null=True)

    def values(self, draw: int) -> dict[str, object]:
        T = np.random.default_rng(draw).standard_normal((self.size, 6)).astype(np.float32)
        with patch.object(_noise, "SEED", draw):
            return dict(targets.measure(T, None, 1.0, unshared, sigmas=(), pairs=256).values)


OPEN = ("target_var_050", "target_var_100")


@dataclass(frozen=True)
class GivenImages:
    """How far half of x is from what T and its patches make of it: each draw has one of ten sets T, which stay.

    size: images of 2 × 3 unit Gaussian pixels in T. pairs: that are asked; fewer than images: some of them by chance.
    The interval less the value for its T, which is therefore 0.
    """

    size: int
    pairs: int

    def __str__(self) -> str:
        return f"N = {self.size}, {self.pairs} pairs, Gaussian images, given T"

    def truth(self) -> Arrays:
        return {name: np.array(0.0) for name in GIVEN}

    def intervals(self, draw: int) -> Ends:
        truth, chance = _of_set(self.size, draw % 10), np.random.default_rng(draw)
        found = ends(self._measured(chance.permutation(_set(self.size, draw % 10)), draw, self.pairs), *GIVEN)
        return {name: (lower - truth[name], upper - truth[name]) for name, (lower, upper) in found.items()}

    @staticmethod
    def _measured(T: np.ndarray, draw: int, pairs: int) -> dict[str, object]:
        with patch.object(_noise, "SEED", draw):
            return dict(deviation.measure(Halved(), T, None, T, 1.0, unshared, sigmas=(), pairs=pairs, patch=2).values)


GIVEN = ("ideal_dev_050", "wiener_dev_050", "local_dev_050", "local_dev_100")


def _set(size: int, number: int) -> np.ndarray:
    return np.random.default_rng((size, number)).standard_normal((size, 2, 3, 1)).astype(np.float32)


@cache
def _of_set(size: int, number: int) -> dict[str, float]:
    values = GivenImages._measured(_set(size, number), 10**6, 50_000)
    return {name: float(str(values[name])) for name in GIVEN}


@cache
def _means_of(world: WalkedBack | Deciding | Depending | LeftOpen, draws: int = MANY) -> dict[str, float]:
    """The mean over other draws."""
    drawn = [world.values(10**5 + k) for k in range(draws)]
    names = {WalkedBack: ("dire_auc", "inv_nll_gap"), Deciding: ("x0_align_100",), Depending: JACOBIAN,
             LeftOpen: OPEN}[type(world)]  # fmt: skip
    return {name: float(np.mean([float(str(values[name])) for values in drawn])) for name in names}


FOLLOWING: tuple[World, ...] = (
    *(Forgetting(128, control) for control in (1.3, 0.5)),
    Forgetting(32, 0.5),
    *(WalkedBack(size) for size in (40, 256)),
    WalkedBack(100, 1.2),
    *(Deciding(count) for count in (100, 1000)),
    *(Depending(images) for images in (8, 32)),
    *(LeftOpen(size) for size in (32, 128)),
    *(GivenImages(size, pairs) for size, pairs in ((32, 256), (128, 256), (128, 64))),
)
