"""Parameters in one array: the same network, and the same steps, as with an array for each."""

from __future__ import annotations

import copy
import subprocess
import sys

import pytest
import torch
from torch import nn

from difgen_cli.diffusion.optimizer import ALIGNED, Adam, Sgd, flatten
from difgen_cli.diffusion.randomness import initialise
from difgen_cli.diffusion.state import begin
from difgen_cli.models import unet


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
    known = [float(p.grad.abs().sum()) for p in moved.parameters() if p.grad is not None]
    assert float(flat.gradient.abs().sum()) == pytest.approx(sum(known), rel=1e-5)


@pytest.mark.parametrize(("width", "exact"), [(16, False), (64, True)])
def test_adam_on_the_array_is_adam_on_every_parameter(width: int, exact: bool) -> None:
    """To the bit where every parameter fills whole vector registers: what is left over is rounded otherwise."""
    plain = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width if exact else 3))
    moved = copy.deepcopy(plain)
    each = torch.optim.AdamW(plain.parameters(), lr=0.01, weight_decay=0.1, fused=True)
    whole = Adam(flatten(moved), weight_decay=0.1)
    for step in range(5):
        for of in (plain, moved):
            gradients(of, step)
        each.step()
        whole.flats[0].gather()
        whole.step(0.01)
        for of in (plain, moved):
            of.zero_grad(set_to_none=True)
    for one, other in zip(plain.parameters(), moved.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0 if exact else 1e-6, atol=0 if exact else 1e-7)


@pytest.mark.parametrize("momentum", [0.0, 0.95])
def test_sgd_on_the_array_is_sgd_on_every_parameter(momentum: float) -> None:
    """Without decay: torch's own is coupled."""
    plain = nn.Sequential(nn.Linear(16, 16), nn.SiLU(), nn.Linear(16, 3))
    moved = copy.deepcopy(plain)
    each = torch.optim.SGD(plain.parameters(), lr=0.01, momentum=momentum)
    whole = Sgd(flatten(moved), momentum=momentum)
    for step in range(5):
        for of in (plain, moved):
            of.zero_grad(set_to_none=True)
            gradients(of, step)
        each.step()
        whole.flats[0].gather()
        whole.step(0.01)
    for one, other in zip(plain.parameters(), moved.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-7)


def test_decay_of_sgd_shrinks_the_weights_alone() -> None:
    layer = nn.Linear(16, 16)
    before = layer.weight.detach().clone()
    sgd = Sgd(flatten(layer), weight_decay=0.5, momentum=0.9)
    for _ in range(3):
        sgd.flats[0].gather()
        sgd.step(0.1)
    torch.testing.assert_close(layer.weight.detach(), before * 0.95**3)


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
def test_adams_state_is_that_of_torchs_parameter_by_parameter_in_any_memory_format(
    layout: torch.memory_format,
) -> None:
    """So that files from before, or from another device, are gone on from."""
    plain, moved = network(), network().to(memory_format=layout)  # type: ignore[call-overload]
    each, whole = torch.optim.AdamW(plain.parameters(), lr=0.1, weight_decay=0.0), Adam(flatten(moved))
    for of in (plain, moved):
        gradients(of, 0)
    each.step()
    whole.flats[0].gather()
    whole.step(0.1)
    again = Adam(whole.flats)
    again.load_state_dict(each.state_dict())
    for known in (whole.state_dict()["state"], again.state_dict()["state"]):
        assert known.keys() == each.state_dict()["state"].keys()
        for place, state in each.state_dict()["state"].items():
            assert known[place].keys() == state.keys()
            for name, value in state.items():
                torch.testing.assert_close(known[place][name], value)


def test_training_does_not_import_the_compiler() -> None:
    """It is 1.6 s of processor in every worker."""
    code = (
        "import sys, torch; from difgen_cli.diffusion.randomness import initialise; "
        "from difgen_cli.diffusion.training import train; "
        "from difgen_cli.models import mlp; "
        "network = initialise(lambda: mlp.build((1, 8, 8), 0, width=8), 0); "
        "list(train(network, torch.randn(8, 1, 8, 8), None, 0.5, steps=2, batch=4, clip=1.0)); "
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_average_is_one_array_too_and_asks_for_no_gradient() -> None:
    state = begin(network(), 0.7, "cpu")
    assert [a.array.shape for a in state.averages] == [w.array.shape for w in state.weights]
    assert not any(p.requires_grad for p in state.ema.parameters())
