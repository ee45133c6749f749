"""Networks: shapes, conditions, independence within the batch."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from difgen_cli.models import ClassEmbedding, mlp, unet

Build = Callable[[tuple[int, ...], int], nn.Module]


def small_unet(shape: tuple[int, ...], classes: int) -> nn.Module:
    return unet.build(shape, classes, width=16, depth=1, multipliers=(1, 2, 2), attention=())


def small_mlp(shape: tuple[int, ...], classes: int) -> nn.Module:
    return mlp.build(shape, classes, width=32, depth=2)


def awake(network: nn.Module) -> nn.Module:
    """The network with its zero-initialised layers drawn at random, so that its output depends on its input."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weights in network.parameters():
            if not weights.any():
                weights.copy_(0.1 * torch.randn(weights.shape, generator=generator))
    return network.eval()


def inputs(shape: tuple[int, ...], count: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, *shape, generator=generator), torch.linspace(-1.4, 1.2, count)


BUILDS = pytest.mark.parametrize("build", [small_mlp, small_unet])


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 8, 8), (1, 28, 28), (3, 32, 32), (2, 5, 9)])
@BUILDS
def test_the_output_has_the_shape_of_the_input(build: Build, shape: tuple[int, ...]):
    x, noise = inputs(shape)
    assert build(shape, 0)(x, noise, None).shape == x.shape


def test_the_mlp_takes_points():
    x, noise = inputs((2,))
    assert small_mlp((2,), 0)(x, noise, None).shape == x.shape


@BUILDS
def test_an_untrained_network_returns_zero(build: Build):
    x, noise = inputs((1, 8, 8))
    assert not build((1, 8, 8), 3)(x, noise, torch.arange(5) % 4).any()


@BUILDS
def test_every_item_is_computed_without_regard_to_the_others(build: Build):
    shape = (1, 8, 8)
    x, noise = inputs(shape)
    network, labels = awake(build(shape, 3)), torch.tensor([0, 1, 2, 3, 0])
    whole = network(x, noise, labels)
    for item in range(5):
        alone = network(x[item : item + 1], noise[item : item + 1], labels[item : item + 1])
        torch.testing.assert_close(alone[0], whole[item], rtol=1e-4, atol=1e-5)


@BUILDS
def test_every_weight_receives_a_gradient(build: Build):
    x, noise = inputs((1, 8, 8))
    network = awake(build((1, 8, 8), 4)).train()
    network(x, noise, torch.arange(5)).square().sum().backward()
    assert [
        name for name, weights in network.named_parameters() if weights.grad is None or not weights.grad.any()
    ] == []


@BUILDS
def test_noise_level_and_class_change_the_output(build: Build):
    x, noise = inputs((1, 8, 8))
    network = awake(build((1, 8, 8), 2))
    outputs = [network(x, noise, torch.full((5,), label)) for label in range(3)]
    assert not torch.allclose(outputs[0], outputs[1], atol=1e-3)
    assert not torch.allclose(outputs[0], outputs[2], atol=1e-3)
    assert not torch.allclose(outputs[0], network(x, noise + 0.1, torch.zeros(5, dtype=torch.int64)), atol=1e-4)


@BUILDS
def test_only_the_rows_of_the_classes_in_the_batch_receive_a_gradient(build: Build):
    x, noise = inputs((1, 8, 8))
    network = awake(build((1, 8, 8), 4)).train()
    network(x, noise, torch.tensor([1, 1, 3, 3, 4])).square().sum().backward()
    embedding = next(module for module in network.modules() if isinstance(module, ClassEmbedding))
    gradient = embedding.table.weight.grad
    assert gradient.shape[0] == 5  # four classes and the dropped condition
    assert gradient.any(dim=1).tolist() == [False, True, False, True, True]


@BUILDS
def test_no_labels_means_the_dropped_condition(build: Build):
    x, noise = inputs((1, 8, 8))
    network = awake(build((1, 8, 8), 4))
    assert torch.equal(network(x, noise, None), network(x, noise, torch.full((5,), 4)))


@BUILDS
def test_labels_given_to_an_unconditional_network_are_refused_and_not_ignored(build: Build):
    x, noise = inputs((1, 8, 8))
    with pytest.raises(ValueError, match="classes=0"):
        build((1, 8, 8), 0)(x, noise, torch.zeros(5, dtype=torch.int64))


def test_the_cifar_network_of_edm_has_its_size():
    """EDM's DDPM++ for CIFAR-10 has 55.7 million weights (Karras 2022); ours resamples otherwise."""
    with torch.device("meta"):
        network = unet.build((3, 32, 32), 0, width=128, depth=4, multipliers=(2, 2, 2), attention=(16,), dropout=0.13)
    assert sum(weights.numel() for weights in network.parameters()) == pytest.approx(55.7e6, rel=0.02)


def test_levels_halve_rounding_up():
    assert unet.level_heights(28, 4) == [28, 14, 7, 4]
    assert unet.level_heights(32, 3) == [32, 16, 8]


def test_halving_an_odd_image_keeps_the_mean_of_what_lies_at_its_edge():
    halve = unet.Halve(1)
    nn.init.dirac_(halve.conv.weight)
    nn.init.zeros_(halve.conv.bias)
    x = torch.arange(9.0).view(1, 1, 3, 3)
    assert halve(x, x).flatten().tolist() == [2.0, 3.5, 6.5, 8.0]


def test_attention_lets_every_pixel_see_every_other():
    attention = awake(unet.UnetAttention(8))
    x = torch.randn(1, 8, 4, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    attention(x)[0, 0, 0, 0].backward()
    assert x.grad is not None
    assert x.grad.abs().sum(dim=1).min() > 0


@pytest.mark.parametrize("channels", [8, 96, 144, 200])
def test_attention_heads_have_at_most_64_channels_and_divide_them(channels: int):
    heads = unet.UnetAttention(channels).heads
    assert channels % heads == 0
    assert channels / heads <= 64


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"attention": (16,)}, "heights .28, 14, 7."),
        ({"width": 30}, "multiple of 4"),
        ({"multipliers": ()}, "multipliers"),
        ({"multipliers": (1, 0)}, "multipliers"),
    ],
)
def test_settings_that_no_unet_can_have_are_named(settings: dict, message: str):
    with pytest.raises(ValueError, match=message):
        unet.build((1, 28, 28), 0, **settings)


def test_points_are_refused_by_the_unet():
    with pytest.raises(ValueError, match="use the mlp"):
        unet.build((2,), 0)
