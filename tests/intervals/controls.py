"""Worlds of the controls: splits that nothing but chance made, samples of few images, and a model that saw nothing.

- blind_auc: the split of the digits is drawn, and with it what every classifier is fitted on.
- clique_frac: the samples are drawn; the images that they copy stay.
- eps_least: coins, and what the model is told of them, are drawn; one-sided, so that it has no upper end.
- canary_eps_group: the same of canaries, the largest of three numbers of repeats, or of kinds, corrected.
- mia_mean_auc, mia_clean_auc, mia_self_auc: T, H, samples and noise are drawn; the network saw none of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from drawing import POOL, Arrays, Ends, World, ends, unshared
from torch import Tensor
from worlds import Wiener

from difgen_cli.data import Canaries
from difgen_cli.metrics import (
    _noise,
    blind,
    canaries,
    clique,
    least_epsilon,
    membership,
    one_run,
    self_membership,
)


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


class Told:
    """Makes the images that it is told of, each known by its value, and zeros of all others."""

    sigma_data = 1.0

    def __init__(self, told: np.ndarray) -> None:
        self.told = torch.from_numpy(told)

    def __call__(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None, /) -> Tensor:
        image = (x / 10).round().long().clamp(1, len(self.told))
        return 10.0 * image * self.told[image - 1]


@dataclass(frozen=True)
class Randomised:
    """Models that are told of each image's coin by randomised response: their epsilon is just that."""

    epsilon: float
    guesses: int
    seeds: int = 1  # pooled

    def __str__(self) -> str:
        return f"epsilon = {self.epsilon:g}, {self.guesses} guesses, {self.seeds} trainings"

    def truth(self) -> Arrays:
        return {"eps_least": np.array(self.epsilon)}

    def intervals(self, draw: int) -> Ends:
        images = int(1.25 * self.guesses)
        rest, right = 10 * np.arange(1, images + 1, dtype=np.float32)[:, None], 0
        for seed in range(self.seeds):
            chance = np.random.default_rng((draw, seed))
            coins, honest = (chance.random(images) < p for p in (0.5, 1 / (1 + np.exp(-self.epsilon))))
            values = one_run.measure(Told(coins == honest), rest, None, coins, 1.0, guesses=self.guesses).values
            right += int(values["eps_right"] or 0)
        bound = np.array(least_epsilon(right, self.seeds * self.guesses))
        return {"eps_least": (bound, np.full_like(bound, np.inf))}


@dataclass(frozen=True)
class OfRepeats:
    """Models that are told of each canary's coin by randomised response, whatever its repeats; `kinds` of canaries.

    The largest bound of all is quoted, over the kinds too, corrected for their number.
    """

    epsilon: float
    count: int  # canaries of a level
    kinds: int = 1
    seeds: int = 1  # pooled

    def __str__(self) -> str:
        return f"epsilon = {self.epsilon:g}, {self.count} canaries a level, {self.kinds} kinds, {self.seeds} trainings"

    def truth(self) -> Arrays:
        return {"canary_eps_group": np.array(self.epsilon)}

    def intervals(self, draw: int) -> Ends:
        m, guesses, right = 3 * self.count, int(0.8 * self.count), np.zeros((self.kinds, 3), np.int64)
        images = 10 * np.arange(1, m + 1, dtype=np.float32)[:, None]
        for kind, seed in np.ndindex(self.kinds, self.seeds):
            chance = np.random.default_rng((draw, kind, seed))
            coins, honest = (chance.random(m) < p for p in (0.5, 1 / (1 + np.exp(-self.epsilon))))
            planted = Canaries(images, None, np.resize([1, 4, 16], m), coins)
            model: Any = Told(coins == honest)
            tables = canaries.measure(model, images[:1], images[:1], planted, 1.0, guesses=guesses).tables
            right[kind] += tables["canary_levels"]["right"].astype(np.int64)
        level = 1 - 0.05 / right.size
        bound = np.array(max(least_epsilon(int(v), self.seeds * guesses, level=level) for v in right.flat))
        return {"canary_eps_group": (bound, np.full_like(bound, np.inf))}


CONTROLS: tuple[World, ...] = (
    *(OfRepeats(epsilon, count) for epsilon, count in ((0, 80), (1, 40), (2, 80), (4, 300))),
    *(OfRepeats(1, 100, kinds=4), OfRepeats(2, 80, seeds=3)),
    *(RandomSplit(size) for size in (64, 256)),
    *(MadeAgain(200, 100), MadeAgain(1000, 1000), MadeAgain(2000, 300), MadeAgain(100, 300, 0.3)),
    *(NothingSeen(size) for size in (40, 400)),
    *(Randomised(epsilon, 200) for epsilon in (0, 0.5, 1, 2)),
    *(Randomised(epsilon, 200, seeds=3) for epsilon in (0, 1, 2, 4)),
)
