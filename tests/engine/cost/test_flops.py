"""The work of a network against counts by hand."""

from __future__ import annotations

import importlib.util
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from difgen_cli.diffusion.training import train
from difgen_cli.engine.cost import flops
from difgen_cli.engine.cost.flops import NetworkWork
from difgen_cli.models import mlp, unet


class Around(nn.Module):
    """A network of one module."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor, noise: Tensor, labels: Tensor | None) -> Tensor:
        return self.inner(x)


def test_a_linear_layer_is_counted_by_hand() -> None:
    network, batch = Around(nn.Linear(6, 4)), 8
    forward = 4 + 8 * 6 + 6 * 4 + 8 * 4  # bias, x and weight in, y out
    backward = (8 * 4 + 8 * 6 + 4 * 6) + (8 * 4 + 4)  # gradients of the weight and of the bias
    assert flops.evaluation(network, (6,), batch) == NetworkWork(2 * 6 * 4, forward * 4 / batch)
    step = 9 * (4 * 6 + 4)  # weight, gradient, two moments, average: read; all but the gradient written
    assert flops.training(network, (6,), batch) == NetworkWork(2 * 2 * 6 * 4, (forward + backward + step) * 4 / batch)


def test_bf16_halves_activations_and_not_the_optimizer() -> None:
    network = Around(nn.Linear(6, 4))
    single, half = (flops.training(network, (6,), 8, precision) for precision in ("fp32", "bf16"))
    assert single is not None
    assert half is not None
    step = 9 * 28 * 4 / 8
    assert (half.flops, half.bytes - step) == (single.flops, (single.bytes - step) / 2)


def test_a_convolution_is_counted_by_hand() -> None:
    network = Around(nn.Conv2d(3, 5, 3, padding=1))
    forward = flops.evaluation(network, (3, 8, 8), 2)
    assert forward == NetworkWork(2 * 3 * 9 * 5 * 64, 4 * (2 * 3 * 64 + 3 * 9 * 5 + 5 + 2 * 5 * 64) / 2)
    trained = flops.training(network, (3, 8, 8), 2)
    assert trained is not None
    assert trained.flops == 2 * forward.flops  # the image itself needs no gradient


@pytest.mark.parametrize("classes", [0, 10])
def test_the_digits_mlp_is_counted_by_hand(classes: int) -> None:
    pixels, width, inner, features, depth = 64, 256, 128, 16, 3
    blocks, last = depth * 2 * width * inner, width * pixels
    of_noise = features * (2 * width + depth * 2 * inner)  # its layers and the modulations
    products = pixels * width + of_noise + blocks + last
    trained = flops.training(mlp.build((1, 8, 8), classes), (1, 8, 8), 128)
    assert trained is not None
    # Forward, gradients of the weights, and of the inputs of layers that lie above others.
    assert trained.flops == 2 * (2 * products + blocks + last) == 1_425_408


def test_the_small_unet_is_counted_by_hand() -> None:
    def convolution(inputs: int, outputs: int, side: int, kernel: int = 3) -> int:
        return inputs * outputs * side**2 * kernel**2

    def block(inputs: int, outputs: int, side: int) -> int:
        shortcut = convolution(inputs, outputs, side, 1) if inputs != outputs else 0
        return convolution(inputs, outputs, side) + convolution(outputs, outputs, side) + shortcut + 64 * 2 * outputs

    first, embedding = convolution(1, 16, 28), 16 * 64 + 64 * 64
    down = block(16, 16, 28) * 2 + convolution(16, 16, 14)
    down += block(16, 32, 14) + block(32, 32, 14) + convolution(32, 32, 7) + 2 * block(32, 32, 7)
    attention = convolution(32, 3 * 32, 7, 1) + convolution(32, 32, 7, 1) + 2 * 49**2 * 32
    middle = 2 * block(32, 32, 7) + attention
    up = 3 * block(64, 32, 7) + 2 * block(64, 32, 14) + block(48, 32, 14)
    up += block(48, 16, 28) + 2 * block(32, 16, 28)
    products = first + embedding + down + middle + up + convolution(16, 1, 28)
    network = unet.build((1, 28, 28), 0, width=16)
    forward, trained = flops.evaluation(network, (1, 28, 28), 4), flops.training(network, (1, 28, 28), 4)
    assert forward is not None
    assert trained is not None
    assert forward.flops == 2 * products
    assert trained.flops == 2 * (3 * products - first - 16 * 64)  # image and noise features need no gradient


class Attending(nn.Module):
    """Attention of each place to all, in two heads of three channels."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))

    def forward(self, x: Tensor, noise: Tensor, labels: Tensor | None) -> Tensor:
        q = x.view(len(x), 2, -1, 3) * self.scale
        return functional.scaled_dot_product_attention(q, q, q).view_as(x)


