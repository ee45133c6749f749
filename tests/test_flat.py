"""Parameters in one array: the same network, and the same steps, as with an array for each."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from difgen_cli.flat import ALIGNED, flatten, of_arrays, per_parameter
from difgen_cli.models import unet
from difgen_cli.train import begin, initialise


def network(width: int = 16) -> nn.Module:
    return initialise(lambda: unet.build((1, 8, 8), 3, width=width, depth=1, multipliers=(1, 2)), 0)


def gradients(of: nn.Module, seed: int) -> None:
    """Add the gradients of some function of the parameters, another for each seed."""
    torch.manual_seed(seed)
    sum((p * torch.randn(p.shape)).sum() for p in of.parameters() if p.requires_grad).backward()  # type: ignore[union-attr]


def test_every_parameter_is_a_view_of_its_part_and_keeps_value_shape_and_order_in_memory() -> None:
    plain = network().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    moved = copy.deepcopy(plain)
    (flat,) = flatten(moved)
    array = flat.array
    for one, other in zip(plain.parameters(), moved.parameters(), strict=True):
        assert torch.equal(one, other)
        assert one.stride() == other.stride()
    assert len(array) % ALIGNED == 0
    with torch.no_grad():
        array.fill_(2.0)
    assert all((p == 2).all() for p in moved.parameters())
    gradients(moved, 0)
    next(moved.parameters()).grad = None
    flat.gather()
    assert array.grad is not None
    assert array.grad.abs().sum() == pytest.approx(
        sum(float(p.grad.abs().sum()) for p in moved.parameters() if p.grad is not None), rel=1e-5
    )  # type: ignore[union-attr]


@pytest.mark.parametrize(("width", "exact"), [(16, False), (64, True)])
def test_adam_on_the_array_is_adam_on_every_parameter(width: int, exact: bool) -> None:
    """To the bit where every parameter fills whole vector registers: what is left over is rounded otherwise."""
    plain = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width if exact else 3))
    moved = copy.deepcopy(plain)
    flats = flatten(moved)
    arrays = [flat.array for flat in flats]
    settings = {"lr": 0.01, "weight_decay": 0.1, "fused": True}
    each, whole = torch.optim.AdamW(plain.parameters(), **settings), torch.optim.AdamW(arrays, **settings)  # type: ignore[arg-type]
    for step in range(5):
        for of, optimizer in ((plain, each), (moved, whole)):
            gradients(of, step)
            for flat in flats:
                flat.gather()
            optimizer.step()
            of.zero_grad(set_to_none=True)
    for one, other in zip(plain.parameters(), moved.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0 if exact else 1e-6, atol=0 if exact else 1e-7)


def test_shared_frozen_and_double_parameters() -> None:
    tied = nn.Module()
    tied.one, tied.frozen = nn.Linear(3, 3), nn.Linear(3, 3).requires_grad_(False)
    tied.two, tied.wide = nn.Linear(3, 3), nn.Parameter(torch.ones(5, dtype=torch.float64))
    tied.two.weight = tied.one.weight
    flats = flatten(tied)
    assert [(f.array.dtype, len(f.array)) for f in flats] == [(torch.float64, 16), (torch.float32, 48)]
    assert tied.two.weight is tied.one.weight
    assert tied.frozen.weight.grad is None


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_an_optimizers_state_is_saved_parameter_by_parameter_in_any_memory_format(layout: torch.memory_format) -> None:
    """As optimizers of parameters save theirs, so that files from before, or from another device, are gone on from."""
    plain, moved = network(), network().to(memory_format=layout)  # type: ignore[call-overload]
    flats = flatten(moved)
    each = torch.optim.AdamW(plain.parameters(), lr=0.1)
    whole = torch.optim.AdamW([flat.array for flat in flats], lr=0.1)
    assert per_parameter(whole.state_dict(), flats) == each.state_dict()
    for of, optimizer in ((plain, each), (moved, whole)):
        gradients(of, 0)
        for flat in flats:
            flat.gather()
        optimizer.step()
    peer, saved = each.state_dict(), per_parameter(whole.state_dict(), flats)
    assert saved["param_groups"] == peer["param_groups"]
    assert saved["state"].keys() == peer["state"].keys()
    for place, known in peer["state"].items():
        for name, value in known.items():
            torch.testing.assert_close(saved["state"][place][name], value)
    again = of_arrays(peer, flats)
    assert again["param_groups"] == whole.state_dict()["param_groups"]
    for name, value in whole.state_dict()["state"][0].items():
        torch.testing.assert_close(again["state"][0][name], value)


def test_the_average_is_one_array_too_and_asks_for_no_gradient() -> None:
    state = begin(network(), 0.7, "cpu")
    assert [a.array.shape for a in state.averages] == [w.array.shape for w in state.weights]
    assert not any(p.requires_grad for p in state.ema.parameters())
