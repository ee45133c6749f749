"""torch's compiler against the networks as they are written: value and every gradient agree, or it is refused.

What compiling costs is bounded: C++ is compiled for a few networks that have everything in them, unless
DIFGEN_COMPILE_TESTS=all. Every network passes through what comes before C++: operations decomposed, forward and
backward separated.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from worker.test_modes import needs_compiler

from difgen_cli.diffusion import Denoiser
from difgen_cli.diffusion.randomness import initialise
from difgen_cli.diffusion.training import train
from difgen_cli.engine.plugins import Library
from difgen_cli.engine.worker import modes
from difgen_cli.metrics._derivatives import jvp, vjp
from difgen_cli.models import mlp, unet
from difgen_cli.sampling import block_of

LINEAR = Library(Path(__file__).parent.parent / "plugins").module("model", "linear").build
pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")]
EVERYTHING = os.environ.get("DIFGEN_COMPILE_TESTS") == "all"
CLASSES = 3


def small_unet(size: int, levels: int, **more: Any) -> Callable[[int], nn.Module]:
    multipliers = (1, 2, 2)[:levels]
    return lambda classes: unet.build(
        (1, size, size), classes, **{"width": 8, "depth": 1, "multipliers": multipliers, **more}
    )


# Name -> the height of its images, the network for so many classes, and settings of the training.
NETWORKS: dict[str, tuple[int, Callable[[int], nn.Module], dict[str, Any]]] = {
    "mlp": (6, lambda classes: mlp.build((1, 6, 6), classes, width=16, depth=2), {}),
    "mlp, perturbed conditions": (
        6, lambda classes: mlp.build((1, 6, 6), classes, width=16, depth=1), {"condition_perturbation": 0.5},
    ),
    "plug-in": (6, lambda classes: LINEAR((1, 6, 6), classes, rank=2), {}),
    "unet of one level, odd": (7, small_unet(7, 1), {}),
    "unet of two levels": (8, small_unet(8, 2), {}),
    "unet of two levels, odd": (7, small_unet(7, 2), {}),
    "unet of three levels": (8, small_unet(8, 3), {}),
    "unet of three levels, odd, attention": (9, small_unet(9, 3, attention=(5,)), {}),
    "unet of two levels, dropout": (8, small_unet(8, 2, dropout=0.3), {}),
    "unet of two levels, odd, dropout, perturbed conditions": (
        7, small_unet(7, 2, dropout=0.3), {"condition_perturbation": 0.5},
    ),
    "unet of three levels, odd, attention, dropout, perturbed conditions": (
        7, small_unet(7, 3, attention=(4,), dropout=0.3), {"condition_perturbation": 0.5},
    ),
    "unet of two levels, bf16": (8, small_unet(8, 2), {"precision": "bf16"}),
}  # fmt: skip
WITHOUT_CONDITION = ("mlp", "plug-in", "unet of two levels, dropout", "unet of three levels")  # the plug-in: only so
DECOMPOSED = [*((name, True) for name in NETWORKS if name != "plug-in"), *((name, False) for name in WITHOUT_CONDITION)]
COMPILED = ["mlp, perturbed conditions", "plug-in", "unet of two levels, odd, dropout, perturbed conditions"]


@pytest.fixture(autouse=True)
def forgotten() -> None:
    torch._dynamo.reset()


def losses(name: str, conditional: bool, way: Any) -> list[float]:
    """Of three steps."""
    size, build, settings = NETWORKS[name]
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (20, 1, size, size), dtype=torch.uint8, generator=generator)
    labels, settings = torch.arange(20) % CLASSES, {"condition_dropout": 0.2, **settings}
    if not conditional:
        labels, settings = None, {k: v for k, v in settings.items() if not k.startswith("condition_")}
    network = initialise(lambda: build(CLASSES if conditional else 0), 0)
    run = train(network, images, labels, 0.7, None, way, steps=3, batch=8, warmup=0, lr=1e-4, **settings)
    return [float(state.loss) for state in run]


def agree(name: str, conditional: bool) -> None:
    """The same three steps as they are written and compiled; the check, which is strict, compares every gradient."""
    size, _, settings = NETWORKS[name]
    shape, close = (1, size, size), 2e-2 if settings.get("precision") == "bf16" else 1e-5
    compiled = modes.training_mode("compiled", shape, "cpu", strict=True)
    assert losses(name, conditional, compiled) == pytest.approx(
        losses(name, conditional, modes.training_mode("eager", shape, "cpu")), rel=close
    )
    assert modes.used(compiled) == "compiled"


@pytest.mark.parametrize(("name", "conditional"), DECOMPOSED)
def test_decomposed_and_separated_every_network_is_what_is_written(
    name: str, conditional: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(modes.COMPILED, "compiled", {"backend": "aot_eager_decomp_partition"})
    agree(name, conditional)


@needs_compiler
@pytest.mark.parametrize("name", NETWORKS if EVERYTHING else COMPILED)
def test_compiled_a_network_is_what_is_written_with_the_same_random_numbers(name: str) -> None:
    agree(name, conditional="plug-in" not in name)


@needs_compiler
def test_the_upsampling_of_0_1_0_is_refused_where_it_is_compiled_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch 2.13 gives a wrong gradient to all that lies before `interpolate`; what comes out is the eager training."""
    monkeypatch.setattr(unet, "repeated", unet.interpolated)
    images = torch.randint(0, 256, (20, 1, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    said: list[str] = []

    def after(way: Any) -> Tensor:
        network = initialise(lambda: unet.build((1, 16, 16), 0, width=16, depth=1, multipliers=(1, 2)), 0)
        *_, last = train(network, images, None, 0.7, None, way, steps=3, batch=8, lr=1e-4)
        return last.loss

    way = modes.training_mode("compiled", (1, 16, 16), "cpu", say=said.append)
    torch.testing.assert_close(after(way), after(modes.training_mode("eager", (1, 16, 16), "cpu")), rtol=1e-5, atol=0)
    if torch.__version__.startswith("2.13."):
        # Which of them depends on the processor: one makes 64 zero, another 80 wrong by a half of their size.
        assert re.match(
            r"compiled here, the gradient of \d+ of 108 parameters is wrong: .*; it is computed as", said[0]
        )
    assert bool(said) == (modes.used(way) == "eager")


@needs_compiler
def test_a_mask_of_dropout_is_drawn_before_it_is_read() -> None:
    """Between convolutions with gradients, in channels last, torch 2.13 reads one that is drawn in place too early."""
    layers = [nn.Conv2d(8, 8, 3, padding=1).to(memory_format=torch.channels_last) for _ in range(2)]
    network = nn.Sequential(layers[0], nn.SiLU(), unet.Dropout(0.3), layers[1]).train()
    x = torch.randn(16, 8, 8, 8).to(memory_format=torch.channels_last)
    with torch._inductor.config.patch(fallback_random=True):
        torch.manual_seed(0)
        written = network(x)
        torch.manual_seed(0)
        torch.testing.assert_close(torch.compile(network, dynamic=False)(x), written)


@needs_compiler
def test_a_compiled_block_of_a_sampler_is_what_is_written() -> None:
    denoiser = Denoiser(initialise(lambda: mlp.build((1, 6, 6), CLASSES, width=8, depth=1), 0), 0.7).eval()
    block = block_of((1, 6, 6), "cpu")
    x, labels = torch.randn(block, 1, 6, 6), torch.arange(block) % CLASSES
    faster = modes.Evaluated(denoiser, "compiled", block, strict=True)
    with torch.no_grad():
        for given in (labels, None):  # guided without a condition too: another graph, checked by itself
            expected = denoiser(x, x.new_full((block,), 2.0), given)
            torch.testing.assert_close(faster(x, x.new_full((block,), 2.0), given), expected, rtol=1e-4, atol=1e-5)
    assert faster.used == "compiled"


def test_a_compiled_network_is_differentiated_as_it_is_written() -> None:
    network = initialise(lambda: mlp.build((1, 6, 6), 0, width=8, depth=1), 0)
    for parameter in network.parameters():  # the last layer begins at zero
        nn.init.normal_(parameter, std=0.3, generator=torch.Generator().manual_seed(parameter.numel()))
    written = Denoiser(network, 0.7).eval()
    compiled = Denoiser(torch.compile(network, backend="aot_eager"), 0.7).eval()  # type: ignore[arg-type]
    x, vector = torch.randn(2, 3, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    compiled(x, x.new_ones(3), None)  # what is compiled is, here
    for product in (jvp, vjp):
        assert torch.equal(product(compiled, x, 0.7, None, vector), product(written, x, 0.7, None, vector))
