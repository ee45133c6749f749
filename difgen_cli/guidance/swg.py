"""Sliding-window guidance (Kaiser et al. 2024): away from the same network that sees crops, not the whole image."""

from typing import TYPE_CHECKING, Annotated

import numpy as np
from annotated_types import Gt

from difgen_cli.guidance import Around

if TYPE_CHECKING:
    from torch import Tensor

    from difgen_cli.diffusion import DenoiserLike

VERSION = 1
NEEDS = ("any size",)


def negative(
    denoiser: "DenoiserLike",
    shape: tuple[int, ...],
    *,
    crop: Annotated[int, Gt(0)],
    windows: Annotated[int, Gt(0)] = 2,
    masked: bool = False,
) -> "Windows":
    """The mean, where they overlap, of the network's estimates for windows × windows crops of images (C, H, W).

    crop: height and width of a crop, in pixels; that of the image itself is no guidance.
    windows: crops along each side, evenly spaced: their stride is (H − crop) / (windows − 1) pixels, a whole number.
    masked: guide those pixels alone that more than one crop sees.

    Raises ValueError where `check` does.
    """
    check(shape, crop=crop, windows=windows, masked=masked)
    rows, columns = (starts(side, crop, windows) for side in shape[1:])
    return Windows(denoiser, [(top, left) for top in rows for left in columns], crop, shape[1:], masked)


def check(shape: tuple[int, ...], *, crop: int, windows: int, masked: bool) -> None:
    """ValueError where crops of images of a shape (C, H, W) cannot be had so."""
    if len(shape) != 3:
        raise ValueError("crops are of images, and these data are points; leave swg out")
    for side in shape[1:]:
        if crop > side:
            raise ValueError(f"crop: {crop} pixels are more than the image's {side}")
        if windows == 1 and crop < side:
            raise ValueError(f"windows: one crop of {crop} pixels leaves {side - crop} of {side} unseen; use 2 or more")
        if windows > 1 and (side - crop) % (windows - 1):
            raise ValueError(
                f"crop: the {windows} crops along {side} pixels must be a whole stride apart, and ({side} − {crop}) / "
                f"{windows - 1} is none"
            )
        if windows > 1 and (side - crop) // (windows - 1) > crop:
            raise ValueError(f"crop: {windows} crops of {crop} pixels leave pixels of {side} unseen; use more windows")
    if masked and all(crop < side and crop * windows == side for side in shape[1:]):
        raise ValueError(f"masked: crops of {crop} pixels side by side do not overlap, and nothing would be guided")


def starts(side: int, crop: int, windows: int) -> list[int]:
    """The first pixel of each crop along a side: as many as differ."""
    return [0] if crop == side else [k * (side - crop) // (windows - 1) for k in range(windows)]


class Windows(Around):
    """What a network makes of overlapping crops, put together; every crop has the image's σ and label."""

    def __init__(
        self, denoiser: "DenoiserLike", places: list[tuple[int, int]], crop: int, size: tuple[int, ...], masked: bool
    ) -> None:
        super().__init__(denoiser)
        self.places, self.crop = places, crop
        seen = np.zeros(size)  # (H, W): how many crops see each pixel
        for top, left in places:
            seen[top : top + crop, left : left + crop] += 1
        self.mask = seen > 1 if masked else None

    def __call__(self, x: "Tensor", sigma: "Tensor", labels: "Tensor | None" = None, /) -> "Tensor":
        """Like x, (B, C, H, W)."""
        total, seen = x.new_zeros(x.shape), x.new_zeros(x.shape[-2:])  # counted there: a copy of them is waited for
        for top, left in self.places:
            window = slice(top, top + self.crop), slice(left, left + self.crop)
            total[:, :, *window] += self.denoiser(x[:, :, *window].contiguous(), sigma, labels)
            seen[window] += 1
        return total / seen
