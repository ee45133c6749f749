"""How samples are drawn in a worker: interruptibly, by a denoiser computed in the mode that pays, or from real ones."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from typing import Any

import numpy as np
import torch
from torch import Tensor

from difgen_cli import data
from difgen_cli.diffusion import DenoiserLike
from difgen_cli.diffusion.classes import GaussianClasses
from difgen_cli.engine.worker import modes
from difgen_cli.engine.worker.artifacts import Artifacts
from difgen_cli.engine.worker.parts import Conditions, Subset
from difgen_cli.engine.worker.submission_spec import StopFlag
from difgen_cli.sampling import Labelled, Walk, block_of, drawn_together

Sample = Callable[..., Walk]
GIVEN = ("train", "train_labels", "classifier")  # what samplers and terms of guidance may name of the training subset


def interruptible(sample: Sample, flag: StopFlag) -> Sample:
    """The sampler, looking at the flag after each step."""

    @wraps(sample)  # whose parameters say what it is given
    def checked(*arguments: Any, **settings: Any) -> Walk:
        for state in sample(*arguments, **settings):
            flag.check()
            yield state

    return checked


def real(kind: str, subset: Subset, count: int, seed: int) -> np.ndarray:
    """Reference rows: held-out images in their order, or training images resampled with replacement."""
    if kind == "heldout":
        subset.holdout.require(1)
        chosen = subset.holdout.held_out[:count]
    else:
        chosen = subset.images[np.random.default_rng(seed).integers(len(subset.images), size=count)]
    return data.to_uint8(chosen) if chosen.ndim == 4 else chosen


def begun_from(start: str | None, subset: Subset, conditions: Conditions) -> Labelled | None:
    """The images that samples begin from, with their labels; None where they begin from noise. Never a canary."""
    train = slice(len(subset.positions))
    match start:
        case "train":
            return subset.images[train], None if conditions.train is None else conditions.train[train]
        case "held_out":
            return subset.holdout.held_out, conditions.held_out
    return None


def given(name: str, key: str, artifacts: Artifacts, subset: Subset, conditions: Conditions) -> Any:
    """One of GIVEN, made once for each `key`, of a subset and its labels. Raises TypeError for any other name."""
    match name:
        case "train":
            return artifacts.keep("train", key, lambda: artifacts.tensor(subset.images), "loading data")
        case "train_labels":
            of_train = partial(artifacts.labels_tensor, conditions.train)
            return artifacts.keep("train_labels", key, of_train, "loading data")
        case "classifier":
            train, labels = (given(part, key, artifacts, subset, conditions) for part in GIVEN[:2])
            fit = partial(GaussianClasses, train, labels, conditions.classes)
            return artifacts.keep("classifier", key, fit, "fitting a classifier")
    raise TypeError(f"{name} is no input that a sampler, a term of guidance or a change of weights can have")


def faster(
    denoiser: DenoiserLike, evaluations: int, shape: tuple[int, ...], classes: int, count: int, device: str,
    about: dict[str, Any], say: Callable[[str], None], show: Callable[[str], None] = lambda _: None,
) -> DenoiserLike:  # fmt: skip
    """A network's denoiser, computed in the mode in which `count` samples, each of so many evaluations, are done
    first; itself where that is it.

    `show` is given the phase: what is timed.
    """
    block = block_of(shape, device)
    calls = evaluations * drawn_together(count, device) // block

    def begin(mode: str) -> Callable[[], Tensor]:
        show(f"timing {mode} sampling")
        call = modes.Evaluated(denoiser, mode, block, strict=True)
        x, labels = torch.randn(block, *shape, device=device), torch.zeros(block, dtype=torch.int64, device=device)
        return torch.no_grad()(partial(call, x, x.new_ones(block), labels if classes else None))

    mode = modes.choose_mode(
        about | {"evaluation": block, "shape": shape, "classes": classes}, calls, device, begin, say
    )
    return denoiser if mode == "eager" else modes.Evaluated(denoiser, mode, block, say=say)


def used(denoiser: DenoiserLike) -> str:
    """The mode in which a denoiser that `faster` gave is computed."""
    return denoiser.used if isinstance(denoiser, modes.Evaluated) else "eager"
