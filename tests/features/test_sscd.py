"""SSCD: the network against functional calls and against transformers' ResNet-50, the layouts, the program."""

import hashlib
import re
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import published
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from difgen_cli import features
from difgen_cli.data import scaled
from difgen_cli.features import State, WeightsError, _images, sscd
from difgen_cli.features._entries import filled

# The first values for published.images((2, 32, 32, 3)): ResNetModel of transformers 5.23.0 with torch 2.13.0 on images
# resized by Pillow 13.0.0, then the pooling, the projection and the norm in float64.
PEER = [[0.0539104, -0.0181451, 0.0154488, -0.036433], [0.0579037, -0.0161438, 0.0164407, -0.0373121]]
LEVELS = published.images((2, 32, 32, 3))


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_images, "BLOCK", 2)


@pytest.fixture(scope="module")
def entries() -> published.Entries:
    return published.sscd()


@pytest.fixture(scope="module")
def state(entries: published.Entries) -> State:
    return {name: value.numpy() for name, value in entries.items()}


def by_functional_calls(x: Tensor, w: published.Entries) -> Tensor:
    """ResNet-50 with the stride in the 3 × 3 convolution, in float64, by the names alone."""
    w = {name: value.double() for name, value in w.items()}

    def norm(x: Tensor, at: str) -> Tensor:
        mean, variance, factor, shift = (
            w[f"{at}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (variance + 1e-5).sqrt() * factor + shift

    x = norm(functional.conv2d(x.double(), w["conv1.weight"], stride=2, padding=3), "bn1").clamp(min=0)
    x = functional.max_pool2d(functional.pad(x, (1, 1, 1, 1), value=-torch.inf), 3, 2)
    for block in sorted({name[:8] for name in w if name.startswith("layer")}):
        stride = 2 if block.endswith(".0") and not block.startswith("layer1") else 1
        y = norm(functional.conv2d(x, w[f"{block}.conv1.weight"]), f"{block}.bn1").clamp(min=0)
        y = norm(functional.conv2d(y, w[f"{block}.conv2.weight"], stride=stride, padding=1), f"{block}.bn2").clamp(
            min=0
        )
        y = norm(functional.conv2d(y, w[f"{block}.conv3.weight"]), f"{block}.bn3")
        if f"{block}.downsample.0.weight" in w:
            x = norm(functional.conv2d(x, w[f"{block}.downsample.0.weight"], stride=stride), f"{block}.downsample.1")
        x = (x + y).clamp(min=0)
    pooled = x.clamp(min=1e-6).pow(3).flatten(2).mean(2) ** (1 / 3)
    projected = pooled @ w["fc.weight"].T + w["fc.bias"]
    return projected / projected.norm(dim=1, keepdim=True)


def test_the_network_equals_one_of_functional_calls(entries: published.Entries, state: State) -> None:
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 3, 75, 61)).astype(np.float32))
    ours = filled(sscd.network, state).eval()(x)
    assert ours.shape == (2, 512)
    np.testing.assert_allclose(ours, by_functional_calls(x, entries), atol=1e-6)


def test_descriptors_are_those_of_transformers_network_and_of_unit_length(state: State) -> None:
    descriptors = sscd.embed(scaled(LEVELS), state)
    assert descriptors.shape == (2, 512)
    assert descriptors.dtype == np.float32
    np.testing.assert_allclose(descriptors[:, :4], PEER, rtol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(descriptors, axis=1), 1, rtol=1e-6)


def test_the_shorter_edge_of_images_becomes_288_pixels(entries: published.Entries, state: State) -> None:
    image = published.images((1, 40, 50, 3))
    resized = np.asarray(Image.fromarray(image[0]).resize((360, 288), Image.Resampling.BILINEAR))
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    x = torch.from_numpy(((resized / 255 - mean) / deviation).transpose(2, 0, 1)[None].copy())
    np.testing.assert_allclose(sscd.embed(scaled(image), state), by_functional_calls(x, entries), atol=1e-6)


def as_in_classy_vision(entries: published.Entries, wrapped: bool) -> published.Entries:
    """The same weights under the names of Classy Vision."""
    made = {}
    inner = {"conv1": "convolutional_block.0", "bn1": "convolutional_block.1", "conv2": "convolutional_block.3",
             "bn2": "convolutional_block.4", "conv3": "convolutional_block.6", "bn3": "bn"}  # fmt: skip
    for name, value in entries.items():
        if found := re.match(r"layer(\d)\.(\d)\.(\w+)\.(.*)", name):
            layer, block, part, rest = int(found[1]) - 1, found[2], found[3], found[4]
            at = f"block{layer}-{block}" if wrapped else block
            made[f"backbone.blocks.{layer}.{at}.{inner.get(part, part)}.{rest}"] = value
        elif name.startswith("fc."):
            made[name.replace("fc.", "embeddings.1.")] = value
        else:
            part, rest = name.split(".")
            made[f"backbone.initial_block._module.{'01'[part == 'bn1']}.{rest}"] = value
    return made


def test_the_files_for_torchvision_and_classy_vision_load_as_the_same_network(
    entries: published.Entries, tmp_path: Path
) -> None:
    layouts = [
        {f"backbone.{name}": value for name, value in entries.items()}
        | {"backbone.bn1.num_batches_tracked": torch.tensor(7)},
        as_in_classy_vision(entries, wrapped=True),
        as_in_classy_vision(entries, wrapped=False),
    ]
    for layout in layouts:
        torch.save(layout, tmp_path / "sscd.pth")
        loaded = sscd.fit(tmp_path / "sscd.pth")
        assert set(loaded) == set(entries)
        assert all(np.array_equal(loaded[name], entries[name].numpy()) for name in entries)


def test_the_published_program_is_run_only_with_the_right_hash_and_gives_what_the_network_gives(
    state: State, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "sscd_disc_mixup.torchscript.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        network = filled(sscd.network, state).eval()
        torch.jit.trace(network, torch.zeros(1, 3, 64, 64), check_trace=False).save(path)
    with pytest.raises(WeightsError, match="bytes long, not 98791638"):
        sscd.fit(path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    known = replace(features.WEIGHTS["sscd"], size_bytes=path.stat().st_size, sha256=sha256)
    monkeypatch.setattr(features, "WEIGHTS", {"sscd": known})
    program = sscd.fit(path)
    assert list(program) == ["torchscript"]
    np.testing.assert_allclose(sscd.embed(scaled(LEVELS), program), sscd.embed(scaled(LEVELS), state), atol=1e-6)
    path.rename(tmp_path / "sscd.pth")
    with pytest.raises(WeightsError, match="TorchScript, which is code"):
        sscd.fit(tmp_path / "sscd.pth")


def test_there_are_as_many_parameters_as_in_resnet_50(entries: published.Entries) -> None:
    """23,508,032 beside the last layer, as everywhere."""
    learnt = sum(v.numel() for n, v in entries.items() if "running" not in n and not n.startswith("fc."))
    assert learnt == 23_508_032
