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

from difgen_cli.diffusion import DenoiserLike, sigma_range, to_array, to_tensor
from difgen_cli.diffusion.schedules import noise_levels as noise_levels
from difgen_cli.sampling._random import Randomness

VERSION = 1
BLOCK = 256  # samples drawn together; on a GPU, whose kernels change with the shape, every block is full
# On a CPU, blocks of whole multiples of 16 give each sample the same bits; images stay in the cache in smaller ones.
WHOLE, BLOCK_OF_IMAGES, LARGE = 16, 64, 256  # numbers in a sample from which it is large

Walk = Iterator[tuple[float, Tensor]]
Sampler = Callable[..., Walk]
Labelled = tuple[np.ndarray, np.ndarray | None]  # images (n, H, W, C) or (n, D), and their labels (n,)


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
    at: Sequence[float], count: int, stop: float = 0.0, **settings: Any,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Where samples 0 … count − 1 are on their way: σ (L,) absolute, and x (L, n, H, W, C) or (L, n, D) float32.

    The sampler's own levels that lie nearest to those `at` (in units of σ_d, on a log scale), each once, descending;
    none below `stop`, and none for a level that the denoiser is not for. `settings` are those of `draw`.
    """
    lowest, highest = sigma_range(denoiser)
    at = [level for level in at if lowest <= level * denoiser.sigma_data <= highest]
    if not at:
        return np.empty(0), np.empty((0, count))
    kept: list[dict[float, np.ndarray]] = []
    wanted: set[float] = set()
    for walk, _, _ in _walks(denoiser, sample, shape, proportions, device, images, inputs, count=count, **settings):
        passed = {sigma: x for sigma, x in walk if sigma > stop * denoiser.sigma_data}
        wanted = wanted or {_nearest(list(passed), level * denoiser.sigma_data) for level in at}
        kept.append({sigma: to_array(passed[sigma]) for sigma in wanted})
    sigmas = sorted(wanted, reverse=True)
    return np.array(sigmas), np.stack([np.concatenate([block[s] for block in kept])[:count] for s in sigmas])


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
            clean, labels = _begun_from(images, first, block)
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


def _begun_from(images: Labelled | None, first: int, count: int) -> tuple[Tensor, np.ndarray | None]:
    """The images that samples first, first + 1, … begin from, as a tensor, and their labels."""
    if images is None or not len(images[0]):
        raise ValueError("sample.start: there are no such images to begin from; use start: noise")
    places = np.arange(first, first + count) % len(images[0])
    return to_tensor(images[0][places]), None if images[1] is None else images[1][places].astype(np.int64)


def levels_of(
    denoiser: DenoiserLike, levels: Sequence[float] | None = None, steps: int = 24, rho: float = 7.0,
    sigma_min: float = 0.004, sigma_max: float = 160.0, every: int = 1,
) -> list[float]:  # fmt: skip
    """The absolute noise levels of a walk: those given in units of σ_d, else even ones; cut to `sigma_range`."""
    sigma_data, (lowest, highest) = denoiser.sigma_data, sigma_range(denoiser)
    if levels is None:
        sigmas = noise_levels(steps, rho, sigma_min, sigma_max, sigma_data)
    else:
        if len(levels) < 2 or min(levels[:-1]) <= 0 or levels[-1] < 0:
            raise ValueError(f"levels: must be two or more above 0, of which the last may be 0, not {list(levels)}")
        sigmas = [sigma_data * level for level in levels]
    kept = [sigma for sigma in [*sigmas[:-1:every], sigmas[-1]] if sigma == 0 or lowest <= sigma <= highest]
    if len(kept) < 2:
        raise ValueError(
            f"the sampler's levels {sigmas[0]:.4g} … {sigmas[-1]:.4g} have fewer than two in the denoiser's range of "
            f"sigma, {lowest:.4g} … {highest:.4g}; change levels, sigma_min or sigma_max"
        )
    return kept


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
