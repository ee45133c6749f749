"""Inception-v3 as the Fréchet Inception Distance uses it: pool3 of the network of 2015-12-05 (Heusel et al. 2017).

The modules carry the parameter names of the weights file, so that it loads strictly. Against torchvision's network,
average pools exclude the padding, the last block pools by maximum, and there are 1,008 classes.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from difgen_cli.diffusion import to_tensor
from difgen_cli.diffusion.precision import products
from difgen_cli.features import State, in_blocks, verify

VERSION = 1
WEIGHTS = "inception"
SIDE = 299
BLOCK = 32


def fit(weights: Path) -> State:
    """The 566 entries of the weights file, its size and SHA-256 checked, by name. WeightsError for any other file."""
    verify(weights, WEIGHTS)
    entries = torch.load(weights, map_location="cpu", weights_only=True)
    network().load_state_dict(entries, strict=True)
    return {name: value.numpy() for name, value in entries.items()}


def embed(images: np.ndarray, state: State) -> np.ndarray:
    """pool3: (n, 2048) float32 from scaled images (n, H, W, 1 or 3) of any size; on the GPU where torch sees one."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    body = network()
    body.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()}, strict=True)
    body.eval().to(device)

    def features(block: np.ndarray) -> np.ndarray:
        x = to_tensor(block).to(device)
        levels = ((x + 1) * 127.5).expand(-1, 3, -1, -1)  # 0 … 255, grey three times
        return np.asarray(body(levels).cpu().numpy())

    with torch.no_grad(), products("fp32"):
        return in_blocks(features, images, BLOCK)


def network() -> "Inception":
    """The network with weights still to be loaded; torch's random numbers are not touched."""
    with torch.random.fork_rng(devices=[]):
        return Inception()


def resize(x: Tensor, side: int = SIDE) -> Tensor:
    """(B, C, H, W) to (B, C, side, side) as TensorFlow did in 2015: source = destination · in / out, no half pixel."""
    rows, columns = (_interpolation(length, side).to(x) for length in x.shape[2:])
    return rows @ x @ columns.T


def _interpolation(length: int, side: int) -> Tensor:
    """(side, length): each row has the two weights of linear interpolation at its source."""
    source = torch.arange(side, dtype=torch.float64) * length / side
    lower = source.floor().long()
    share = source - lower
    matrix = torch.zeros(side, length, dtype=torch.float64)
    matrix.scatter_add_(1, lower[:, None], (1 - share)[:, None])
    matrix.scatter_add_(1, (lower + 1).clamp(max=length - 1)[:, None], share[:, None])
    return matrix


class Inception(nn.Module):
    """Levels 0 … 255 (B, 3, H, W) -> pool3 (B, 2048). `fc` is there for the file's sake."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = Convolution(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = Convolution(32, 32, 3)
        self.Conv2d_2b_3x3 = Convolution(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = Convolution(64, 80, 1)
        self.Conv2d_4a_3x3 = Convolution(80, 192, 3)
        self.Mixed_5b = Block35(192, 32)
        self.Mixed_5c = Block35(256, 64)
        self.Mixed_5d = Block35(288, 64)
        self.Mixed_6a = Reduction17(288)
        self.Mixed_6b = Block17(128)
        self.Mixed_6c = Block17(160)
        self.Mixed_6d = Block17(160)
        self.Mixed_6e = Block17(192)
        self.Mixed_7a = Reduction8(768)
        self.Mixed_7b = Block8(1280, pool="average")
        self.Mixed_7c = Block8(2048, pool="max")
        self.fc = nn.Linear(2048, 1008)

    def forward(self, levels: Tensor) -> Tensor:
        x: Tensor = (resize(levels) - 128) / 128
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(functional.max_pool2d(x, 3, 2)))
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(functional.max_pool2d(x, 3, 2))))
        x = self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))
        x = self.Mixed_7a(self.Mixed_6e(self.Mixed_6d(x)))
        x = self.Mixed_7c(self.Mixed_7b(x))
        return x.mean((2, 3))


class Convolution(nn.Module):
    """Convolution, batch norm, ReLU."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int | tuple[int, int],
        stride: int = 1,
        padding: int | tuple[int, int] = 0,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.bn(self.conv(x)))


