"""The toy's guidance (Kaiser et al. 2024): steering by a worse self undoes the error, and so opens the gap."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

from difgen_cli import data
from difgen_cli.data import circle
from difgen_cli.diffusion import DenoiserLike, IdealDenoiser
from difgen_cli.guidance import auto, guided, term
from difgen_cli.metrics import gap
from difgen_cli.models.analytic import build

POOL = circle.load(points=20)
PARTS = data.split(POOL, size=10, held_out=10)
TRAIN, HELD_OUT = POOL.images[PARTS.train], POOL.images[PARTS.held_out]
DELTA = 1.8


def model(delta: float) -> DenoiserLike:
    return build(torch.tensor(TRAIN), None, 5.0, delta=delta)


def steered(weight: float, weak: float) -> DenoiserLike:
    return guided(model(DELTA), [term(auto.negative(model(weak)), weight=weight)])


@cache
def peak(weight: float, weak: float) -> dict[str, float]:
    """What the metric finds of the guided denoiser, by quadrature."""
    settings = {"quadrature_nodes": 40, "sigmas": 24, "sigma_min": 0.1, "sigma_max": 0.4, "resamples": 100}
    return gap.measure(steered(weight, weak), TRAIN, HELD_OUT, None, None, 5.0, **settings).values  # type: ignore


@pytest.mark.parametrize("weak", [2.0, 2.8])
def test_the_gap_grows_with_the_weight(weak: float) -> None:
    found = [peak(weight, weak)["gap_max"] for weight in (0.0, 0.5, 1.0, 2.0)]
    assert found == sorted(found)
    assert found[0] == pytest.approx(0.4395, rel=2e-3), "without guidance it is the toy's own (tests/test_analytic.py)"
    assert min(np.diff(found)) > 0.05


@pytest.mark.parametrize("weight", [0.5, 2.0])
def test_the_gap_grows_with_how_much_worse_the_other_self_is(weight: float) -> None:
    found = [peak(weight, weak)["gap_max"] for weak in (2.0, 2.4, 2.8)]
    assert found == sorted(found)
    assert min(np.diff(found)) > 0.05


def test_the_gap_of_the_guided_denoiser_is_that_of_brute_force() -> None:
    """By symmetry one point of each kind stands for all; a midpoint rule of 160 × 160 on ±7."""
    found, nodes = peak(1.0, 2.8), 160
    middle = (np.arange(nodes) + 0.5) / nodes * 14 - 7
    noise = torch.tensor(np.stack(np.meshgrid(middle, middle), -1).reshape(-1, 2))
    weight = torch.exp(-noise.square().sum(1) / 2) / (2 * np.pi) * (14 / nodes) ** 2
    sigma = found["gap_sigma_absolute"]
    level = torch.full((len(noise),), sigma, dtype=torch.float64)

    def error(point: np.ndarray) -> float:
        x = torch.tensor(point, dtype=torch.float64) + sigma * noise
        own, worse = model(DELTA)(x, level), model(2.8)(x, level)
        return float(((2 * own - worse - torch.tensor(point)).square().sum(1) * weight).sum())

    assert found["gap_max"] == pytest.approx(error(HELD_OUT[0]) / error(TRAIN[0]) - 1, rel=2e-3)


def test_a_little_guidance_brings_the_denoiser_nearer_to_the_ideal_one() -> None:
    """The worse self errs where this one errs, and more: the difference points away from the error."""
    generator = torch.Generator().manual_seed(3)
    x = torch.tensor(TRAIN).repeat(40, 1) + torch.randn(400, 2, generator=generator)
    sigma = torch.full((len(x),), 1.0)
    ideal = IdealDenoiser(torch.tensor(TRAIN), 5.0)(x, sigma)
    errors = [float((steered(w, 2.2)(x, sigma) - ideal).square().mean()) for w in (0.0, 0.5, 1.0)]
    assert errors == sorted(errors, reverse=True)
