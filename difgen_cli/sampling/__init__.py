"""Sampling: the same starting noise and label for sample i of every cell, whatever the count.

A sampler is a generator, `sample(denoiser, noise, labels, *, ...)`, of (σ, x) from unit Gaussian noise (B, C, H, W) or
(B, D) down to σ = 0: whoever walks it decides what to keep, and where to stop.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge, Gt
from torch import Tensor

from difgen_cli.diffusion import DenoiserLike, to_array

VERSION = 1
BLOCK = 256  # samples drawn together; on a GPU, whose kernels change with the shape, every block is full
# On a CPU, blocks of whole multiples of 16 give each sample the same bits; images stay in the cache in smaller ones.
WHOLE, BLOCK_OF_IMAGES, LARGE = 16, 64, 256  # numbers in a sample from which it is large

Walk = Iterator[tuple[float, Tensor]]
Sampler = Callable[[DenoiserLike, Tensor, Tensor | None], Walk]


@dataclass(frozen=True)
class Samples:
    """x: (n, H, W, C) or (n, D) float32, scaled like the data and not yet rounded; labels: (n,) int64 or None."""

    x: np.ndarray
    labels: np.ndarray | None


def draw(
    denoiser: DenoiserLike,
    sample: Sampler,
    shape: tuple[int, ...],
    proportions: np.ndarray | None,
    device: str | torch.device = "cpu",
    *,
    count: Annotated[int, Gt(0)] = 1000,
    seed: Annotated[int, Ge(0)] = 0,
    stop: Annotated[float, Ge(0)] = 0.0,
) -> Samples:
    """Samples 0 … count − 1 of `shape` (C, H, W) or (D,); the first 128 of 512 equal, bit for bit, those of 128.

    `proportions` (classes,) are the shares of the labels, summing to 1; None or empty: unconditional.

    count: how many samples.
    seed: chooses the starting noise and the labels.
    stop: noise level, in units of σ_d, at or below which to take the denoiser's estimate in place of walking on.
    """
    blocks, labels = [], []
    for walk, walked, given in _walks(denoiser, sample, shape, proportions, device, count, seed):
        blocks.append(to_array(_end(walk, walked, given, stop * denoiser.sigma_data)))
        labels.append(None if given is None else given.cpu().numpy())
    drawn_labels = [block for block in labels if block is not None]
    return Samples(np.concatenate(blocks)[:count], np.concatenate(drawn_labels)[:count] if drawn_labels else None)


def states(
    denoiser: DenoiserLike, sample: Sampler, shape: tuple[int, ...], proportions: np.ndarray | None,
    device: str | torch.device, *, levels: Sequence[float], count: int, seed: int = 0, stop: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Where samples 0 … count − 1 are on their way: σ (L,) absolute, and x (L, n, H, W, C) or (L, n, D) float32.

    The sampler's own levels that lie nearest to `levels` (in units of σ_d, on a log scale), each once, descending; none
    below `stop`.
    """
    kept: list[dict[float, np.ndarray]] = []
    wanted: set[float] = set()
    for walk, _, _ in _walks(denoiser, sample, shape, proportions, device, count, seed):
        passed = {sigma: x for sigma, x in walk if sigma > stop * denoiser.sigma_data}
        wanted = wanted or {_nearest(list(passed), level * denoiser.sigma_data) for level in levels}
        kept.append({sigma: to_array(passed[sigma]) for sigma in wanted})
    sigmas = sorted(wanted, reverse=True)
    return np.array(sigmas), np.stack([np.concatenate([block[s] for block in kept])[:count] for s in sigmas])


def _nearest(sigmas: Sequence[float], level: float) -> float:
    return min(sigmas, key=lambda sigma: abs(math.log(sigma / level)))


def _walks(
    denoiser: DenoiserLike, sample: Sampler, shape: tuple[int, ...], proportions: np.ndarray | None,
    device: str | torch.device, count: int, seed: int,
) -> Iterator[tuple[Walk, DenoiserLike, Tensor | None]]:  # fmt: skip
    """The walk of each block of samples, the denoiser that it follows, and its labels.

    A denoiser that remembers its way, as a guided one may, is begun anew for each.
    """
    begin = getattr(denoiser, "begin", lambda: denoiser)
    start = 0
    for block in blocks(count, shape, device):
        noise, uniform = starting_points(shape, seed, start, block)
        start += block
        labels = labels_of(uniform, proportions)
        given = None if labels is None else torch.from_numpy(labels).to(device)
        walked = begin()
        yield sample(walked, torch.from_numpy(noise).to(device), given), walked, given


def _end(walk: Walk, denoiser: DenoiserLike, labels: Tensor | None, stop: float) -> Tensor:
    """x at the end of a walk, or the estimate at its first level at or below `stop`, absolute."""
    x = torch.empty(0)
    for sigma, x in walk:
        if 0 < sigma <= stop:
            with torch.no_grad():
                return estimate(denoiser, x, sigma, labels)
    return x


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


def noise_levels(steps: int, rho: float, sigma_min: float, sigma_max: float, sigma_data: float) -> list[float]:
    """Absolute σ₀ > … > σ_steps = 0: `steps` levels even in σ^(1/ρ), then zero (Karras 2022, eq. 5)."""
    if sigma_min >= sigma_max:
        raise ValueError(f"sigma_min must lie below sigma_max, not {sigma_min} against {sigma_max}")
    first, last = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    places = (step / max(1, steps - 1) for step in range(steps))
    return [sigma_data * (first + place * (last - first)) ** rho for place in places] + [0.0]


def slope(denoiser: DenoiserLike, x: Tensor, sigma: float, labels: Tensor | None) -> Tensor:
    """dx/dσ = (x − D(x; σ)) / σ, the probability-flow ODE (Karras 2022, eqs. 1 and 3 with σ(t) = t)."""
    return (x - estimate(denoiser, x, sigma, labels)) / sigma


def estimate(denoiser: DenoiserLike, x: Tensor, sigma: float, labels: Tensor | None) -> Tensor:
    """D(x; σ) at one absolute σ for all items, like x.

    A denoiser with a method `at`, as a guided one has, gets σ as a number too: what it decides by σ, it decides without
    waiting for a device.
    """
    levels = x.new_full((len(x),), sigma)
    at = getattr(denoiser, "at", None)
    denoised: Tensor = at(x, levels, labels, sigma) if at else denoiser(x, levels, labels)
    return denoised
