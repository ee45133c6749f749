"""Where a term of guidance acts is decided by a number on the host: no evaluation waits for a device."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from difgen_cli.guidance import Guided, Term
from difgen_cli.sampling import Randomness, estimate, euler, heun, noise_levels


class Shrinking:
    """D(x; σ) = x / (1 + c σ²)."""

    sigma_data = 0.5

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def __call__(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None, /) -> Tensor:
        return x / (1 + self.factor * sigma.square())[:, None]


class NoWaiting(TorchDispatchMode):
    """Refuses what asks a device for a number."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert func not in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default), func
        return func(*args, **(kwargs or {}))


def _guided(interval: tuple[float, float]) -> Guided:
    return Guided(Shrinking(1.0), [Term(Shrinking(2.0), 1.5, interval, None), Term(Shrinking(3.0), 0.5, (0, 1), None)])


@pytest.mark.parametrize("sampler", [euler, heun])
def test_a_guided_walk_never_asks_the_device(sampler: Any) -> None:
    noise = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    rng = [Randomness(0, 0, 16)] if sampler is heun else []
    with NoWaiting():
        for _ in sampler.sample(_guided((0.1, 4.0)), noise, noise_levels(6, 7.0, 0.004, 160.0, 0.5), None, *rng):
            pass
    with pytest.raises(AssertionError), NoWaiting():  # what a caller with a tensor alone has to do
        _guided((0.1, 4.0))(noise, torch.ones(4))


def test_the_number_decides_as_the_tensor_does_at_the_ends_of_an_interval_too() -> None:
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(1))
    levels = noise_levels(24, 7.0, 0.004, 160.0, 0.5)[:-1]
    for low, high in [(levels[9] / 0.5, levels[3] / 0.5), (levels[20] / 0.5, levels[0] / 0.5), (0.0, float("inf"))]:
        guided = _guided((low, high))
        for sigma in levels:
            assert torch.equal(estimate(guided, x, sigma, None), guided(x, x.new_full((4,), sigma)))
