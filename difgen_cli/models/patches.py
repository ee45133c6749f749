"""The ideal denoiser of patches: training images are seen through windows, and recombined.

Its positional parameters name training images in place of a shape: it is made of them, and not trained.
"""

from typing import Annotated

from annotated_types import Gt
from torch import Tensor

from difgen_cli.diffusion import PatchDenoiser

VERSION = 1


def build(
    train: Tensor, train_labels: Tensor | None, sigma_data: float, *, size: Annotated[int, Gt(0)] = 3
) -> PatchDenoiser:
    """The posterior mean of every patch of the training images (N, C, H, W) at its place (Niedoba et al. 2025).

    size: of a patch along each side, in pixels; as large as the images or larger: the ideal denoiser.
    """
    return PatchDenoiser(train, sigma_data, size, train_labels)
