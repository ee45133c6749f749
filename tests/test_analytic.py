"""The toy of Kaiser & Kollmann (2026): the error-prone denoiser on a circle, against brute-force quadrature."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from difgen_cli import data
from difgen_cli.data import circle
from difgen_cli.models.analytic import build

NODES = 300  # a midpoint rule on ±7: the norm has a kink, where Gauss–Hermite converges slowly


def schedule(steps: int = 120, low: float = 0.002, high: float = 80.0, rho: float = 7.0) -> np.ndarray:
    """The EDM noise levels (Karras 2022, eq. 5), absolute."""
    ramp = np.arange(steps) / (steps - 1)
    return np.asarray((high ** (1 / rho) + ramp * (low ** (1 / rho) - high ** (1 / rho))) ** rho)


def expected_error(denoiser: torch.nn.Module, points: np.ndarray, sigma: float, power: int) -> float:
    """E‖D(x₀ + σn; σ) − x₀‖^power over the noise by quadrature, the mean over the points."""
    middle = (np.arange(NODES) + 0.5) / NODES * 14 - 7
    noise = torch.tensor(np.stack(np.meshgrid(middle, middle), -1).reshape(-1, 2))
    weight = torch.exp(-noise.square().sum(1) / 2) / (2 * np.pi) * (14 / NODES) ** 2
    level = torch.full((len(noise),), sigma, dtype=torch.float64)
    found = [
        float(((denoiser(point + sigma * noise, level) - point).norm(dim=1) ** power * weight).sum())
        for point in torch.tensor(points, dtype=torch.float64)
    ]
    return float(np.mean(found))


def toy(size: int, delta: float) -> tuple[torch.nn.Module, np.ndarray, np.ndarray]:
    """The denoiser of a circle of 2 · size points, its training points and those held out."""
    pool = circle.load(points=2 * size)
    parts = data.split(pool, size=size, held_out=size)
    train, held_out = pool.images[parts.train], pool.images[parts.held_out]
    return build(torch.tensor(train), None, 5.0, delta=delta), train, held_out


def gap(size: int, delta: float, sigma: float, power: int) -> float:
    """Held-out over training error, less one. By symmetry one point of each kind stands for all."""
    denoiser, train, held_out = toy(size, delta)
    return expected_error(denoiser, held_out[:1], sigma, power) / expected_error(denoiser, train[:1], sigma, power) - 1


@pytest.mark.parametrize(
    ("size", "delta", "peak", "at"),
    [
        (10, 2.2, 0.0901, 1.184),
        (10, 1.8, 0.2306, 1.184),
        (10, 1.4, 0.5695, 1.184),
        (8, 1.6, 0.7383, 1.397),
        (10, 1.6, 0.3626, 1.184),
        (12, 1.6, 0.1769, 0.999),
    ],
)
def test_the_gap_of_the_toy_peaks_where_and_as_high_as_it_should(
    size: int, delta: float, peak: float, at: float
) -> None:
    levels = schedule()
    near = levels[np.argsort(abs(np.log(levels / at)))[:3]]  # the level itself and its neighbours
    gaps = {float(sigma): gap(size, delta, float(sigma), power=1) for sigma in near}
    best = max(gaps, key=lambda sigma: gaps[sigma])
    assert best == pytest.approx(at, abs=5e-4)
    assert gaps[best] == pytest.approx(peak, abs=5e-4)


@pytest.mark.parametrize(("delta", "peak", "at"), [(2.2, 0.1628, 1.079), (1.8, 0.4395, 1.075), (1.4, 1.221, 1.061)])
def test_with_the_square_of_the_error_the_gap_is_larger_and_peaks_earlier(delta: float, peak: float, at: float) -> None:
    assert gap(10, delta, at, power=2) == pytest.approx(peak, rel=1e-3)
    assert gap(10, delta, at * 1.1, power=2) < gap(10, delta, at, power=2) > gap(10, delta, at / 1.1, power=2)


def test_without_error_it_is_the_perfect_memorizer_and_with_all_of_it_it_does_nothing() -> None:
    denoiser, train, _ = toy(10, 1e-4)
    x, sigma = torch.tensor(train) + 0.01, torch.full((10,), 0.05)
    torch.testing.assert_close(denoiser(x, sigma), torch.tensor(train), atol=1e-4, rtol=0)
    lazy, _, _ = toy(10, 1e4)
    torch.testing.assert_close(lazy(x, sigma), x, atol=1e-4, rtol=0)


def test_every_other_point_is_held_out_whatever_the_seed() -> None:
    pool = circle.load(points=20)
    parts = [data.split(pool, held_out=10, seed=seed) for seed in (0, 1)]
    assert all(sorted(p.train) == list(range(0, 20, 2)) for p in parts)
    assert all(list(p.held_out) == list(range(1, 20, 2)) for p in parts)
    with pytest.raises(data.DataError, match="itself holds 10 of its 20"):
        data.split(pool, held_out=4)


def test_what_a_data_set_holds_out_is_part_of_its_identity() -> None:
    pool = circle.load(points=20)
    assert data.content(pool) != data.content(data.Pool(pool.images))
