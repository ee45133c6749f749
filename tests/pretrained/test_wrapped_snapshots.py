"""A snapshot of this package, wrapped as networks of others have it, is read to the denoiser that it was.

The wrappers decode what a network is told, and encode what it predicts, by formulas of their own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from difgen_cli.diffusion import Denoiser
from difgen_cli.models import denoiser, unet

SIGMA_DATA = 0.4
Level = Callable[[Tensor], Tensor]


class Wrapped(nn.Module):
    """A network of another kind around a denoiser: unit variance of the data, its own noise levels, its own target."""

    def __init__(self, own: Denoiser, level: Level, kept: Level, prediction: Callable[..., Tensor]) -> None:
        super().__init__()
        self.own, self.level, self.kept, self.prediction = own, level, kept, prediction

    def forward(self, x: Tensor, told: Tensor, labels: Tensor | None) -> Tensor:
        """`x` is x₀ kept + noise (1 − kept² or 1 − kept), as the schedule says."""
        s = self.level(told)
        kept = self.kept(s).view(-1, 1, 1, 1)
        noisy = x / kept
        clean = self.own(noisy, s, labels)
        return self.prediction(clean, (noisy - clean) / s.view(-1, 1, 1, 1), kept)


def snapshot() -> Denoiser:
    network = unet.build((1, 8, 8), 3, width=16, multipliers=(1, 2))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weights in network.parameters():
            weights.add_(0.05 * torch.randn(weights.shape, generator=generator))
    return Denoiser(network, SIGMA_DATA).eval()


def steps_of(kept: np.ndarray) -> Level:
    """s of a timestep, between two of them by interpolation in ln s; `kept` is the product of 1 − β."""
    levels = np.log((1 - kept) / kept) / 2

    def level(told: Tensor) -> Tensor:
        between = np.interp(told.double().numpy(), np.arange(len(levels)), levels)
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


CASES: dict[str, tuple[Level, Level, Callable[..., Tensor], dict[str, Any]]] = {
    "noise of linear": (
        steps_of(LINEAR), of_variance, noise, {"prediction": "noise", "schedule": "linear"},
    ),
    "velocity of cosine": (
        steps_of(COSINE), of_variance, velocity, {"prediction": "velocity", "schedule": "cosine"},
    ),
    "velocity of the betas themselves": (
        steps_of(LINEAR), of_variance, velocity,
        {"prediction": "velocity", "betas": tuple(np.linspace(1e-4, 0.02, 1000).tolist())},
    ),
    "flow": (lambda told: (told / 1000) / (1 - told / 1000), of_flow, flow, {"prediction": "flow"}),
    "flow by its time": (lambda t: t / (1 - t), of_flow, flow, {"prediction": "flow", "noise_input": "time"}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_a_wrapped_snapshot_is_the_denoiser_that_it_was(case: str) -> None:
    level, kept, prediction, reading = CASES[case]
    own = snapshot()
    read = denoiser(
        Wrapped(own, level, kept, prediction), SIGMA_DATA, **{"noise_input": "timestep", "unit": 1.0, **reading}
    )
    sigma = torch.logspace(math.log10(0.02), math.log10(4), 64)
    x = torch.randn(64, 1, 8, 8, generator=torch.Generator().manual_seed(1)) * (sigma.square() + 0.16).sqrt().view(
        -1, 1, 1, 1
    )
    labels = torch.arange(64) % 4
    difference = (read(x, sigma, labels) - own(x, sigma, labels)).abs()
    print(case, difference.max().item())
    assert difference.max() < 1e-6 * max(1.0, float(x.abs().max()))
    assert read.sigma_data == SIGMA_DATA


@pytest.mark.parametrize(("schedule", "kept"), [("linear", LINEAR), ("cosine", COSINE)])
def test_levels_outside_of_the_schedule_are_said_to_be_outside(schedule: Any, kept: np.ndarray) -> None:
    read = denoiser(
        snapshot().network, SIGMA_DATA, prediction="noise", unit=1.0, noise_input="timestep", schedule=schedule
    )
    ends = [math.sqrt((1 - kept[place]) / kept[place]) for place in (0, -1)]
    assert read.sigma_range == pytest.approx(ends, rel=1e-5)


@pytest.mark.parametrize(
    ("reading", "words"),
    [
        ({"noise_input": "timestep"}, "model.noise_input: timestep needs model.schedule"),
        ({"betas": (0.1, 0.2)}, "two of them with model.schedule, or one for each timestep without it"),
        ({"betas": (0.1, 0.2, 0.3), "schedule": "linear"}, "two of them with model.schedule"),
        ({"betas": (0.1,), "schedule": "linear"}, "two of them with model.schedule"),
        ({"betas": (0.1,)}, "two of them with model.schedule"),
        ({"betas": (0.1, 0.2, 1.0)}, "must lie between 0 and 1"),
        ({"betas": (0.1, 0.2), "schedule": "cosine"}, "the schedule cosine has no first and last β"),
    ],
)
def test_a_reading_that_does_not_fit_together_is_refused(reading: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        denoiser(snapshot().network, SIGMA_DATA, prediction="noise", unit=1.0, **reading)
