"""DDPM++ and NCSN++: EDM's number of weights, EDM's output from EDM's weights, EDM's initial weights."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from difgen_cli.models import ddpmpp
from difgen_cli.models._ddpmpp_layers import Resample
from difgen_cli.models._edm_names import from_edm

sys.path.insert(0, str(Path(__file__).parent))
from edm import Edm, evaluate, random_weights

NCSNPP = {"features": "fourier", "noise_width": 2, "encoder": "residual", "resample_filter": (1, 3, 3, 1)}
CASES = {
    "DDPM++": Edm(),
    "DDPM++ with labels and augmentation": Edm(classes=3, augment=9),
    "DDPM++ with attention at two heights": Edm(attention=(2, 8), multipliers=(2, 1, 1), channels=1),
    "one level": Edm(multipliers=(2,), attention=(8,), blocks=1),
    "NCSN++": Edm(fourier=True, residual=True, taps=(1, 3, 3, 1), width=12),
    "NCSN++ with labels, 16 pixels": Edm(
        16, classes=4, fourier=True, residual=True, taps=(1, 3, 3, 1), attention=(16,)
    ),
}


def own(edm: Edm) -> nn.Module:
    return ddpmpp.build(
        (edm.channels, edm.size, edm.size),
        edm.classes,
        width=edm.width,
        depth=edm.blocks,
        multipliers=edm.multipliers,
        attention=edm.attention,
        features="fourier" if edm.fourier else "positional",
        noise_width=2 if edm.fourier else 1,
        encoder="residual" if edm.residual else "standard",
        resample_filter=edm.taps,
        augment=edm.augment,
    ).eval()


def count(shape: tuple[int, ...], classes: int, **settings: object) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in ddpmpp.build(shape, classes, **settings).parameters())


def test_the_cifar_network_of_edm_has_its_number_of_weights() -> None:
    assert count((3, 32, 32), 0) == 55_732_739
    assert count((3, 32, 32), 0, augment=9) == 55_732_739 + 9 * 128
    assert count((3, 32, 32), 10) == 55_732_739 + 10 * 128 + 128


@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_weights_of_edm_give_the_output_of_edm(case: str) -> None:
    edm = CASES[case]
    weights, network = random_weights(edm), own(edm)
    network.load_state_dict(from_edm({f"model.{name}": tensor for name, tensor in weights.items()}))
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(4, edm.channels, edm.size, edm.size, generator=generator)
    noise, augment = torch.linspace(-1.4, 1.2, 4), torch.randn(4, edm.augment, generator=generator)
    if not edm.classes:
        torch.testing.assert_close(network(x, noise, None), evaluate(edm, weights, x, noise), rtol=0, atol=1e-5)
        return
    labels = torch.tensor([0, 1, 2, edm.classes])  # the last is the dropped condition, which is zeros for EDM
    one_hot = functional.one_hot(labels, edm.classes + 1)[:, :-1].float()
    expected = evaluate(edm, weights, x, noise, one_hot)
    torch.testing.assert_close(network(x, noise, labels), expected, rtol=0, atol=1e-5)
    dropped = evaluate(edm, weights, x, noise, torch.zeros(4, edm.classes))
    torch.testing.assert_close(network(x, noise, None), dropped, rtol=0, atol=1e-5)
    if edm.augment:
        expected = evaluate(edm, weights, x, noise, one_hot, augment)
        torch.testing.assert_close(network(x, noise, labels, augment), expected, rtol=0, atol=1e-5)


def test_weights_of_another_network_are_refused_by_name() -> None:
    weights = random_weights(Edm())
    for name in ("enc.8x8_aux_skip.weight", "dec.4x4_block0.conv2.weight", "out_conv.weight"):
        with pytest.raises(ValueError, match=rf"{name}: EDM's DDPM\+\+ and NCSN\+\+ have no such weight"):
            from_edm(weights | {name: torch.zeros(1)})


def test_initial_weights_are_those_of_edm() -> None:
    """Xavier-uniform; 1e-5 of it where a branch ends, √.2 of it for queries, keys and values; biases of zero."""
    torch.manual_seed(0)
    network = ddpmpp.build((3, 8, 8), 5, width=64, depth=1, multipliers=(1, 2), attention=(4,), augment=9)
    for name, layer in network.named_modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            outputs, inputs, *kernel = layer.weight.shape
            bound = math.sqrt(6 / ((inputs + outputs) * math.prod(kernel)))
            if (name.endswith((".second", ".out")) and name != "embedding.second") or name == "last":
                bound *= 1e-5
            if name.endswith(".qkv"):
                bound *= math.sqrt(0.2)
            assert 0.97 * bound < layer.weight.abs().max() <= bound * (1 + 1e-6), name
            assert layer.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.1), name
            assert layer.bias is None or not layer.bias.any(), name
        if isinstance(layer, nn.GroupNorm):
            assert (layer.eps, layer.num_groups) == (1e-6, min(32, layer.num_channels // 4)), name


def test_resampling_by_one_and_one_is_the_mean_of_four_and_doubling() -> None:
    x = torch.randn(2, 3, 4, 6, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(Resample((1, 1), up=False)(x), functional.avg_pool2d(x, 2))
    torch.testing.assert_close(Resample((1, 1), up=True)(x), x.repeat_interleave(2, 2).repeat_interleave(2, 3))


@pytest.mark.parametrize("up", [False, True])
def test_smoothed_resampling_keeps_a_constant_away_from_the_edge(up: bool) -> None:
    resized = Resample((1, 3, 3, 1), up=up)(torch.full((1, 2, 8, 8), 0.7))
    assert resized.shape == ((1, 2, 16, 16) if up else (1, 2, 4, 4))
    torch.testing.assert_close(resized[..., 1:-1, 1:-1], torch.full_like(resized[..., 1:-1, 1:-1], 0.7))


def test_augmentation_labels_of_zero_are_none_and_others_are_not() -> None:
    network = own(Edm(augment=9))
    network.load_state_dict(from_edm(random_weights(Edm(augment=9))))
    x, noise = torch.randn(2, 3, 8, 8), torch.zeros(2)
    plain = network(x, noise, None)
    assert torch.equal(plain, network(x, noise, None, torch.zeros(2, 9)))
    assert not torch.allclose(plain, network(x, noise, None, torch.ones(2, 9)), atol=1e-3)
    with pytest.raises(ValueError, match="augment=0"):
        own(Edm())(x, noise, None, torch.zeros(2, 9))


@pytest.mark.parametrize(
    ("shape", "settings", "message"),
    [
        ((2,), {}, "ddpmpp needs images"),
        ((3, 32, 32), {"width": 30}, "width must be a multiple of 4"),
        ((3, 32, 32), {"multipliers": ()}, "multipliers must be one or more"),
        ((3, 30, 32), {}, r"multipliers of 3 levels need a height and width that 4 divides, not 30 × 32"),
        ((3, 32, 7), {}, r"multipliers of 3 levels need a height and width that 4 divides, not 32 × 7"),
        ((1, 28, 28), {}, r"attention at height 16: the levels of 28 pixels have heights \[28, 14, 7\]"),
        ((3, 32, 32), {"resample_filter": (1, 2, 1)}, "resample_filter must be an even number of taps"),
        ((3, 32, 32), {"resample_filter": (1, -1)}, "resample_filter must be an even number of taps"),
    ],
)
def test_settings_that_no_such_network_can_have_are_named(
    shape: tuple[int, ...], settings: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        ddpmpp.build(shape, 0, **settings)
