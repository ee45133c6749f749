"""Worlds in which the estimand of an interval is known, and the interval that a metric gives in one draw of each.

Every world calls the metric's own `measure`. What is drawn anew, and what stays, follows from what the metrics are
defined to estimate:

- mem_frac, fd_test: the model, T and H stay, and the samples are drawn.
- train_pref_excess, train_pref_share: T, H and the samples are drawn, the images that a model repeats too, and what the
  samples of one group have in common. With T and H fixed a binomial interval would do; the luck of which images are in
  T is what the influences of images are for.
- share_interval: the groups are drawn, and the samples in them.
- gap_max and the band: the model stays; T is drawn from the images that it was trained on, H from others, and
  noise for both.
- path_overlap: T, H, the sampler's states and all noise are drawn. The estimand is the planted share for every T.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from unittest.mock import patch

import numpy as np
import torch
from drawing import Arrays, Ends, World, blurred_digits, ends, unshared
from leaning import Grouped, Modes, Preferring, Prompts
from torch import Tensor

from difgen_cli.data import scaled, sigma_data, split
from difgen_cli.data.digits import load
from difgen_cli.diffusion import DenoiserLike, to_tensor
from difgen_cli.diffusion.randomness import initialise
from difgen_cli.diffusion.training import train
from difgen_cli.metrics import _noise, frechet, gap, memorization, path, peak
from difgen_cli.models import mlp

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Copies:
    """1,000 samples, each a copy with probability `share`, of 50 training points in 16 dimensions."""

    share: float

    def __str__(self) -> str:
        return f"p = {self.share:g}, 1,000 samples"

    def truth(self) -> Arrays:
        return {"mem_frac": np.array(self.share)}

    def intervals(self, draw: int) -> Ends:
        chance = np.random.default_rng(draw)
        T, H = (np.random.default_rng((0, n)).standard_normal((n, 16)).astype(np.float32) for n in (50, 20))
        samples = chance.standard_normal((1000, 16)).astype(np.float32)
        copied = chance.random(1000) < self.share
        samples[copied] = T[chance.integers(50, size=copied.sum())] + np.float32(1e-3)
        return ends(memorization.measure(samples, T, H, unshared).values, "mem_frac")


@dataclass(frozen=True)
class Gaussians:
    """The best denoiser of 16-dimensional Gaussian data: no gap at any σ."""

    size: int

    def __str__(self) -> str:
        return f"N = {self.size}, Gaussian data, no gap"

    def truth(self) -> Arrays:
        return {"gap": np.array(0.0), "gap_max": np.array(0.0)}

    def intervals(self, draw: int) -> Ends:
        chance = np.random.default_rng(draw)
        T, H = (chance.standard_normal((n, 16)).astype(np.float32) for n in (self.size, 256))
        return of_gap(Wiener(), T, H, 1.0, draw)


@dataclass(frozen=True)
class Digits:
    """A network trained on 256 digits, of which T is drawn; H is drawn from 900 others, both with replacement.

    The losses of digits that the network was not trained on are skewed (by 3.8 at the worst σ, with a kurtosis of 30),
    those of the others less so (0.9). With `unseen`, T is drawn from the former too: the worst that N images can be.
    """

    size: int
    unseen: bool = False

    def __str__(self) -> str:
        return f"N = {self.size}, network, {'no digits were seen' if self.unseen else 'T is digits that it saw'}"

    def populations(self) -> tuple[np.ndarray, np.ndarray]:
        _, seen, unseen, _ = trained()
        return (unseen if self.unseen else seen), unseen

    def truth(self) -> Arrays:
        """Means over all images of a population, with 64 draws of noise or more."""
        if self.unseen:
            return {"gap": np.zeros(16), "gap_max": np.array(0.0)}
        denoiser, _, _, sigma_d = trained()
        levels = sigma_d * gap.noise_levels(16, 0.02, 20.0, None)
        with patch.object(_noise, "SEED", 10**6):
            banks = [_noise.bank_of_pairs(part, None, 60_000, k, CPU) for k, part in enumerate(self.populations())]
            of_T, of_H = (_noise.losses(denoiser, bank, levels).mean.mean(axis=0) for bank in banks)
        log_ratio = np.log(of_H / of_T)
        return {"gap": np.expm1(log_ratio), "gap_max": np.expm1(peak(log_ratio, np.log(levels))[0])}

    def intervals(self, draw: int) -> Ends:
        denoiser, _, _, sigma_d = trained()
        chance = np.random.default_rng(draw)
        T, H = (
            part[chance.integers(len(part), size=n)]
            for part, n in zip(self.populations(), (self.size, 256), strict=True)
        )
        return of_gap(denoiser, T, H, sigma_d, draw)


class Wiener:
    """The posterior mean of standard normal points."""

    sigma_data = 1.0

    def __call__(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None, /) -> Tensor:
        return x / (1 + sigma.square())[:, None]


@cache
def trained() -> tuple[DenoiserLike, np.ndarray, np.ndarray, float]:
    """A small network after 2,000 steps, its 256 training images, 900 others, σ_d."""
    pool = load()
    parts = split(pool, size=256, held_out=900)
    seen, unseen = (scaled(pool.images[places]) for places in (parts.train, parts.held_out))
    sigma_d = sigma_data(pool.images[parts.rest])
    network = initialise(lambda: mlp.build((1, 8, 8), 0, width=64), 0)
    *_, state = train(network, to_tensor(seen), None, sigma_d, steps=2000)
    return state.ema, seen, unseen, sigma_d


@dataclass(frozen=True)
class Features:
    """500 samples with 16 rectified features, wider than those of the 400 images of the reference, which stays."""

    scale: float

    def __str__(self) -> str:
        return f"500 samples, 16 features, {self.scale:g} times as wide"

    def truth(self) -> Arrays:
        """The mean over 4,000 other draws; ValueError below four floors: some draws would have no interval."""
        reference = frechet.moments(rectified(0, 400))
        draws = (self.scale * rectified(10**6 + k, 500) for k in range(4000))
        mean = np.mean([frechet.distance(frechet.moments(draw), reference) for draw in draws])
        if mean < 4 * frechet.expected_floor(reference, 500, 400):
            raise ValueError("too near to three floors")
        return {"fd_test": np.array(mean)}

    def intervals(self, draw: int) -> Ends:
        samples, H = self.scale * rectified(1 + draw, 500), rectified(0, 400)
        return ends(frechet.measure(samples, H[:1], H, lambda x: x, unshared).values, "fd_test")


def rectified(seed: int, count: int) -> np.ndarray:
    """Features (count, 16) as a network gives them: many are 0, and the others have a long tail."""
    return np.maximum(np.random.default_rng(seed).standard_normal((count, 16)) * np.linspace(0.3, 2, 16) + 0.3, 0)


@dataclass(frozen=True)
class Planted:
    """1,000 states at σ_d, noisy training images with probability `share`, else noisy images that nobody has seen."""

    share: float
    size: int = 128

    def __str__(self) -> str:
        return f"p = {self.share:g}, N = {self.size}, digits"

    def truth(self) -> Arrays:
        return {"path_overlap_100": np.array(self.share)}

    def intervals(self, draw: int) -> Ends:
        chance = np.random.default_rng(draw)
        T, H, images = (blurred_digits(n, chance) for n in (self.size, 400, 1000))
        own = chance.random(len(images)) < self.share
        images[own] = T[chance.integers(len(T), size=own.sum())]
        sigma_d = 0.75
        at, x = np.array([sigma_d]), (images + sigma_d * chance.standard_normal(images.shape))[None]
        way = at, x, at, images[None], images  # whose ends are what they are noisy images of
        with patch.object(path, "SEED", draw):
            return ends(path.measure(lambda *_, **__: way, T, H, sigma_d).values, "path_overlap_100")


def of_gap(denoiser: DenoiserLike, T: np.ndarray, H: np.ndarray, sigma_d: float, draw: int) -> Ends:
    with patch.object(_noise, "SEED", draw):
        result = gap.measure(denoiser, T, H, None, None, sigma_d, pairs=256, resamples=500)
    table = result.tables["noise"]
    of_T = table["split"] == "train"  # both splits' lines have the band
    return {"gap": (table["gap_lo"][of_T], table["gap_hi"][of_T])} | ends(result.values, "gap_max")


WORLDS: tuple[World, ...] = (
    *(Copies(share) for share in (0.02, 0.1, 0.5, 0.9)),
    *(Preferring(size, share) for size in (16, 64, 256) for share in (0.0, 0.4)),
    *(Preferring(256, share, held_out=160) for share in (0.0, 0.4)),
    *(Modes(modes) for modes in (1, 3, 10, 30, 100)),
    *(Modes(modes, size=16) for modes in (30, 100)),
    Modes(300, most=0.9),
    Modes(300, grey=0.5),
    Modes(50, copied=0.5),
    *(Prompts(alike) for alike in (0.02, 0.3, None)),
    *(Grouped(0.3, correlation) for correlation in (0, 0.1, 0.5, 0.9, 1)),
    *(Grouped(share, correlation) for share in (0.1, 0.5) for correlation in (0.1, 1)),
    *(Gaussians(size) for size in (16, 256)),
    *(Digits(size, unseen) for size in (16, 256) for unseen in (False, True)),
    *(Features(scale) for scale in (1.25, 1.6)),
    *(Planted(share) for share in (0.0, 0.3, 1.0)),
)