def test_attention_is_counted_as_its_products_and_moves_no_weights() -> None:
    works = {places: flops.training(Attending(), (2 * places * 3,), 4) for places in (50, 100, 200)}
    for places, work in works.items():
        assert work is not None
        assert work.flops == 3 * 4 * 2 * places**2 * 3
    growth = [b.bytes - a.bytes for a, b in pairwise(works.values())]  # type: ignore[union-attr]
    assert growth[1] == 2 * growth[0], "bytes grow with the places, not with their square"


class Viewing(nn.Module):
    """Views and repeats of a number, and a single sum."""

    def forward(self, x: Tensor, noise: Tensor, labels: Tensor | None) -> Tensor:
        return x.view(len(x), 2, 3).transpose(1, 2).transpose(1, 2).flatten(1) + noise[:1].expand(6)


def test_views_move_nothing_and_repeated_numbers_are_read_once() -> None:
    numbers = 8 * 6 + 1 + 8 * 6  # x and one number of noise in, the sum out
    assert flops.evaluation(Viewing(), (6,), 8) == NetworkWork(0, numbers * 4 / 8)


def test_the_count_equals_that_of_a_real_step() -> None:
    network = mlp.build((1, 8, 8), 0, width=64)
    steps = train(network, torch.randn(16, 1, 8, 8), None, 0.5, steps=2, batch=32)
    next(steps)
    with FlopCounterMode(display=False) as counter:
        next(steps)
    work = flops.training(network, (1, 8, 8), 32)
    assert work is not None
    assert work.flops * 32 == counter.get_total_flops()


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("settings", [{}, {"attention": (8,), "dropout": 0.1}])
def test_unets_of_any_settings_are_counted(classes: int, settings: dict[str, object]) -> None:
    network = unet.build((3, 8, 8), classes, width=8, depth=1, multipliers=(1, 2), **settings)  # type: ignore[arg-type]
    assert flops.training(network, (3, 8, 8), 2, "bf16") is not None
    assert flops.evaluation(network, (3, 8, 8), 2, "bf16") is not None


def test_a_users_network_is_counted() -> None:
    spec = importlib.util.spec_from_file_location("own", Path(__file__).parents[2] / "plugins" / "models" / "linear.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    work = flops.training(module.build((1, 8, 8), 0, rank=2), (1, 8, 8), 16)
    assert work is not None
    assert work.flops == 2 * (2 + 3) * 64 * 2, "the first layer needs no gradient of its input"


class Peeking(nn.Module):
    """A network that looks at the values of its input."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: Tensor, noise: Tensor, labels: Tensor | None) -> Tensor:
        return self.layer(x) if float(x.mean()) > 0 else -self.layer(x)


def test_what_cannot_be_counted_is_none() -> None:
    assert flops.training(Peeking(), (4,), 2) is None
    assert flops.evaluation(Peeking(), (4,), 2) is None


def test_counting_changes_neither_the_network_nor_the_random_state() -> None:
    network = unet.build((1, 8, 8), 0, width=8, depth=1, multipliers=(1,), dropout=0.5).eval()
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    before = torch.get_rng_state()
    flops.training(network, (1, 8, 8), 4)
    assert torch.equal(before, torch.get_rng_state())
    assert not any(module.training for module in network.modules())
    assert all(p.grad is None and p.device.type == "cpu" for p in network.parameters())
    assert all(torch.equal(value, weights[name]) for name, value in network.state_dict().items())
