"""What a denoiser makes of noisy images, compared with the clean ones in a feature space, at one noise level."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from difgen_cli.metrics._cosines import SETS, Cosines, NearestCosine, nearest_cosines
from difgen_cli.metrics._features import Embed, features_of, sides_of, unit
from difgen_cli.metrics._noise import HELD_OUT, TRAIN, Bank, bank_of_pairs, denoise, estimate
from difgen_cli.metrics.frechet import distance, influences, interval, moments

if TYPE_CHECKING:
    import torch

    from difgen_cli.diffusion import DenoiserLike

NAME = "reconstruction"  # the metric, in messages


@dataclass(frozen=True)
class Reconstructed:
    """The reconstructions of n images at one noise level."""

    errors: np.ndarray  # (n,) mean squared error per feature, a mean over an image's draws
    distance: float | None  # Fréchet distance to the same clean images; None for a single one
    lower: float | None  # its 95 % interval; None where features have more dimensions than there are images
    upper: float | None
    nearest: dict[str, NearestCosine]  # in T ("t") and in H_N ("h")


Pair = tuple[Reconstructed, Reconstructed]  # of T, and of H_N


@dataclass(frozen=True)
class Images:
    """As many images of T as of H, with noise, and the samples, as a feature space sees them."""

    banks: tuple[Bank, Bank]  # of T, and of H_N
    clean: tuple[np.ndarray, np.ndarray]  # features (n, d) float64
    sets: dict[str, np.ndarray]  # the same at length 1: "t", "h"
    samples: dict[str, NearestCosine]  # "x_t", "x_h": of the samples in both; empty without samples
    embed: Embed
    mirrored: bool  # nearest up to mirror images

    @property
    def count(self) -> int:
        return len(self.clean[0])

    def at(self, denoiser: DenoiserLike, sigma: float) -> tuple[Pair, Cosines]:
        """D(x₀ + σn; σ) at an absolute σ that the denoiser is for; ValueError where it is not finite."""
        of_T, of_H = (self._of_split(denoiser, side, sigma) for side in (0, 1))
        near = {f"rt_{of}": of_T.nearest[of] for of in SETS} | {f"rh_{of}": of_H.nearest[of] for of in SETS}
        return (of_T, of_H), Cosines(near | self.samples, self.count, self.banks[0].draws)

    def pictures(self, denoiser: DenoiserLike, sigma: float, count: int) -> dict[str, np.ndarray]:
        """The first images of T and then of H at an absolute σ, value by value: the columns of a table but the levels.

        Each is clean, with its first draw of noise, and reconstructed, in torch's order of channels first.
        """
        parts = []
        for split, bank in zip(("train", "heldout"), self.banks, strict=True):
            some = slice(0, count * bank.draws, bank.draws)
            labels = None if bank.labels is None else bank.labels[some]
            clean = bank.images[some]
            noisy = clean + sigma * bank.noise[some]
            looks = {"clean": clean, "noisy": noisy, "reconstruction": estimate(denoiser, noisy, sigma, labels)}
            columns = {name: look.double().flatten().cpu().numpy() for name, look in looks.items()}
            places = dict(
                zip(("image", "colour", "row", "column"), np.indices(clean.shape).reshape(4, -1), strict=True)
            )
            parts.append({"split": np.repeat(split, clean.numel())} | places | columns)
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _of_split(self, denoiser: DenoiserLike, side: int, sigma: float) -> Reconstructed:
        from difgen_cli.diffusion import to_array

        bank, clean = self.banks[side], self.clean[side]
        images = to_array(denoise(denoiser, bank, sigma))
        if not np.isfinite(images).all():
            raise ValueError(
                f"the denoiser gives NaN or infinite values at sigma {sigma:.3g}: did the training diverge?"
            )
        looks = sides_of(NAME, self.embed, images, self.mirrored)
        features = looks[0].astype(np.float64)
        errors = np.square(features.reshape(len(clean), bank.draws, -1) - clean[:, None]).mean(axis=(1, 2))
        directions = [unit(NAME, look) for look in looks]
        near = {of: nearest_cosines(directions, self.sets[of]) for of in SETS}
        return Reconstructed(errors, *paired_distance(features, clean), near)


Labelled = tuple[np.ndarray, np.ndarray | None]


def images_of(
    parts: tuple[Labelled, Labelled], samples: np.ndarray, pairs: int, embed: Embed, mirrored: bool,
    device: torch.device,
) -> Images:  # fmt: skip
    """Of T and of H, each with its labels: the first of them, so that both are as many, in `pairs` pairs or more."""
    n = min(pairs, *(len(x) for x, _ in parts))
    if n < 1:
        raise ValueError(f"{NAME} needs training images, and held-out images of their conditions: there are none")
    clean = tuple(features_of(NAME, embed, x[:n]).astype(np.float64) for x, _ in parts)
    sets = {of: unit(NAME, x) for of, x in zip(SETS, clean, strict=True)}
    of_T, of_H = (
        bank_of_pairs(x[:n], None if labels is None else labels[:n], pairs, split, device)
        for split, (x, labels) in zip((TRAIN, HELD_OUT), parts, strict=True)
    )
    near: dict[str, NearestCosine] = {}
    if len(samples):
        directions = [unit(NAME, look) for look in sides_of(NAME, embed, samples, mirrored)]
        near = {f"x_{of}": nearest_cosines(directions, sets[of]) for of in SETS}
    return Images((of_T, of_H), (clean[0], clean[1]), sets, near, embed, mirrored)


def paired_distance(features: np.ndarray, clean: np.ndarray) -> tuple[float | None, float | None, float | None]:
    """The Fréchet distance of features (n · draws, d), image by image, to those they were made from, (n, d).

    Its 95 % interval is over images and noise: both sets move with an image, and the influence of it on the distance is
    the sum of its influences in both; what they make too much of the shift of the mean is taken off, as far as one
    half. No interval where the images do not span their features.
    """
    if len(clean) < 2:
        return None, None, None
    draws = len(features) // len(clean)
    after, before = moments(features), moments(np.repeat(clean, draws, axis=0))
    value = distance(after, before)
    of_after, of_before = influences(features, after, before), influences(clean, before, after)
    if of_after is None or of_before is None or value <= 0:
        return value, None, None
    each = of_after.reshape(len(clean), -1).mean(axis=1) + of_before
    variance = float(each.var(ddof=1) / len(clean))
    beyond = squared_mean_excess(features.reshape(len(clean), draws, -1).mean(axis=1) - clean)
    return value, *interval(value, float(np.sqrt(max(variance - beyond, variance / 2))))


def squared_mean_excess(moved: np.ndarray) -> float:
    """By how much the influences' variance of ‖m‖², m the mean of n rows (n, d), exceeds the true one on average.

    ‖m‖² varies by 4 μᵀΣμ/n + 2 tr Σ²/n². The influences 2 m·(x − m) have 4 mᵀΣm/n instead, 4 tr Σ²/n² more than the
    first part: chance in m counts twice. tr Σ² without the bias of the square of an estimate (Srivastava 2005).
    """
    n = len(moved)
    if n < 3:
        return 0.0
    centred = (moved - moved.mean(axis=0)) / np.sqrt(n - 1)
    gram = centred @ centred.T if n < moved.shape[1] else centred.T @ centred
    square = (n - 1) ** 2 / ((n - 2) * (n + 1)) * (float((gram**2).sum()) - float(np.trace(gram)) ** 2 / (n - 1))
    return 2 * max(square, 0.0) / n**2
