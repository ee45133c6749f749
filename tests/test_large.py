"""What is large, on a device: neighbours are those of the host to the bit, Fréchet distances but for rounding."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from difgen_cli.diffusion import large
from difgen_cli.diffusion.precision import products
from difgen_cli.metrics import frechet
from difgen_cli.neighbours import choose_with, nearest, search


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The CPU as torch has it takes the place of a card, at any size and in several tiles; how often it chose."""
    for module in (large, search):
        monkeypatch.setattr(module, "WORTH", 0)
    monkeypatch.setattr(large, "COLUMNS", 37)
    monkeypatch.setattr(search, "ROWS_OF_CARD", 16)
    chosen: list[int] = []

    def lowest(*arguments: Any) -> Any:
        chosen.append(arguments[3])
        return large.lowest(*arguments)

    large.use("cpu")
    choose_with(lowest)
    yield chosen
    large.use(None)
    choose_with(None)


def cases() -> dict[str, tuple[np.ndarray, np.ndarray, int, bool]]:
    """Queries, references, how many, and whether these are the same: random, far from zero, with ties, with repeats."""
    rng = np.random.default_rng(0)
    q, r = (rng.standard_normal((n, 4, 4, 3)).astype(np.float32) for n in (41, 150))
    ties, far = rng.integers(0, 2, (90, 3)).astype(np.float32), np.repeat([[-20.0], [20.0]], 60, axis=0)
    groups = (far + 1e-3 * rng.standard_normal((120, 512))).astype(np.float32)
    return {
        "random": (q, r, 3, False), "far from zero": (q + 100, r + 100, 2, False), "within": (r, r, 2, True),
        "ties": (ties, ties, 4, True), "more than there are": (q, r[:2], 3, False),
        "too close for products": (groups, groups, 3, True),
    }  # fmt: skip


@pytest.mark.parametrize("name", cases())
def test_neighbours_are_those_of_the_host_to_the_bit(device: list[int], name: str) -> None:
    queries, references, k, within = cases()[name]
    distances, places = nearest(queries, references, k, exclude_self=within)
    assert len(device) == -(-len(queries) // 16)
    choose_with(None)
    expected, expected_places = nearest(queries, references, k, exclude_self=within)
    np.testing.assert_array_equal(distances, expected)
    np.testing.assert_array_equal(places, expected_places)


def test_a_frechet_distance_is_that_of_the_host_but_for_rounding(
    device: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frechet, "ROWS", 64)  # several blocks
    rng = np.random.default_rng(1)
    one, other = (rng.standard_normal((200, 24)) @ rng.standard_normal((24, 24)) for _ in range(2))
    on_device = [frechet.moments(x) for x in (one, other)]
    large.use(None)
    on_host = [frechet.moments(x) for x in (one, other)]
    for mine, plain in zip(on_device, on_host, strict=True):
        np.testing.assert_allclose(mine.root.T @ mine.root, plain.root.T @ plain.root, rtol=0, atol=1e-10)
    assert frechet.distance(*on_device) == pytest.approx(frechet.distance(*on_host), rel=1e-10)


def test_products_are_in_float32_in_full_and_without_memory_the_host_computes(
    device: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    queries, references, k, _ = cases()["random"]
    precise: list[bool] = []

    def full(*_: Any) -> Any:
        precise.append(torch.backends.cuda.matmul.allow_tf32)
        raise torch.OutOfMemoryError

    monkeypatch.setattr(large, "_lowest", full)
    with products("tf32"):
        distances, places = nearest(queries, references, k)
    assert precise == [False] * 3
    choose_with(None)
    for ours, plain in zip((distances, places), nearest(queries, references, k), strict=True):
        np.testing.assert_array_equal(ours, plain)
