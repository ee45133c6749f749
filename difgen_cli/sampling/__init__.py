"""Sampling: the same starting noise and label for sample i of every cell, whatever the count.

A sampler is a generator, `sample(denoiser, x, levels, labels, <inputs>, *, ...)`, of (σ, x): from x (B, C, H, W) or
(B, D) at the first of the absolute noise levels to the last of them. Whoever walks it decides what to keep, and where
to stop. `draw` makes x and the levels, so that every sampler can begin from noise or from noisy images, and go up.
"""

import inspect
import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import torch
from annotated_types import Ge, Gt
from torch import Tensor

from difgen_cli.diffusion import DenoiserLike, sigma_range, to_array
from difgen_cli.diffusion.schedules import noise_levels as noise_levels
from difgen_cli.sampling._random import Randomness
from difgen_cli.sampling._starts import Labelled as Labelled
from difgen_cli.sampling._starts import begun_from
from difgen_cli.sampling._starts import labels_of as labels_of
from difgen_cli.sampling._starts import levels_of as levels_of
from difgen_cli.sampling._starts import starting_points as starting_points

VERSION = 1
BLOCK = 256  # samples drawn together; on a GPU, whose kernels may change with the shape, every block is full
# On a CPU, blocks of whole multiples of 16 give each sample the same bits; images stay in the cache in smaller ones.
WHOLE, BLOCK_OF_IMAGES, LARGE = 16, 64, 256  # numbers in a sample from which it is large

Walk = Iterator[tuple[float, Tensor]]
Sampler = Callable[..., Walk]


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
    images: Labelled | None = None,
    inputs: Mapping[str, Any] | None = None,
    *,
    count: Annotated[int, Gt(0)] = 1000,
    seed: Annotated[int, Ge(0)] = 0,
    stop: Annotated[float, Ge(0)] = 0.0,
    steps: Annotated[int, Gt(0)] = 24,
    rho: Annotated[float, Gt(0)] = 7.0,
    sigma_min: Annotated[float, Gt(0)] = 0.004,
    sigma_max: Annotated[float, Gt(0)] = 160.0,
    levels: tuple[float, ...] | None = None,
    every: Annotated[int, Gt(0)] = 1,
    start: Literal["noise", "train", "held_out"] = "noise",
    prior: Literal["empirical", "uniform"] = "empirical",
) -> Samples:
    """Samples 0 … count − 1 of `shape` (C, H, W) or (D,); the first 128 of 512 equal, bit for bit, those of 128.

    `proportions` (classes,) are the shares of the labels, summing to 1; None or empty: unconditional. `images` are
    those of `start`; `inputs` what else a sampler may name.

    count: how many samples.
    seed: chooses the starting noise and the labels.
    stop: noise level, in units of σ_d, at or below which to take the denoiser's estimate in place of walking on.
    steps: steps of the sampler, the last one to σ = 0.
    rho: how much the steps crowd towards low noise.
    sigma_min: the last noise level before 0, in units of σ_d.
    sigma_max: the first noise level, in units of σ_d.
    levels: noise levels in units of σ_d in place of the four settings above; they may rise, and end at 0 or not.
    every: go from each level to the one so many further on, as a distilled student does.
    start: begin from noise, or from training or held-out images, in their order, with noise of the first level added;
        sample i begins from image i modulo their number, and has its label.
    prior: labels in the proportions that they have in T, or all as often.

    Levels outside the denoiser's `sigma_range` are left out, 0 excepted. Raises ValueError where none is left.
    """
    walks = _walks(
        denoiser, sample, shape, proportions, device, images, inputs, count=count, seed=seed, steps=steps, rho=rho,
        sigma_min=sigma_min, sigma_max=sigma_max, levels=levels, every=every, start=start, prior=prior,
    )  # fmt: skip
    blocks, labels = [], []
    for walk, walked, given in walks:
        blocks.append(to_array(_end(walk, walked, given, stop * denoiser.sigma_data)))
        labels.append(None if given is None else given.cpu().numpy())
    drawn_labels = [block for block in labels if block is not None]
    return Samples(np.concatenate(blocks)[:count], np.concatenate(drawn_labels)[:count] if drawn_labels else None)


