"""What training, metrics and guidance ask of every network of the field, whatever its structure."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from difgen_cli.diffusion import Denoiser, loss
from difgen_cli.diffusion.randomness import initialise
from difgen_cli.diffusion.training import train
from difgen_cli.engine.cost import flops
from difgen_cli.engine.worker import modes
from difgen_cli.models import ddpmpp, dit, edm2, mlp, unet, unet2d

Build = Callable[[tuple[int, ...], int], nn.Module]
NCSNPP = {"features": "fourier", "noise_width": 2, "encoder": "residual", "resample_filter": (1, 3, 3, 1)}


def small_ddpmpp(shape: tuple[int, ...], classes: int, **settings: object) -> nn.Module:
    small = {"width": 8, "depth": 1, "multipliers": (1, 2), "attention": (4,), "dropout": 0.1} | settings
    return ddpmpp.build(shape, classes, **small)


def small_unet2d(shape: tuple[int, ...], classes: int, **settings: object) -> nn.Module:
    small = {"block_out_channels": (8, 16), "layers_per_block": 1, "norm_num_groups": 4, "attention_head_dim": 4}
    return unet2d.build(shape, classes, **small, **settings)


def small_edm2(shape: tuple[int, ...], classes: int, **settings: object) -> nn.Module:
    small = {"width": 8, "depth": 1, "multipliers": (1, 2), "attention": (4,), "head_channels": 8, "dropout": 0.1}
    return edm2.build(shape, classes, **small | settings)


FIELD: dict[str, Build] = {
    "ddpmpp": small_ddpmpp,
    "ncsnpp": lambda shape, classes: small_ddpmpp(shape, classes, **NCSNPP),
    "dit": lambda shape, classes: dit.build(shape, classes, width=16, depth=3, heads=2, noise_scale=4.0),
    "dit with variances": lambda s, c: dit.build(s, c, width=16, depth=2, heads=1, patch=4, learned_variance=True),
    "edm2": small_edm2,
    "unet2d": small_unet2d,
    "unet2d, scaled": lambda s, c: small_unet2d(s, c, resnet_time_scale_shift="scale_shift", dropout=0.1),
}
ALL = FIELD | {
    "mlp": lambda shape, classes: mlp.build(shape, classes, width=16, depth=3),
    "unet": lambda shape, classes: unet.build(shape, classes, width=8, depth=1, multipliers=(1, 2)),
}
of_the_field = pytest.mark.parametrize("name", FIELD)
SHAPE = (3, 8, 8)


def awake(name: str, classes: int) -> nn.Module:
    """The network of seed 0 with its small layers drawn larger, so that its output depends on its input."""
    network = initialise(lambda: ALL[name](SHAPE, classes), 0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weights in network.parameters():
            if weights.abs().max() < 1e-3:
                weights.copy_(0.1 * torch.randn(weights.shape, generator=generator))
    return network.eval()


def batch(count: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, *SHAPE, generator=generator), torch.linspace(-1.4, 1.2, count)


@of_the_field
def test_every_item_is_computed_without_regard_to_the_others(name: str) -> None:
    (x, noise), network, labels = batch(), awake(name, 3), torch.tensor([0, 1, 2, 3, 0])
    whole = network(x, noise, labels)
    assert whole.shape == x.shape
    for item in range(5):
        alone = network(x[item : item + 1], noise[item : item + 1], labels[item : item + 1])
        torch.testing.assert_close(alone[0], whole[item], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 4, 12), (2, 12, 4)])
@of_the_field
def test_height_and_width_may_differ(name: str, shape: tuple[int, ...]) -> None:
    small = {"ddpmpp": small_ddpmpp, "ncsnpp": small_ddpmpp, "edm2": small_edm2}.get(name)
    network = small(shape, 0, attention=()) if small else FIELD[name](shape, 0)
    x = torch.randn(2, *shape)
    assert network(x, torch.zeros(2), None).shape == x.shape


@of_the_field
def test_noise_level_and_class_change_the_output(name: str) -> None:
    (x, noise), network = batch(), awake(name, 2)
    outputs = [network(x, noise, torch.full((5,), label)) for label in range(3)]
    assert not torch.allclose(outputs[0], outputs[1], atol=1e-3)
    assert not torch.allclose(outputs[0], outputs[2], atol=1e-3)
    assert not torch.allclose(outputs[0], network(x, noise + 0.1, torch.zeros(5, dtype=torch.int64)), atol=1e-5)


@of_the_field
def test_no_labels_means_the_dropped_condition(name: str) -> None:
    (x, noise), network = batch(), awake(name, 4)
    assert network.classes == 4
    assert torch.equal(network(x, noise, None), network(x, noise, torch.full((5,), 4)))


@of_the_field
def test_labels_given_to_an_unconditional_network_are_refused_and_not_ignored(name: str) -> None:
    x, noise = batch()
    with pytest.raises(ValueError, match="classes=0"):
        FIELD[name](SHAPE, 0)(x, noise, torch.zeros(5, dtype=torch.int64))


@of_the_field
def test_every_weight_receives_a_gradient(name: str) -> None:
    (x, noise), network = batch(), awake(name, 4).train()
    network(x, noise, torch.arange(5)).square().sum().backward()
    # A key's bias moves all scores of a query alike: softmax does not see it, and what is left is rounding.
    without = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert [n for n in without if not n.endswith("to_k.bias")] == []


@of_the_field
def test_a_condition_is_perturbed_in_training_alone(name: str) -> None:
    (x, noise), network, labels = batch(), awake(name, 2), torch.tensor([0, 1, 2, 0, 1])
    plain = network(x, noise, labels)
    (embedding,) = [module for module in network.modules() if hasattr(module, "perturbation")]
    embedding.perturbation = 3.0
    assert torch.equal(network(x, noise, labels), plain)
    embedding.train()
    assert not torch.allclose(network(x, noise, labels), plain, atol=1e-4)


@pytest.mark.parametrize("name", ALL)
def test_the_middle_of_the_network_can_be_read_and_learnt_from(name: str) -> None:
    (x, noise), network, seen = batch(), awake(name, 2), []
    handle = network.middle.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    network(x, noise, None)
    handle.remove()
    (hidden,) = seen
    assert (len(hidden), hidden.dim()) in {(5, 2), (5, 4)}
    assert hidden.shape[1] in (16, 8)
    hidden[0].square().sum().backward()
    first = next(p for name, p in network.named_parameters() if name in ("first.weight", "conv_in.weight"))
    assert first.grad is not None
    assert first.grad.any()
    # Of the first image alone: an image's hidden state is in its own row.
    gradient = torch.autograd.grad(_middle(network, x.requires_grad_(), noise)[0].square().sum(), x)[0]
    assert gradient[0].any()
    assert not gradient[1:].any()


def _middle(network: nn.Module, x: Tensor, noise: Tensor) -> Tensor:
    seen: list[Tensor] = []
    handle = network.middle.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    network(x, noise, None)
    handle.remove()
    return seen[0]


def test_the_middle_of_a_transformer_keeps_pixels_at_their_place() -> None:
    tokens = torch.arange(12.0).view(1, 12, 1)  # row by row
    assert torch.equal(dit.TokenMap(3, 4)(tokens)[0, 0], torch.arange(12.0).view(3, 4))


# Training -------------------------------------------------------------------------------------------------------------


def images(count: int = 24) -> tuple[Tensor, Tensor]:
    """Bright and dark images with a little noise, and which is which."""
    generator = torch.Generator().manual_seed(2)
    labels = torch.arange(count) % 2
    bright = torch.where(labels.bool(), 0.6, -0.6)[:, None, None, None]
    return bright + 0.1 * torch.randn(count, *SHAPE, generator=generator), labels


@pytest.mark.parametrize("conditional", [False, True])
@of_the_field
def test_training_lowers_the_loss_on_fresh_noise(name: str, conditional: bool) -> None:
    x, labels = images()
    network = initialise(lambda: FIELD[name](SHAPE, 2 if conditional else 0), 0)
    given = labels if conditional else None
    before = _loss(Denoiser(network, 0.6), x, given)
    options = {"condition_dropout": 0.1, "condition_perturbation": 0.1} if conditional else {}
    *_, state = islice(train(network, x, given, 0.6, steps=60, batch=16, lr=3e-3, warmup=5, **options), 60)
    assert _loss(state.denoiser.eval(), x, given) < 0.8 * before


@torch.no_grad()
def _loss(denoiser: Denoiser, x: Tensor, labels: Tensor | None) -> float:
    generator = torch.Generator().manual_seed(3)
    sigma = torch.logspace(-1, 1, len(x)) * 0.6
    return loss(denoiser.eval(), x, sigma, torch.randn(x.shape, generator=generator), labels).item()


@of_the_field
def test_training_in_bfloat16_stays_near_that_in_float32(name: str) -> None:
    x, labels = images()
    losses = []
    for precision in ("fp32", "bf16"):
        network = initialise(lambda: FIELD[name](SHAPE, 2), 0)
        *_, state = train(network, x, labels, 0.6, steps=3, batch=16, precision=precision)
        losses.append(state.loss.item())
    assert losses[1] == pytest.approx(losses[0], rel=0.03)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
@pytest.mark.parametrize("name", ["ncsnpp", "dit", "edm2", "unet2d"])
def test_decomposed_as_a_compiler_does_a_network_is_trained_as_written(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check is strict: it compares every gradient. No C++ is compiled."""
    torch._dynamo.reset()
    monkeypatch.setitem(modes.COMPILED, "compiled", {"backend": "aot_eager_decomp_partition"})
    x, labels = images()
    losses = []
    for kind in ("eager", "compiled"):
        way = modes.training_mode(kind, SHAPE, "cpu", strict=True)
        network = initialise(lambda: FIELD[name](SHAPE, 2), 0)
        run = train(network, x, labels, 0.6, None, way, steps=3, batch=8, warmup=0, lr=1e-4, condition_dropout=0.2)
        losses.append([state.loss.item() for state in run])
        assert modes.used(way) == kind
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


