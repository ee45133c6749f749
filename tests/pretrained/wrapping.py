"""A denoiser of this package, wrapped as networks of others are: what they are told, and what they predict.

The formulas are written out here once more, and are not those of the package.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from difgen_cli.diffusion import Denoiser
from difgen_cli.models import denoiser

Level = Callable[[Tensor], Tensor]


class Wrapped(nn.Module):
    """A network of another kind around a denoiser: unit variance of the data, its own noise levels, its own target."""

    def __init__(self, own: Denoiser, level: Level, kept: Level, prediction: Callable[..., Tensor]) -> None:
        super().__init__()
        self.own, self.level, self.kept, self.prediction = own, level, kept, prediction
        self.classes = getattr(own.network, "classes", 0)

    def forward(self, x: Tensor, told: Tensor, labels: Tensor | None) -> Tensor:
        """`x` is x₀ kept + noise (1 − kept² or 1 − kept), as the schedule says."""
        s = self.level(told)
        kept = self.kept(s).view(-1, 1, 1, 1)
        noisy = x / kept
        clean = self.own(noisy, s, labels)
        return self.prediction(clean, (noisy - clean) / s.view(-1, 1, 1, 1), kept)


def steps_of(kept: np.ndarray, whole: bool = False) -> Level:
    """s of a timestep, between two of them by interpolation in ln s; `kept` is the product of 1 − β.

    whole: a network of whole timesteps, for which others are the nearest of them.
    """
    levels = np.log((1 - kept) / kept) / 2

    def level(told: Tensor) -> Tensor:
        steps = told.double().numpy()
        between = np.interp(np.rint(steps) if whole else steps, np.arange(len(levels)), levels)
        return torch.from_numpy(np.exp(between)).float()

    return level


LINEAR = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
ANGLES = np.cos((np.arange(1001) / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2
COSINE = np.cumprod(1 - np.minimum(1 - ANGLES[1:] / ANGLES[:-1], 0.999))


def of_variance(s: Tensor) -> Tensor:
    return (1 + s.square()).rsqrt()


def of_flow(s: Tensor) -> Tensor:
    return 1 / (1 + s)


def noise(clean: Tensor, noise_: Tensor, kept: Tensor) -> Tensor:
    return noise_


def velocity(clean: Tensor, noise_: Tensor, kept: Tensor) -> Tensor:
    return kept * noise_ - (1 - kept.square()).sqrt() * clean


def flow(clean: Tensor, noise_: Tensor, kept: Tensor) -> Tensor:
    return noise_ - clean


@dataclass(frozen=True)
class Kind:
    """A kind of networks: the level that it is told, what it keeps of an image, its target, and its reading."""

    level: Level
    kept: Level
    prediction: Callable[..., Tensor]
    reading: dict[str, Any]

    def around(self, own: Denoiser) -> Denoiser:
        """A denoiser, wrapped as a network of this kind and read as one."""
        reading = {"noise_input": "timestep", "unit": 1.0, **self.reading}
        network = Wrapped(own, self.level, self.kept, self.prediction)
        return denoiser(network, own.sigma_data, **reading).eval()


KINDS = {
    "noise of linear": Kind(steps_of(LINEAR), of_variance, noise, {"prediction": "noise", "schedule": "linear"}),
    "velocity of cosine": Kind(
        steps_of(COSINE), of_variance, velocity, {"prediction": "velocity", "schedule": "cosine"}
    ),
    "velocity of the betas themselves": Kind(
        steps_of(LINEAR), of_variance, velocity,
        {"prediction": "velocity", "betas": tuple(np.linspace(1e-4, 0.02, 1000).tolist())},
    ),
    "flow": Kind(lambda told: (told / 1000) / (1 - told / 1000), of_flow, flow, {"prediction": "flow"}),
    "flow by its time": Kind(
        lambda told: told / (1 - told), of_flow, flow, {"prediction": "flow", "noise_input": "time"}
    ),
}  # fmt: skip
WHOLE = Kind(steps_of(LINEAR, whole=True), of_variance, noise, {"prediction": "noise", "schedule": "linear"})
