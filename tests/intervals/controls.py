"""Worlds of the controls: splits that nothing but chance made, samples of few images, and a model that saw nothing.

- blind_auc: the split of the digits is drawn, and with it what every classifier is fitted on.
- clique_frac: the samples are drawn; the images that they copy stay.
- mia_mean_auc, mia_clean_auc, mia_self_auc: T, H, samples and noise are drawn; the network saw none of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from unittest.mock import patch

import numpy as np
from drawing import POOL, Arrays, Ends, World, ends, unshared
from worlds import Wiener

from difgen_cli.metrics import _noise, blind, clique, membership, self_membership


@dataclass(frozen=True)
class RandomSplit:
    """`size` digits on each side, of one pool."""

    size: int

    def __str__(self) -> str:
        return f"n = {self.size} on each side, random split"

    def truth(self) -> Arrays:
        return {"blind_auc": np.array(0.5)}

    def intervals(self, draw: int) -> Ends:
        order = np.random.default_rng(draw).permutation(len(POOL))
        T, H = POOL[order[: self.size]], POOL[order[self.size : 2 * self.size]]
        return ends(blind.measure(T, H, unshared).values, "blind_auc")


@dataclass(frozen=True)
class MadeAgain:
    """`count` samples, each with probability `share` one of `images` images, all as likely, and else unlike all."""

    images: int
    count: int
    share: float = 1.0

    def __str__(self) -> str:
        return f"{self.count} samples, {self.share:g} of them of {self.images} images"

    def truth(self) -> Arrays:
        return {"clique_frac": np.array(self.share * (1 - (1 - self.share / self.images) ** (self.count - 1)))}

    def intervals(self, draw: int) -> Ends:
        chance = np.random.default_rng(draw)
        copied = np.random.default_rng(10**6).uniform(-1, 1, (self.images, 4, 4, 1)).astype(np.float32)
        samples = chance.uniform(-1, 1, (self.count, 4, 4, 1)).astype(np.float32)
        again = chance.random(self.count) < self.share
        samples[again] = copied[chance.integers(self.images, size=again.sum())]
        return ends(clique.measure(samples).values, "clique_frac")


@dataclass(frozen=True)
class NothingSeen:
    """The best denoiser of 16-dimensional Gaussian data, and points that it never saw, on all sides."""

    size: int

    def __str__(self) -> str:
        return f"n = {self.size}, Gaussian data, nothing was seen"

    def truth(self) -> Arrays:
        return {name: np.array(0.5) for name in ("mia_mean_auc_025", "mia_clean_auc_025", "mia_self_auc_025")}

    def intervals(self, draw: int) -> Ends:
        chance = np.random.default_rng(draw)
        T, H, samples = (chance.standard_normal((self.size, 16)).astype(np.float32) for _ in range(3))
        with patch.object(_noise, "SEED", draw):
            values = membership.measure(Wiener(), T, H, None, None, 1.0).values
            own = self_membership.measure(Wiener(), samples, None, H, None, None, 1.0).values
        return ends({**values, **own}, *self.truth())


CONTROLS: tuple[World, ...] = (
    *(RandomSplit(size) for size in (64, 256)),
    *(MadeAgain(200, 100), MadeAgain(1000, 1000), MadeAgain(2000, 300), MadeAgain(100, 300, 0.3)),
    *(NothingSeen(size) for size in (40, 400)),
)
