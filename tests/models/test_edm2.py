"""EDM2's network: its numbers of weights, its output from its weights by the paper, unit variance, forced lengths."""

from __future__ import annotations

import copy
import math
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from difgen_cli.diffusion.randomness import initialise
from difgen_cli.diffusion.training import constrain, train
from difgen_cli.models import _edm2_layers as mp
from difgen_cli.models import edm2
from difgen_cli.models._ddpmpp_layers import Resample
from difgen_cli.models._edm2_names import from_edm2

sys.path.insert(0, str(Path(__file__).parent))
from edm2 import Edm2Toy, evaluate, random_weights

CASES = {
    "no classes": Edm2Toy(),
    "classes": Edm2Toy(classes=3),
    "one level": Edm2Toy(multipliers=(2,), attention=(8,), blocks=1),
    "one head, no level attends": Edm2Toy(attention=(), head=24),
    "widths that fall": Edm2Toy(16, 1, multipliers=(2, 1, 2), attention=(8, 16), head=8, blocks=1),
}


def own(toy: Edm2Toy) -> nn.Module:
    return edm2.build(
        (toy.channels, toy.size, toy.size),
        toy.classes,
        width=toy.width,
        depth=toy.blocks,
        multipliers=toy.multipliers,
        attention=toy.attention,
        head_channels=toy.head,
    ).eval()


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("width", "millions"),
    [(128, "125"), (192, "280"), (256, "498"), (320, "777"), (384, "1119"), (448, "1523")],
    ids=["XS", "S", "M", "L", "XL", "XXL"],
)
def test_the_networks_of_the_paper_have_its_numbers_of_weights(width: int, millions: str) -> None:
    """At 64 × 64 with 4 channels, the latents of ImageNet at 512 × 512, and 1000 classes; no memory is taken."""
    with torch.device("meta"):
        network = edm2.build((4, 64, 64), 1000, width=width)
    assert f"{sum(p.numel() for p in network.parameters()) / 1e6:.0f}" == millions


@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_weights_under_edm2s_names_give_the_output_of_the_paper(case: str) -> None:
    toy = CASES[case]
    weights, network = random_weights(toy), own(toy)
    of_training = {"logvar_fourier.freqs": torch.ones(3), "logvar_linear.weight": torch.ones(1, 3)}
    network.load_state_dict(from_edm2({f"unet.{name}": w for name, w in weights.items()} | of_training))
    assert sum(p.numel() for p in network.state_dict().values()) == sum(w.numel() for w in weights.values())
    x, noise = normal(4, toy.channels, toy.size, toy.size), torch.linspace(-1.4, 1.2, 4)
    if not toy.classes:
        expected = evaluate(toy, weights, x, noise)
        assert expected.std() > 0.1
        torch.testing.assert_close(network(x, noise, None), expected, rtol=0, atol=1e-5)
        return
    labels = torch.tensor([0, 1, 2, toy.classes])  # the last is the dropped condition, which is zeros
    one_hot = functional.one_hot(labels, toy.classes + 1)[:, :-1].float()
    expected = evaluate(toy, weights, x, noise, one_hot)
    torch.testing.assert_close(network(x, noise, labels), expected, rtol=0, atol=1e-5)
    dropped = evaluate(toy, weights, x, noise, torch.zeros(4, toy.classes))
    torch.testing.assert_close(network(x, noise, None), dropped, rtol=0, atol=1e-5)


def test_weights_of_another_network_are_refused_by_name() -> None:
    weights = random_weights(Edm2Toy())
    for name in (
        "enc.8x8_block0.affine.weight",
        "dec.2x2_block0.conv_res2.weight",
        "map_noise.freqs",
        "enc.8x8_conv.b",
    ):
        with pytest.raises(ValueError, match=rf"{name}: EDM2's network has no such weight"):
            from_edm2(weights | {name: torch.zeros(1)})


# Magnitudes -----------------------------------------------------------------------------------------------------------


def test_silu_is_divided_by_its_length_for_a_unit_normal() -> None:
    z = np.linspace(-12, 12, 200_001)
    density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    length = math.sqrt(np.trapezoid((z / (1 + np.exp(-z))) ** 2 * density, z))
    assert length == pytest.approx(mp.SILU_LENGTH, abs=5e-4)
    torch.testing.assert_close(mp.mp_silu(torch.tensor(2.0)), torch.tensor(2 / (1 + math.exp(-2)) / 0.596))


