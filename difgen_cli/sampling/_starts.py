"""What samples begin from: noise and uniforms of each by its number, images, and how many are drawn together."""

import math

import numpy as np
import torch
from torch import Tensor

from difgen_cli.diffusion import to_tensor

BLOCK = 256  # samples drawn together; on a GPU, whose kernels change with the shape, every block is full
# On a CPU, blocks of whole multiples of 16 give each sample the same bits; images stay in the cache in smaller ones.
WHOLE, BLOCK_OF_IMAGES, LARGE = 16, 64, 256  # numbers in a sample from which it is large

Labelled = tuple[np.ndarray, np.ndarray | None]  # images (n, H, W, C) or (n, D), and their labels (n,)


def begun_from(images: Labelled | None, first: int, count: int) -> tuple[Tensor, np.ndarray | None]:
    """The images that samples first, first + 1, … begin from, as a tensor, and their labels."""
    if images is None or not len(images[0]):
        raise ValueError("sample.start: there are no such images to begin from; use start: noise")
    places = np.arange(first, first + count) % len(images[0])
    return to_tensor(images[0][places]), None if images[1] is None else images[1][places].astype(np.int64)


def block_of(shape: tuple[int, ...], device: str | torch.device) -> int:
    """How many samples of a shape are drawn together."""
    return BLOCK_OF_IMAGES if math.prod(shape) > LARGE and torch.device(device).type == "cpu" else BLOCK


def blocks(count: int, shape: tuple[int, ...], device: str | torch.device) -> list[int]:
    """How many samples are drawn together, block by block: on a CPU about evenly many, since small blocks are slow."""
    block, drawn = block_of(shape, device), drawn_together(count, device)
    whole = WHOLE if torch.device(device).type == "cpu" else block
    number = -(-drawn // block)
    each, more = divmod(drawn // whole, number)
    return [(each + (place < more)) * whole for place in range(number)]


def drawn_together(count: int, device: str | torch.device) -> int:
    """How many samples are drawn so that there are `count`, each the same, bit for bit, whatever the count."""
    whole = WHOLE if torch.device(device).type == "cpu" else BLOCK
    return -(-count // whole) * whole


def starting_points(shape: tuple[int, ...], seed: int, start: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit noise (count, *shape) float32 and uniforms (count,) of samples start, start + 1, …: of (seed, i) alone."""
    noise, uniform = np.empty((count, *shape), dtype=np.float32), np.empty(count)
    for place in range(count):
        # Philox is keyed, not seeded: no two (seed, i) share a stream.
        generator = np.random.Generator(np.random.Philox(key=[seed, start + place]))
        uniform[place] = generator.random()
        generator.standard_normal(dtype=np.float32, out=noise[place])
    return noise, uniform


def labels_of(uniform: np.ndarray, proportions: np.ndarray | None) -> np.ndarray | None:
    """The label (n,) int64 at which the cumulative proportions pass each uniform; None if unconditional."""
    if proportions is None or len(proportions) == 0:
        return None
    cumulative = np.cumsum(np.asarray(proportions, dtype=np.float64))
    if np.min(proportions) < 0 or not np.isclose(cumulative[-1], 1, atol=1e-6):
        raise ValueError(f"proportions must be at least 0 and sum to 1; these sum to {cumulative[-1]:.6g}")
    # The last class with any share ends at exactly 1, whatever rounding did to the sum.
    return np.searchsorted(cumulative / cumulative[-1], uniform, side="right").astype(np.int64)
