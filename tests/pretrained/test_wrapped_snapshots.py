"""A snapshot of this package, wrapped as networks of others have it, is read to the denoiser that it was.

The wrappers decode what a network is told, and encode what it predicts, by formulas of their own.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from difgen_cli.diffusion import Denoiser
from difgen_cli.models import denoiser, unet

sys.path.insert(0, str(Path(__file__).parent))
from wrapping import COSINE, KINDS, LINEAR

SIGMA_DATA = 0.4


def snapshot() -> Denoiser:
    network = unet.build((1, 8, 8), 3, width=16, multipliers=(1, 2))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weights in network.parameters():
            weights.add_(0.05 * torch.randn(weights.shape, generator=generator))
    return Denoiser(network, SIGMA_DATA).eval()


@pytest.mark.parametrize("case", KINDS)
@torch.no_grad()
def test_a_wrapped_snapshot_is_the_denoiser_that_it_was(case: str) -> None:
    own = snapshot()
    read = KINDS[case].around(own)
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
