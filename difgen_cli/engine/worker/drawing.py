"""How samples are drawn in a worker: interruptibly, by a denoiser computed in the way that pays, or from real ones."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from difgen_cli import data
from difgen_cli.diffusion import DenoiserLike
from difgen_cli.engine.worker import modes
from difgen_cli.engine.worker.artifacts import Subset
from difgen_cli.engine.worker.submission_spec import StopFlag
from difgen_cli.guidance import Meter, Metered
from difgen_cli.sampling import Walk, block_of, drawn_together

Sample = Callable[..., Walk]


def interruptible(sample: Sample, flag: StopFlag) -> Sample:
    """The sampler, looking at the flag after each step."""

    def checked(*arguments: Any, **settings: Any) -> Walk:
        for state in sample(*arguments, **settings):
            flag.check()
            yield state

    return checked


def real(kind: str, subset: Subset, count: int, seed: int) -> np.ndarray:
    """Reference rows: held-out images in their order, or training images resampled with replacement."""
    if kind == "heldout":
        chosen = subset.holdout.held_out[:count]
    else:
        chosen = subset.images[np.random.default_rng(seed).integers(len(subset.images), size=count)]
    return data.to_uint8(chosen) if chosen.ndim == 4 else chosen


def faster(
    denoiser: DenoiserLike, walk: Sample, shape: tuple[int, ...], classes: int, count: int, device: str,
    about: dict[str, Any], say: Callable[[str], None], show: Callable[[str], None] = lambda _: None,
) -> DenoiserLike:  # fmt: skip
    """A network's denoiser, computed in the way in which `count` samples are drawn first; itself where that is it.

    `show` is given the phase: what is timed.
    """
    block = block_of(shape, device)
    calls = evaluations(walk, denoiser.sigma_data) * drawn_together(count, device) // block

    def begin(way: str) -> Callable[[], Tensor]:
        show(f"timing {way} sampling")
        call = modes.Evaluated(denoiser, way, block, strict=True)
        x, labels = torch.randn(block, *shape, device=device), torch.zeros(block, dtype=torch.int64, device=device)
        return torch.no_grad()(partial(call, x, x.new_ones(block), labels if classes else None))

    way = modes.choose_mode(
        about | {"evaluation": block, "shape": shape, "classes": classes}, calls, device, begin, say
    )
    return denoiser if way == "eager" else modes.Evaluated(denoiser, way, block, say=say)


def used(denoiser: DenoiserLike) -> str:
    """The way in which a denoiser that `faster` gave is computed."""
    return denoiser.used if isinstance(denoiser, modes.Evaluated) else "eager"


def evaluations(walk: Sample, sigma_data: float) -> int:
    """How often a sampler asks for a denoiser on its way: counted on one number that is denoised to zero."""
    meter = Meter()
    for _ in walk(Metered(_Nothing(sigma_data), meter), torch.ones(1, 1), None):
        pass
    return meter.evaluations


class _Nothing:
    """The denoiser of data that are all zero."""

    def __init__(self, sigma_data: float) -> None:
        self.sigma_data = sigma_data

    def __call__(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None, /) -> Tensor:
        return torch.zeros_like(x)
