"""Worlds of reconstructions, and of the gap between distances: the model stays, T, H, samples and noise are drawn.

- feat_gap, nn_lead: nothing was learnt by heart, so that T and H are alike, and both are 0.
- rfd, nn_cos, nn_share: the mean over 400 other draws; a share of the samples are near copies of training images.
- the same of a network and the digits that it was trained on, of which T is drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from unittest.mock import patch

import numpy as np
from drawing import Arrays, Ends, World, ends
from worlds import Wiener, trained

from difgen_cli.diffusion import DenoiserLike
from difgen_cli.metrics import _noise, flat, reconstruction
from difgen_cli.metrics._features import Embed

MEANS = ("rfd_train_050", "rfd_heldout_050", "nn_cos_rt_t", "nn_cos_rh_t", "nn_cos_x_t", "nn_cos_x_h", "nn_share")
NULL = ("feat_gap_050", "feat_gap_max", "nn_lead")
MIXED = np.random.default_rng(8).standard_normal((16, 12)).astype(np.float32) / 4  # 16 values to 12 features


@dataclass(frozen=True)
class Reconstructing:
    """The best denoiser of 16-dimensional Gaussian data, `size` images on each side, and 300 samples.

    Of the samples the share `copied` are training images with a little noise; the others are as unseen as H.
    """

    size: int
    copied: float = 0.0

    def __str__(self) -> str:
        return f"n = {self.size} on each side, Gaussian data, share of copies {self.copied:g}"

    def truth(self) -> Arrays:
        return {name: np.array(0.0) for name in NULL} | _means(self)

    def intervals(self, draw: int) -> Ends:
        return ends(self.values(draw), *NULL, *MEANS)

    def values(self, draw: int) -> dict[str, object]:
        chance = np.random.default_rng(draw)
        T, H, samples = (chance.standard_normal((n, 16)).astype(np.float32) for n in (self.size, self.size, 300))
        copied = chance.random(len(samples)) < self.copied
        samples[copied] = T[chance.integers(len(T), size=copied.sum())] + np.float32(0.01)
        return _measured(Wiener(), samples, T, H, 1.0, draw, _rectified)


@dataclass(frozen=True)
class LearntByHeart:
    """The network of `worlds.trained`: T is `size` of its 256 training digits, H and the samples are of 900 others."""

    size: int

    def __str__(self) -> str:
        return f"n = {self.size} on each side, network, T is digits that it saw"

    def truth(self) -> Arrays:
        return _means(self)

    def intervals(self, draw: int) -> Ends:
        return ends(self.values(draw), *self.names)

    @property
    def names(self) -> tuple[str, ...]:
        return "feat_gap_050", "nn_lead", "nn_share"

    def values(self, draw: int) -> dict[str, object]:
        denoiser, seen, unseen, sigma_d = trained()
        chance = np.random.default_rng(draw)
        T, others = chance.permutation(seen)[: self.size], chance.permutation(unseen)
        return _measured(denoiser, others[self.size : self.size + 100], T, others[: self.size], sigma_d, draw, flat)


def _measured(
    denoiser: DenoiserLike, samples: np.ndarray, T: np.ndarray, H: np.ndarray, sigma_d: float, draw: int, embed: Embed
) -> dict[str, object]:
    with patch.object(_noise, "SEED", draw):
        result = reconstruction.measure(
            denoiser, samples, T, H, None, None, embed, sigma_d, sigmas=(), pairs=128, resamples=200
        )
    return dict(result.values)


def _rectified(x: np.ndarray) -> np.ndarray:
    """Features (n, 12): many are 0, and the others have a long tail."""
    return np.maximum(x @ MIXED + 0.3, 0) + np.float32(0.01)


@cache
def _means(world: Reconstructing | LearntByHeart) -> Arrays:
    """Over 400 other draws; of the share the ratio of means."""
    names = MEANS if isinstance(world, Reconstructing) else world.names
    drawn = [world.values(10**5 + k) for k in range(400)]
    means = {name: np.array(np.mean([float(str(values[name])) for values in drawn])) for name in names}
    sums = {n: np.mean([float(str(v[f"nn_cos_{n}"])) for v in drawn]) for n in ("rh_t", "rh_h", "x_t", "x_h")}
    apart = np.mean([float(str(values["nn_apart"])) for values in drawn])
    share = (sums["x_t"] - sums["x_h"] - sums["rh_t"] + sums["rh_h"]) / apart
    return means | {"nn_share": np.array(share)}


RECONSTRUCTING: tuple[World, ...] = (
    *(Reconstructing(size, copied) for size, copied in ((32, 0.0), (128, 0.3))),
    LearntByHeart(64),
)
