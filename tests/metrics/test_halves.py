"""Distances of halves of T and of T to H: Gaussians of one source and of two, and all ways to halve four images."""

from collections.abc import Callable

import numpy as np
import pytest

from difgen_cli.metrics import flat, halves
from difgen_cli.metrics.frechet import distance, expected_floor, moments

D = 6


def shared(_: str, compute: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return compute()


def normal(n: int, seed: int, d: int = D) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, d)) * np.linspace(0.3, 2, d)


def measured(train: np.ndarray, held_out: np.ndarray) -> dict[str, float]:
    return halves.measure(train, held_out, flat, shared).values  # type: ignore[return-value]


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_they_differ_by_where_held_out_images_come_from(shift: float) -> None:
    """Two sets of 120 of one source are expected as far apart as the closed form says; ‖m‖² more from another mean."""
    values = [measured(normal(240, seed), normal(300, seed + 50) + shift) for seed in range(12)]
    within, across = (np.mean([value[name] for value in values]) for name in ("fd_halves", "fd_halves_heldout"))
    assert within == pytest.approx(expected_floor(moments(normal(4000, 99)), 120, 120), rel=0.2)
    assert across - within == pytest.approx(D * shift**2, abs=0.1)
    assert {value["fd_halves_images"] for value in values} == {120}


def test_halves_share_no_image() -> None:
    """Four images can be halved in three ways: the mean of five draws is made of these by whole numbers."""
    T = normal(4, 1, 3)
    ways = [((0, 1), (2, 3)), ((0, 2), (1, 3)), ((0, 3), (1, 2))]
    a, b, c = (distance(moments(T[list(one)]), moments(T[list(other)])) for one, other in ways)
    sums = [i * a + j * b + (5 - i - j) * c for i in range(6) for j in range(6 - i)]
    assert min(abs(measured(T, normal(100, 2, 3))["fd_halves"] - total / 5) for total in sums) < 1e-6


def test_a_half_is_no_larger_than_held_out_images_allow_and_one_image_has_no_covariance() -> None:
    assert measured(normal(100, 1), normal(20, 2))["fd_halves_images"] == 10
    few = measured(normal(3, 1), normal(20, 2))
    assert few["fd_halves"] is few["fd_halves_heldout"] is None
