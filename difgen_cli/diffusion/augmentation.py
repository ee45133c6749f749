"""Images flipped, scaled, turned, stretched and moved at random, with labels that say how (Karras et al. 2022, F.2).

The labels tell the network what was done, so that it makes images as they are where it is told nothing: augmentation
does not leak. Written from the paper's table 6; images are resampled by cubic convolution and mirrored at their edges,
without the paper's low-pass filter.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from difgen_cli.diffusion.objective import Draws

SCALE = ANISOTROPY = 2**0.2  # factors of one standard deviation
SHIFT = 1 / 8  # of height and width, one standard deviation


@dataclass(frozen=True)
class Augmentation:
    """What is done to each image of a batch, (B,) each; all zero: nothing."""

    flip_x: Tensor  # bool, left to right
    flip_y: Tensor  # bool, top to bottom
    scale: Tensor  # logarithm of the factor, in units of that of SCALE
    angle: Tensor  # radians, anticlockwise
    stretch: Tensor  # logarithm of the factor along `direction`, and of its inverse across, in units of ANISOTROPY's
    direction: Tensor  # radians
    right: Tensor  # in units of SHIFT
    down: Tensor

    @property
    def labels(self) -> Tensor:
        """What the network is told, (B, 9) float32; zeros where nothing is done."""
        return torch.stack(
            [
                self.flip_x.float(), self.flip_y.float(), self.scale, self.angle.cos() - 1, self.angle.sin(),
                self.stretch * self.direction.cos(), self.stretch * self.direction.sin(), self.right, self.down,
            ],
            dim=1,
        )  # fmt: skip

    def __call__(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W), augmented: flipped, then scaled, turned, stretched and moved in one resampling.

        An image that is only flipped, or not augmented, keeps its values to the bit.
        """
        x = torch.where(_each(self.flip_x), x.flip(-1), x)
        x = torch.where(_each(self.flip_y), x.flip(-2), x)
        resampled = (self.scale != 0) | (self.angle != 0) | (self.stretch != 0) | (self.right != 0) | (self.down != 0)
        grid = functional.affine_grid(self.sources(*x.shape[-2:]), list(x.shape), align_corners=False)
        moved = functional.grid_sample(x, grid, mode="bicubic", padding_mode="reflection", align_corners=False)
        return torch.where(_each(resampled), moved, x)

    def sources(self, height: int, width: int) -> Tensor:
        """Where each place of the result comes from: (B, 2, 3) that maps (x, y, 1), both from −1 to 1, x to the right
        and y down: the inverse of scaling, turning, stretching and moving, one after the other."""
        along, zero = ANISOTROPY**-self.stretch, torch.zeros_like(self.stretch)
        stretched = _turn(self.direction) @ _matrix(along, zero, zero, 1 / along) @ _turn(-self.direction)
        linear = (SCALE**-self.scale).view(-1, 1, 1) * _turn(self.angle) @ stretched
        # Pixels are square, the coordinates are not. Numbers of a list would be copied to a card, which is waited for.
        unit = torch.stack([linear.new_full((), side / 2) for side in (width, height)])
        linear = linear * unit / unit.view(2, 1)
        shift = 2 * SHIFT * torch.stack([self.right, self.down], dim=1)[:, :, None]
        return torch.cat([linear, -linear @ shift], dim=2)


def drawn(draws: Draws, count: int, probability: float) -> Augmentation:
    """Each of five transformations with this probability, of `count` images; half of all are mirrored left to right.

    A flip top to bottom that is chosen is made or not.
    """
    acts = draws.uniform("augmentation: which", (5, count)) < probability
    coins = draws.uniform("augmentation: flips", (2, count)) < 0.5
    normal = draws.normal("augmentation: sizes", (4, count))
    angle, direction = math.pi * (2 * draws.uniform("augmentation: angles", (2, count)) - 1)
    scale, stretch, right, down = normal
    return Augmentation(
        flip_x=coins[0], flip_y=acts[0] & coins[1], scale=scale * acts[1], angle=angle * acts[2],
        stretch=stretch * acts[3], direction=direction * acts[3], right=right * acts[4], down=down * acts[4],
    )  # fmt: skip


def _each(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)


def _matrix(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """(B, 2, 2) of its entries, (B,) each, row by row."""
    return torch.stack([a, b, c, d], dim=1).view(-1, 2, 2)


def _turn(angle: Tensor) -> Tensor:
    """Places, y down, turned clockwise by an angle (B,): (B, 2, 2)."""
    return _matrix(angle.cos(), -angle.sin(), angle.sin(), angle.cos())
