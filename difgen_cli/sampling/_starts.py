"""What samples begin from: noise and uniforms of each by its number, images, and the noise levels of a walk."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from difgen_cli.diffusion import DenoiserLike, sigma_range, to_tensor
from difgen_cli.diffusion.schedules import noise_levels

Labelled = tuple[np.ndarray, np.ndarray | None]  # images (n, H, W, C) or (n, D), and their labels (n,)


def begun_from(images: Labelled | None, first: int, count: int) -> tuple[Tensor, np.ndarray | None]:
    """The images that samples first, first + 1, … begin from, as a tensor, and their labels."""
    if images is None or not len(images[0]):
        raise ValueError("sample.start: there are no such images to begin from; use start: noise")
    places = np.arange(first, first + count) % len(images[0])
    return to_tensor(images[0][places]), None if images[1] is None else images[1][places].astype(np.int64)


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