@of_the_field
def test_forward_and_backward_stay_on_the_device_of_the_weights(name: str) -> None:
    """On the meta device, where an operation on arrays of two devices is an error; a CPU build has no other."""
    network = FIELD[name](SHAPE, 3).to("meta").train()
    x, noise = torch.empty(2, *SHAPE, device="meta"), torch.empty(2, device="meta")
    for labels in (torch.zeros(2, dtype=torch.int64, device="meta"), None):
        output = network(x, noise, labels)
        assert output.device.type == "meta"
        output.square().sum().backward()
    assert {p.grad.device.type for p in network.parameters() if p.grad is not None} == {"meta"}


@of_the_field
def test_the_work_of_the_network_is_counted(name: str) -> None:
    """On the meta device, and as many as the layers need: a convolution or linear layer is 2 FLOPs for a weight."""
    network = FIELD[name](SHAPE, 3)
    counted = flops.evaluation(network.eval(), SHAPE, 4)
    assert counted is not None
    expected = sum(_flops_of_layers(network).values())
    assert expected <= counted.flops < 1.25 * expected  # what is more: attention and resampling
    backward = flops.training(network, SHAPE, 4)
    assert backward is not None
    assert 2.5 * counted.flops < backward.flops < 3.5 * counted.flops


def _flops_of_layers(network: nn.Module) -> dict[str, int]:
    work: dict[str, int] = {}
    handles = []
    for name, layer in network.named_modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):

            def count(layer: nn.Module, _inputs: object, output: Tensor, name: str = name) -> None:
                values = output[0].numel() if isinstance(layer, nn.Linear) else output[0, 0].numel() * len(layer.weight)
                work[name] = 2 * values * layer.weight[0].numel()

            handles.append(layer.register_forward_hook(count))
    network(torch.zeros(1, *SHAPE), torch.zeros(1), torch.zeros(1, dtype=torch.int64))
    for handle in handles:
        handle.remove()
    return work