@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0])
@torch.no_grad()
def test_layers_keep_unit_variance_whatever_the_length_of_their_weights(scale: float) -> None:
    torch.manual_seed(0)
    x, vector = normal(8, 64, 16, 16), normal(256, 64, seed=1)
    conv, linear = mp.MpConv(64, 96, 3), mp.MpLinear(64, 96)
    for layer in (conv, linear):
        layer.weight.mul_(scale)
    # The edge of a convolution sees zeros; 0.01 is near EPS, which shortens by a hundredth.
    assert conv(x)[..., 1:-1, 1:-1].var().item() == pytest.approx(1, abs=0.05)
    assert linear(vector).var().item() == pytest.approx(1, abs=0.05)
    assert mp.mp_silu(x).square().mean().item() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0])
@torch.no_grad()
def test_sums_and_concatenations_keep_unit_variance(share: float) -> None:
    a, b = normal(8, 30, 16, 16), normal(8, 30, 16, 16, seed=1)
    assert mp.mp_sum(a, b, share).var().item() == pytest.approx(1, abs=0.02)
    wide = mp.mp_cat(a, normal(8, 90, 16, 16, seed=2), share)
    assert wide.var().item() == pytest.approx(1, abs=0.02)
    # Of the squared length the second has t² / ((1 − t)² + t²), though it has three times the channels.
    part = wide[:, 30:].square().sum() / wide.square().sum()
    assert part.item() == pytest.approx(share**2 / ((1 - share) ** 2 + share**2), abs=0.01)


@torch.no_grad()
def test_features_of_the_noise_level_have_unit_variance_at_every_level() -> None:
    torch.manual_seed(0)
    features = mp.MpFourierFeatures(4096)(torch.linspace(-1.5, 1.5, 7))
    torch.testing.assert_close(features.square().mean(1), torch.ones(7), atol=0.05, rtol=0)


@pytest.mark.parametrize("encodes", [True, False])
@torch.no_grad()
def test_blocks_keep_unit_variance_when_they_begin(encodes: bool) -> None:
    torch.manual_seed(0)
    x, embedding = normal(4, 64, 32, 32), normal(4, 48, seed=1)
    for outputs, resample in ((96, None), (64, Resample(mp.FILTER, up=not encodes))):
        block = mp.MpBlock(64, outputs, 48, 0.0, encodes=encodes, resample=resample)
        assert block(x, embedding).var().item() == pytest.approx(1, abs=0.05)


@torch.no_grad()
def test_what_leaves_a_block_is_at_most_256() -> None:
    torch.manual_seed(0)
    output = mp.MpBlock(8, 8, 8, 0.0, encodes=False)(1e4 * normal(2, 8, 8, 8), normal(2, 8))
    assert (output.max().item(), output.min().item()) == (256, -256)


@torch.no_grad()
def test_attention_keeps_unit_variance_of_one_pixel_and_its_share_of_many_independent_ones() -> None:
    """The mean of many independent values is near zero, so that 0.7² / (0.7² + 0.3²) of the variance is left."""
    torch.manual_seed(0)
    attention = mp.CosineAttention(64, 2)
    assert attention(normal(1024, 64, 1, 1)).var().item() == pytest.approx(1, abs=0.02)
    assert attention(normal(2, 64, 32, 32)).var().item() == pytest.approx(0.49 / 0.58, abs=0.02)


@torch.no_grad()
def test_the_output_is_zero_when_training_begins_and_of_unit_variance_with_a_gain_of_one() -> None:
    """Over draws of the weights; what is missing are the edges of the convolutions, and attention."""
    x, squares = normal(4, 3, 16, 16), []
    for seed in range(12):
        torch.manual_seed(seed)
        network = edm2.build((3, 16, 16), 0, width=32, depth=1, multipliers=(1, 2), attention=(8,), head_channels=32)
        assert not network(x, torch.zeros(4), None).any()
        network.gain.fill_(1)
        squares.append(network(x, torch.zeros(4), None).square().mean().item())
    assert np.mean(squares) == pytest.approx(1, abs=0.2)


# Training -------------------------------------------------------------------------------------------------------------


def trained(scale: float, steps: int, checkpoint: dict[str, Any] | None = None) -> Any:
    """A training whose initial weights, but for gains, are multiplied; the state after each step."""
    generator = torch.Generator().manual_seed(2)
    images = (0.3 * torch.randn(24, 3, 8, 8, generator=generator)).clamp(-1, 1)
    network = initialise(
        lambda: edm2.build((3, 8, 8), 2, width=8, depth=1, multipliers=(1, 2), attention=(4,), head_channels=8), 0
    )
    with torch.no_grad():
        for weight in network.parameters():
            weight.mul_(scale)
    labels = torch.arange(24) % 2
    return train(network, images, labels, 0.3, checkpoint, steps=steps, batch=8, lr=1e-2, warmup=0, ema=0.9)


