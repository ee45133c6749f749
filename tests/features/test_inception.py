"""Inception-v3: the file's parameter names, the resize of 2015, and the pools that differ from torchvision's."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from difgen_cli.features import WeightsError, inception


@pytest.fixture(scope="module")
def network() -> inception.Inception:
    torch.manual_seed(0)
    return inception.network().eval()


def test_parameters_are_the_566_entries_of_the_weights_file(network: inception.Inception) -> None:
    entries = network.state_dict()
    assert len(entries) == 566
    assert sum(isinstance(module, inception.Convolution) for module in network.modules()) == 94
    assert tuple(entries["fc.weight"].shape) == (1008, 2048)
    shapes = {
        "Conv2d_1a_3x3.conv.weight": (32, 3, 3, 3),
        "Mixed_5b.branch_pool.bn.running_var": (32,),
        "Mixed_5d.branch3x3dbl_3.conv.weight": (96, 96, 3, 3),
        "Mixed_6a.branch3x3.conv.weight": (384, 288, 3, 3),
        "Mixed_6b.branch7x7_2.conv.weight": (128, 128, 1, 7),
        "Mixed_6e.branch7x7dbl_4.conv.weight": (192, 192, 7, 1),
        "Mixed_7a.branch7x7x3_4.bn.num_batches_tracked": (),
        "Mixed_7b.branch3x3dbl_3b.conv.weight": (384, 384, 3, 1),
        "Mixed_7c.branch3x3_2a.conv.weight": (384, 384, 1, 3),
    }
    assert {name: tuple(entries[name].shape) for name in shapes} == shapes
    # The parameter count of Inception-v3 with 1,000 classes and without its auxiliary head is 23,834,568 - 2,049,000
    # beside the last layer; ours has 1,008 classes.
    body = sum(p.numel() for name, p in network.named_parameters() if not name.startswith("fc."))
    assert body == 21_785_568


def brute_force_resize(image: np.ndarray, side: int) -> np.ndarray:
    """TensorFlow's resize_bilinear(align_corners=False) of 2015, pixel by pixel, for one channel (H, W)."""
    height, width = image.shape
    out = np.empty((side, side))
    for i in range(side):
        for j in range(side):
            y, x = i * height / side, j * width / side
            top, left = int(y), int(x)
            bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
            upper = image[top, left] + (image[top, right] - image[top, left]) * (x - left)
            lower = image[bottom, left] + (image[bottom, right] - image[bottom, left]) * (x - left)
            out[i, j] = upper + (lower - upper) * (y - top)
    return out


@pytest.mark.parametrize(("height", "width", "side"), [(8, 8, 37), (28, 31, 40), (32, 32, 299), (50, 60, 33)])
def test_resize_equals_a_brute_force_one_without_half_pixels(height: int, width: int, side: int) -> None:
    image = np.random.default_rng(0).uniform(0, 255, (height, width))
    ours = inception.resize(torch.from_numpy(image)[None, None], side)[0, 0].numpy()
    np.testing.assert_allclose(ours, brute_force_resize(image, side), atol=1e-9)


def test_first_pixel_is_kept_and_the_last_repeated_by_the_resize() -> None:
    ramp = torch.arange(4.0).expand(1, 1, 4, 4)
    resized = inception.resize(ramp, 8)[0, 0, 0]
    assert resized.tolist() == [0, 0.5, 1, 1.5, 2, 2.5, 3, 3]


def test_pools_exclude_the_padding_and_the_last_block_takes_the_maximum() -> None:
    ones = torch.ones(1, 1, 3, 3)
    assert torch.equal(inception._average_pool(ones), ones)  # with padding the corners would be 4/9
    pools = {}
    for name in ("Mixed_7b", "Mixed_7c"):
        block = getattr(inception.network(), name).eval()
        block.branch_pool = nn.Identity()
        for branch in ("branch1x1", "branch3x3_1", "branch3x3dbl_1"):
            getattr(block, branch).conv.weight.data.zero_()
        inputs = block.branch1x1.conv.in_channels
        x = torch.zeros(1, inputs, 3, 3)
        x[:, :, 1, 1] = 9
        with torch.no_grad():
            pools[name] = block(x)[0, -inputs:].mean(0)
    assert pools["Mixed_7b"][1, 1] == 1
    assert pools["Mixed_7b"][0, 0] == 9 / 4
    assert torch.equal(pools["Mixed_7c"], torch.full((3, 3), 9.0))


def test_features_are_those_of_the_network_for_grey_images_as_for_their_coloured_copies(
    network: inception.Inception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inception, "BLOCK", 2)
    state = {name: value.numpy() for name, value in network.state_dict().items()}
    grey = np.random.default_rng(0).uniform(-1, 1, (2, 8, 8, 1)).astype(np.float32)
    features = inception.embed(grey, state)
    assert features.shape == (2, 2048)
    np.testing.assert_array_equal(inception.embed(grey.repeat(3, axis=3), state), features)
    levels = torch.from_numpy((grey.transpose(0, 3, 1, 2) + 1) * 127.5).expand(-1, 3, -1, -1)
    with torch.no_grad():
        np.testing.assert_allclose(features, network(levels).numpy(), rtol=1e-3, atol=1e-6)


def test_only_the_file_of_2015_12_05_is_loaded(network: inception.Inception, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="difgen weights fetch inception"):
        inception.fit(tmp_path / "pt_inception-2015-12-05-6726825d.pth")
    other = tmp_path / "pt_inception-2015-12-05-6726825d.pth"
    torch.save({"fc.bias": torch.zeros(3)}, other)
    with pytest.raises(WeightsError, match="bytes long, not 95628359"):
        inception.fit(other)