class Block35(nn.Module):
    """Mixed_5b … 5d: 1 × 1, 5 × 5, double 3 × 3, and pool."""

    def __init__(self, inputs: int, pooled: int) -> None:
        super().__init__()
        self.branch1x1 = Convolution(inputs, 64, 1)
        self.branch5x5_1 = Convolution(inputs, 48, 1)
        self.branch5x5_2 = Convolution(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = Convolution(inputs, 64, 1)
        self.branch3x3dbl_2 = Convolution(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = Convolution(96, 96, 3, padding=1)
        self.branch_pool = Convolution(inputs, pooled, 1)

    def forward(self, x: Tensor) -> Tensor:
        five = self.branch5x5_2(self.branch5x5_1(x))
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch1x1(x), five, double, self.branch_pool(_average_pool(x))], 1)


class Reduction17(nn.Module):
    """Mixed_6a: 35 × 35 to 17 × 17."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3 = Convolution(inputs, 384, 3, stride=2)
        self.branch3x3dbl_1 = Convolution(inputs, 64, 1)
        self.branch3x3dbl_2 = Convolution(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = Convolution(96, 96, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, functional.max_pool2d(x, 3, 2)], 1)


class Block17(nn.Module):
    """Mixed_6b … 6e: 1 × 1, 7 × 7 and double 7 × 7 in rows and columns, and pool."""

    def __init__(self, width: int) -> None:
        super().__init__()
        row, column = ((1, 7), 1, (0, 3)), ((7, 1), 1, (3, 0))  # kernel, stride, padding
        self.branch1x1 = Convolution(768, 192, 1)
        self.branch7x7_1 = Convolution(768, width, 1)
        self.branch7x7_2 = Convolution(width, width, *row)
        self.branch7x7_3 = Convolution(width, 192, *column)
        self.branch7x7dbl_1 = Convolution(768, width, 1)
        self.branch7x7dbl_2 = Convolution(width, width, *column)
        self.branch7x7dbl_3 = Convolution(width, width, *row)
        self.branch7x7dbl_4 = Convolution(width, width, *column)
        self.branch7x7dbl_5 = Convolution(width, 192, *row)
        self.branch_pool = Convolution(768, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        seven = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return torch.cat([self.branch1x1(x), seven, double, self.branch_pool(_average_pool(x))], 1)


class Reduction8(nn.Module):
    """Mixed_7a: 17 × 17 to 8 × 8."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3_1 = Convolution(inputs, 192, 1)
        self.branch3x3_2 = Convolution(192, 320, 3, stride=2)
        self.branch7x7x3_1 = Convolution(inputs, 192, 1)
        self.branch7x7x3_2 = Convolution(192, 192, (1, 7), padding=(0, 3))
        self.branch7x7x3_3 = Convolution(192, 192, (7, 1), padding=(3, 0))
        self.branch7x7x3_4 = Convolution(192, 192, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        three = self.branch3x3_2(self.branch3x3_1(x))
        seven = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return torch.cat([three, seven, functional.max_pool2d(x, 3, 2)], 1)


class Block8(nn.Module):
    """Mixed_7b and 7c: 1 × 1, split 3 × 3, double split 3 × 3, and a pool that differs between the two."""

    def __init__(self, inputs: int, pool: str) -> None:
        super().__init__()
        self.pool = pool
        self.branch1x1 = Convolution(inputs, 320, 1)
        self.branch3x3_1 = Convolution(inputs, 384, 1)
        self.branch3x3_2a = Convolution(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3_2b = Convolution(384, 384, (3, 1), padding=(1, 0))
        self.branch3x3dbl_1 = Convolution(inputs, 448, 1)
        self.branch3x3dbl_2 = Convolution(448, 384, 3, padding=1)
        self.branch3x3dbl_3a = Convolution(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3dbl_3b = Convolution(384, 384, (3, 1), padding=(1, 0))
        self.branch_pool = Convolution(inputs, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        three = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        pooled = functional.max_pool2d(x, 3, 1, 1) if self.pool == "max" else _average_pool(x)
        parts = [
            self.branch1x1(x),
            self.branch3x3_2a(three),
            self.branch3x3_2b(three),
            self.branch3x3dbl_3a(double),
            self.branch3x3dbl_3b(double),
            self.branch_pool(pooled),
        ]
        return torch.cat(parts, 1)


def _average_pool(x: Tensor) -> Tensor:
    return functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