@pytest.mark.parametrize("steps", [1, 3])
def test_each_step_of_training_begins_with_weights_of_unit_length(steps: int) -> None:
    """Weights seven times as long at first: after a step of Adam of at most 0.01 a weight they are near 1, not 7."""
    *_, state = trained(7.0, steps)
    network = state.denoiser.network
    layers = [layer for layer in network.modules() if isinstance(layer, mp.MpConv | mp.MpLinear)]
    assert len(layers) > 20
    for allowed in (0.011, 3e-4):  # EPS shortens a little
        for layer in layers:
            lengths = layer.weight.flatten(1).square().mean(1).sqrt()
            torch.testing.assert_close(lengths, torch.ones_like(lengths), atol=allowed, rtol=0)
        constrain(network)


@torch.no_grad()
def test_forced_normalisation_changes_no_output() -> None:
    toy = CASES["classes"]
    network = own(toy)
    network.load_state_dict(from_edm2(random_weights(toy)))
    forced = copy.deepcopy(network)
    constrain(forced)
    x, noise, labels = normal(3, 4, 8, 8), torch.zeros(3), torch.arange(3)
    assert not torch.equal(forced.first.weight, network.first.weight)
    torch.testing.assert_close(forced(x, noise, labels), network(x, noise, labels), rtol=0, atol=2e-3)


def test_gradients_are_orthogonal_to_the_weights_of_each_output() -> None:
    """For a length that does not matter the derivative along it is zero."""
    network = own(CASES["classes"]).train()
    network.load_state_dict(from_edm2(random_weights(CASES["classes"])))
    constrain(network)  # EPS shortens short rows
    network(normal(3, 4, 8, 8), torch.zeros(3), torch.arange(3)).square().sum().backward()
    for name, weight in network.named_parameters():
        if weight.dim():
            gradient, rows = weight.grad.flatten(1), weight.detach().flatten(1)
            cosine = functional.cosine_similarity(gradient, rows, dim=1)
            assert cosine.abs().max() < 2e-3, name


def test_a_resumed_training_equals_an_uninterrupted_one_bit_for_bit() -> None:
    *_, whole = trained(1.0, 6)
    *_, half = islice(trained(1.0, 6), 3)
    *_, resumed = trained(1.0, 6, copy.deepcopy(half.checkpoint()))
    assert resumed.step == whole.step == 6
    for mine, theirs in ((resumed.denoiser, whole.denoiser), (resumed.ema, whole.ema)):
        assert all(torch.equal(a, b) for a, b in zip(mine.parameters(), theirs.parameters(), strict=True))


def test_an_average_of_weights_is_evaluated_as_weights_of_unit_length_are() -> None:
    """The average is shorter than what it is of, and its network the same as if it were not."""
    *_, state = trained(1.0, 20)
    average = state.ema.network
    longer = copy.deepcopy(average)
    with torch.no_grad():
        for layer in longer.modules():
            if isinstance(layer, mp.MpConv | mp.MpLinear):
                layer.weight.mul_(3)
        x, noise = normal(3, 3, 8, 8), torch.zeros(3)
        output = average(x, noise, torch.zeros(3, dtype=torch.int64))
        assert output.abs().max() > 1e-3
        torch.testing.assert_close(longer(x, noise, torch.zeros(3, dtype=torch.int64)), output, rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("shape", "settings", "message"),
    [
        ((2,), {}, "edm2 needs images"),
        ((3, 32, 32), {"multipliers": ()}, "multipliers must be one or more"),
        ((3, 30, 32), {}, r"multipliers of 4 levels need a height and width that 8 divides, not 30 × 32"),
        ((3, 32, 7), {}, r"multipliers of 4 levels need a height and width that 8 divides, not 32 × 7"),
        ((1, 28, 28), {"multipliers": (1, 2)}, r"attention at height 8: the levels of 28 pixels have heights \[28, 14"),
        ((3, 32, 32), {"width": 24}, "head_channels must divide the 48 channels that attend, not 64"),
        ((3, 32, 32), {"width": 24, "attention": ()}, "head_channels must divide the 96 channels that attend, not 64"),
    ],
)
def test_settings_that_no_such_network_can_have_are_named(
    shape: tuple[int, ...], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        edm2.build(shape, 0, **settings)
