"""SSCD (Pizzi et al. 2022): descriptors for copy detection, a ResNet-50 with generalised-mean pooling.

Of unit length, so that the product of two is their similarity: on DISC, above 0.75 it is a copy in nine of ten cases.
The published file is TorchScript, and is run as it is once its hash is right. The files of weights alone (torchvision's
or Classy Vision's names) fill the network below, whose modules carry torchvision's names.
"""

import io
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from difgen_cli.features import State, proved, verify
from difgen_cli.features._entries import filled, fitted, read, renamed
from difgen_cli.features._images import IMAGENET, Preparation, embedded

VERSION = 1
WEIGHTS = "sscd"
PREPARATION = Preparation(288, "bilinear", "keep", *IMAGENET)  # the authors' "small edge 288"
DEPTHS = (3, 4, 6, 3)
POWER = 3.0  # of the generalised mean
ARCHIVE = "torchscript"  # the state's only entry where it is a program

CLASSY = (  # Classy Vision's names -> torchvision's; its blocks count from 0, those of torchvision from 1
    (r"^backbone\.", ""),
    (r"^embeddings\.1\.", "fc."),
    (r"^initial_block\._module\.0\.", "conv1."),
    (r"^initial_block\._module\.1\.", "bn1."),
    *((rf"^blocks\.{block}\.(?:block{block}-)?(\d+)\.", rf"layer{block + 1}.\1.") for block in range(len(DEPTHS))),
    (r"\.convolutional_block\.0\.", ".conv1."),
    (r"\.convolutional_block\.1\.", ".bn1."),
    (r"\.convolutional_block\.3\.", ".conv2."),
    (r"\.convolutional_block\.4\.", ".bn2."),
    (r"\.convolutional_block\.6\.", ".conv3."),
    (r"(^layer.*)\.bn\.", r"\1.bn3."),
)


def fit(weights: Path) -> State:
    """The weights by torchvision's names, or the published program. WeightsError for any other file."""
    verify(weights, WEIGHTS)
    if proved(weights, WEIGHTS):
        return {ARCHIVE: np.fromfile(weights, np.uint8)}
    return fitted(network, renamed(read(weights), CLASSY), weights, "SSCD's ResNet-50")


def embed(images: np.ndarray, state: State) -> np.ndarray:
    """Descriptors of unit length: (n, 512) float32 from scaled images (n, H, W, 1 or 3) of any size."""
    return embedded(_program(state[ARCHIVE]) if ARCHIVE in state else filled(network, state), PREPARATION, images)


def network(entries: Mapping[str, Any]) -> "Descriptor":
    """The network; of its sizes the entries choose the number of outputs."""
    return Descriptor(len(entries["fc.bias"]))


def _program(archive: np.ndarray) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # TorchScript is; the file of 2022 is not
        program: nn.Module = torch.jit.load(io.BytesIO(archive.tobytes()), map_location="cpu")
    return program


class Descriptor(nn.Module):
    """Prepared images (B, 3, H, W) -> descriptors (B, outputs) of unit length."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = Norm(64)
        self.layer1 = _layer(64, 64, DEPTHS[0], stride=1)
        self.layer2 = _layer(256, 128, DEPTHS[1], stride=2)
        self.layer3 = _layer(512, 256, DEPTHS[2], stride=2)
        self.layer4 = _layer(1024, 512, DEPTHS[3], stride=2)
        self.fc = nn.Linear(2048, outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.max_pool2d(functional.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        pooled = x.clamp(min=1e-6).pow(POWER).mean((2, 3)).pow(1 / POWER)
        return functional.normalize(self.fc(pooled))


class Bottleneck(nn.Module):
    """1 × 1, 3 × 3 with the stride, and 1 × 1 convolutions beside a shortcut."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = Norm(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = Norm(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = Norm(4 * width)
        if stride > 1 or inputs != 4 * width:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, 4 * width, 1, stride, bias=False), Norm(4 * width))
        else:
            self.downsample = nn.Sequential()

    def forward(self, x: Tensor) -> Tensor:
        hidden = functional.relu(self.bn1(self.conv1(x)))
        hidden = functional.relu(self.bn2(self.conv2(hidden)))
        return functional.relu(self.bn3(self.conv3(hidden)) + self.downsample(x))


class Norm(nn.Module):
    """Batch norm with the statistics of training."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels))
        self.bias = nn.Parameter(torch.empty(channels))
        self.register_buffer("running_mean", torch.empty(channels))
        self.register_buffer("running_var", torch.empty(channels))

    def forward(self, x: Tensor) -> Tensor:
        return functional.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias)


def _layer(inputs: int, width: int, depth: int, stride: int) -> nn.Sequential:
    rest = (Bottleneck(4 * width, width, 1) for _ in range(depth - 1))
    return nn.Sequential(Bottleneck(inputs, width, stride), *rest)