# Planning ------------------------------------------------------------------------------------------------------------

GRID = """
base:
  data:   {{name: digits}}
  model:  {model}
  train:  {{batch: 16, steps: 20}}
  sample: {{count: 16, steps: 4}}
  score:  [memorization]
"""
PLANNED = {
    "{name: dit, width: 32, depth: 2, heads: 2}": "dit",
    "{name: ddpmpp, width: 8, depth: 1, multipliers: [1, 2], attention: [4]}": "ddpmpp",
    "{name: edm2, width: 32, depth: 1, multipliers: [1, 2], attention: [8], head_channels: 16}": "edm2",
    "{name: unet2d, block_out_channels: [32, 64], up_attention: []}": "unet2d",
}
REFUSED = {
    "{name: ddpmpp, width: 8}": "model.attention at height 16",
    "{name: edm2, multipliers: [1, 2], width: 16, attention: []}": "model.head_channels must divide the 32 channels",
    "{name: dit, patch: 3}": "model.patch must divide the height and width",
    "{name: unet2d, attention: [5]}": "model.attention at level 5",
}


@pytest.mark.parametrize("model", PLANNED)
def test_a_grid_with_a_network_of_the_field_plans(
    model: str, difgen: Callable[..., subprocess.CompletedProcess[str]], write_grid: Callable[..., Path], tmp_path: Path
) -> None:
    done = difgen("plan", write_grid(GRID.format(model=model)), "--runs", tmp_path / "runs")
    assert done.returncode == 0, done.stderr
    assert PLANNED[model] in done.stdout


@pytest.mark.parametrize("model", REFUSED)
def test_a_grid_with_settings_that_no_network_can_have_does_not(
    model: str, difgen: Callable[..., subprocess.CompletedProcess[str]], write_grid: Callable[..., Path], tmp_path: Path
) -> None:
    done = difgen("plan", write_grid(GRID.format(model=model)), "--runs", tmp_path / "runs")
    assert done.returncode == 2
    assert REFUSED[model] in done.stdout + done.stderr
