"""Images as published networks want them: resized as Pillow does it, bit for bit, and with normalised colours.

Published features are made of images that Pillow resized in 8 bits. Its integer arithmetic is repeated here in float64,
which holds every sum exactly, so that the result is the same on all devices.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from difgen_cli.diffusion import to_tensor
from difgen_cli.diffusion.precision import products
from difgen_cli.features import in_blocks

BLOCK = 16
FRACTION = float(1 << 22)  # Pillow's weights are whole multiples of 1 / FRACTION

Colour = tuple[float, float, float]
IMAGENET: tuple[Colour, Colour] = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean and deviation of levels / 255


@dataclass(frozen=True)
class Preparation:
    """Size, filter and colours that a network was trained with. `shape` is for images that are not square:

    `skew` brings both edges to `side`; `crop` brings the shorter edge there and takes the centre; `keep` takes it all.
    """

    side: int  # pixels
    kernel: Literal["bicubic", "bilinear"]
    shape: Literal["skew", "crop", "keep"]
    mean: Colour
    deviation: Colour

    def __call__(self, levels: Tensor) -> Tensor:
        """Levels 0 … 255 (B, 1 or 3, H, W) float64 -> (B, 3, h, w) float32; grey becomes red, green and blue."""
        x = resize(levels, self._size(*levels.shape[2:]), self.kernel)
        if self.shape == "crop":
            top, left = (round((length - self.side) / 2) for length in x.shape[2:])
            x = x[:, :, top : top + self.side, left : left + self.side]
        mean, deviation = (torch.tensor(c, device=x.device)[:, None, None] for c in (self.mean, self.deviation))
        return ((x / 255).float() - mean) / deviation

    def _size(self, height: int, width: int) -> tuple[int, int]:
        if self.shape == "skew":
            return self.side, self.side
        shorter = min(height, width)
        return self.side * height // shorter, self.side * width // shorter


def embedded(network: nn.Module, prepare: Preparation, images: np.ndarray) -> np.ndarray:
    """What the network makes of scaled images (n, H, W, 1 or 3): (n, d) float32; on the GPU where torch sees one.

    ValueError for what is neither grey nor coloured images.
    """
    if images.ndim != 4 or images.shape[3] not in (1, 3):
        raise ValueError(
            f"this feature space needs grey or coloured images, not arrays of {images.shape[1:]}: use pixels"
        )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network.eval().to(device)

    def features(block: np.ndarray) -> np.ndarray:
        x = to_tensor(block).to(device, torch.float64)
        return np.asarray(network(prepare(((x + 1) * 127.5).round().clamp(0, 255))).cpu().numpy())

    with torch.no_grad(), products("fp32"):
        return in_blocks(features, images, BLOCK)


def resize(levels: Tensor, size: tuple[int, int], kernel: str) -> Tensor:
    """(B, C, H, W) to (B, C, h, w), whole levels in float64: first the columns, then the rows, both rounded."""
    rows, columns = (
        _weights(inner, outer, kernel).to(levels.device) for inner, outer in zip(levels.shape[2:], size, strict=True)
    )
    return _rounded(rows @ _rounded(levels @ columns.T))


def _rounded(x: Tensor) -> Tensor:
    return (x + 0.5).floor().clamp(0, 255)


def _weights(length: int, size: int, kernel: str) -> Tensor:
    """(size, length): what each new pixel takes of the old ones, antialiased where there will be fewer."""
    curve, reach = _KERNELS[kernel]
    scale = length / size
    stretch = max(scale, 1.0)
    centres = (torch.arange(size, dtype=torch.float64) + 0.5) * scale
    first = (centres - reach * stretch + 0.5).trunc().clamp(min=0)
    last = (centres + reach * stretch + 0.5).trunc().clamp(max=length)
    source = torch.arange(length, dtype=torch.float64)
    weights = curve((source - centres[:, None] + 0.5) / stretch)
    weights = weights * ((source >= first[:, None]) & (source < last[:, None]))
    weights /= weights.sum(1, keepdim=True)
    return (weights * FRACTION + weights.sign() / 2).trunc() / FRACTION


def _bicubic(x: Tensor, a: float = -0.5) -> Tensor:
    """Keys' cubic convolution (1981)."""
    x = x.abs()
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return torch.where(x < 1, near, torch.where(x < 2, far, 0.0))


def _bilinear(x: Tensor) -> Tensor:
    return (1 - x.abs()).clamp(min=0)


_KERNELS: dict[str, tuple[Callable[[Tensor], Tensor], float]] = {
    "bicubic": (_bicubic, 2.0),
    "bilinear": (_bilinear, 1.0),
}