def states(
    denoiser: DenoiserLike, sample: Sampler, shape: tuple[int, ...], proportions: np.ndarray | None,
    device: str | torch.device, images: Labelled | None = None, inputs: Mapping[str, Any] | None = None, *,
    at: Sequence[float], count: int, stop: float = 0.0, estimates: Sequence[float] = (), **settings: Any,
) -> tuple[np.ndarray, ...]:  # fmt: skip
    """Where samples 0 … count − 1 are on their way: σ (L,) absolute, and x (L, n, H, W, C) or (L, n, D) float32.

    The sampler's own levels that lie nearest to those `at` (in units of σ_d, on a log scale), each once, descending;
    none below `stop`, and none for a level that the denoiser is not for. `settings` are those of `draw`. Where levels
    of `estimates` are asked for: also the σ (M,) nearest to these, D(x; σ) there (M, n, ...), and the samples (n, ...).
    """
    lowest, highest = sigma_range(denoiser)
    asked = [[s for s in part if lowest <= s * denoiser.sigma_data <= highest] for part in (at, estimates)]
    if not any(asked):
        none = (np.empty(0), np.empty((0, count)))
        return (*none, *none, np.empty((0, *shape))) if estimates else none
    x: list[dict[float, np.ndarray]] = []
    denoised: list[dict[float, np.ndarray]] = []
    ends: list[np.ndarray] = []
    wanted: list[list[float]] = []
    for walk, walked, given in _walks(denoiser, sample, shape, proportions, device, images, inputs, count=count,
                                      **settings):  # fmt: skip
        steps = list(walk)
        passed = {sigma: x for sigma, x in steps if sigma > stop * denoiser.sigma_data}
        if not wanted:
            near = [{_nearest(list(passed), s * denoiser.sigma_data) for s in part} for part in asked]
            wanted = [sorted(part, reverse=True) for part in near]
        x.append({sigma: to_array(passed[sigma]) for sigma in wanted[0]})
        if estimates:
            with torch.no_grad():
                of_block = {sigma: estimate(denoiser, passed[sigma], sigma, given) for sigma in wanted[1]}
            denoised.append({sigma: to_array(estimated) for sigma, estimated in of_block.items()})
            ends.append(to_array(_end(iter(steps), walked, given, stop * denoiser.sigma_data)))
    of_x = np.array(wanted[0]), _joined(x, wanted[0], count)
    if not estimates:
        return of_x
    return *of_x, np.array(wanted[1]), _joined(denoised, wanted[1], count), np.concatenate(ends)[:count]


def _joined(blocks: list[dict[float, np.ndarray]], sigmas: list[float], count: int) -> np.ndarray:
    """(L, count, ...) from what each block of samples has at each level."""
    of_levels = [np.concatenate([block[sigma] for block in blocks])[:count] for sigma in sigmas]
    return np.stack(of_levels) if of_levels else np.empty((0, count))


def walks_from(
    denoiser: DenoiserLike, sample: Sampler, shape: tuple[int, ...], proportions: np.ndarray | None,
    device: str | torch.device, images: Labelled | None = None, inputs: Mapping[str, Any] | None = None, *,
    begun: Labelled, sigma: float, stop: float = 0.0, seed: int = 0, levels: Sequence[float] | None = None,
    count: int = 0, start: str = "noise", prior: str = "empirical", **even: Any,
) -> np.ndarray:  # fmt: skip
    """Where the sampler ends that begins at `begun`, noisy images (n, H, W, C) or points (n, D) at the absolute noise
    level `sigma` with their labels: like them, float32; NaN where the denoiser is not for this level.

    From there it goes along its own levels below, to where it stops. The other settings are those of `draw`: what
    walks begin from, and how many there are, is what `begun` says. ValueError for a sampler that makes its own noise,
    or whose levels rise.
    """
    names = list(inspect.signature(sample).parameters)
    lowest, highest = sigma_range(denoiser)
    if takes_noise(names):
        raise ValueError("this sampler makes its own noise and cannot begin from noisy images; use another sampler")
    if not lowest <= sigma <= highest:
        return np.full(begun[0].shape, np.nan, np.float32)
    own = levels_of(denoiser, levels, **even)
    if own != sorted(own, reverse=True):
        raise ValueError("the levels of this sampler rise: it cannot be followed from noisy images down")
    path = [sigma, *(level for level in own if level < sigma)]
    begin = getattr(denoiser, "begin", lambda: denoiser)
    first, blocks_of_ends = 0, []
    for block in blocks(len(begun[0]), shape, device):
        x, labels = begun_from(begun, first, block)
        given, walked = None if labels is None else torch.from_numpy(labels).to(device), begin()
        named = {**(inputs or {}), "rng": Randomness(seed, first, block)}
        walk = sample(walked, x.to(device), path, given, **{n: v for n, v in named.items() if n in names[4:]})
        blocks_of_ends.append(to_array(_end(walk, walked, given, stop * denoiser.sigma_data)))
        first += block
    return np.concatenate(blocks_of_ends)[: len(begun[0])]


def _nearest(sigmas: Sequence[float], level: float) -> float:
    return min(sigmas, key=lambda sigma: abs(math.log(sigma / level)))


def evaluations(
    denoiser: DenoiserLike, sample: Sampler, shape: tuple[int, ...], images: Labelled | None = None,
    inputs: Mapping[str, Any] | None = None, **settings: Any,
) -> int:  # fmt: skip
    """How often a sampler asks for the denoiser on its way: counted on zeros, without the denoiser."""
    counting = _Counting(denoiser.sigma_data, sigma_range(denoiser))
    kept = {name: value for name, value in settings.items() if name != "stop"} | {"count": 1}
    for walk, _, _ in _walks(counting, sample, shape, None, "cpu", images, inputs, **kept):
        deque(walk, maxlen=0)
    return counting.asked


class _Counting:
    """The denoiser of data that are all zero, which counts how often it is asked."""

    def __init__(self, sigma_data: float, sigma_range: tuple[float, float]) -> None:
        self.sigma_data, self.sigma_range, self.asked = sigma_data, sigma_range, 0

    def __call__(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None, /) -> Tensor:
        self.asked += 1
        return torch.zeros_like(x)


def _walks(
    denoiser: DenoiserLike, sample: Sampler, shape: tuple[int, ...], proportions: np.ndarray | None,
    device: str | torch.device, images: Labelled | None, inputs: Mapping[str, Any] | None, *, count: int,
    seed: int = 0, levels: Sequence[float] | None = None, start: str = "noise", prior: str = "empirical",
    **even: Any,
) -> Iterator[tuple[Walk, DenoiserLike, Tensor | None]]:  # fmt: skip
    """The walk of each block of samples, the denoiser that it follows, and its labels.

    A denoiser that remembers its way, as a guided one may, is begun anew for each.
    """
    names = list(inspect.signature(sample).parameters)
    sigmas = [] if takes_noise(names) else levels_of(denoiser, levels, **even)
    begin = getattr(denoiser, "begin", lambda: denoiser)
    first = 0
    for block in blocks(count, shape, device):
        drawn, uniform = starting_points(shape, seed, first, block)
        noise = torch.from_numpy(drawn).to(device)
        labels = labels_of(uniform, _shares(proportions, prior))
        rng, walked, clean = Randomness(seed, first, block), begin(), None
        if start != "noise":
            clean, labels = begun_from(images, first, block)
        given = None if labels is None else torch.from_numpy(labels).to(device)
        first += block
        if takes_noise(names):
            yield sample(walked, noise, given), walked, given
            continue
        x = noise * sigmas[0] if clean is None else clean.to(device) + noise * sigmas[0]
        named = {name: value for name, value in {**(inputs or {}), "rng": rng}.items() if name in names[4:]}
        yield sample(walked, x, sigmas, given, **named), walked, given


def takes_noise(parameters: Sequence[str]) -> bool:
    """Whether a sampler is one of difgen 0.1: it is given unit noise, and makes its own levels."""
    return len(parameters) > 1 and parameters[1] == "noise"


def _shares(proportions: np.ndarray | None, prior: str) -> np.ndarray | None:
    if proportions is None or len(proportions) == 0 or prior == "empirical":
        return proportions
    return np.full(len(proportions), 1 / len(proportions))


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


def _end(walk: Walk, denoiser: DenoiserLike, labels: Tensor | None, stop: float) -> Tensor:
    """x at the end of a walk, or the estimate at its first level at or below `stop`, absolute."""
    x = torch.empty(0)
    for sigma, x in walk:
        if 0 < sigma <= stop:
            with torch.no_grad():
                return estimate(denoiser, x, sigma, labels)
    return x


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
