"""Progressive distillation: one step of the student is two of its teacher (Salimans & Ho 2022)."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Gt

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from difgen_cli.diffusion import Denoiser, DenoiserLike
    from difgen_cli.diffusion.objective import Batch, Draws

VERSION = 1
EVALUATIONS = {"teacher": 2}  # of an image
DENOISES = False  # a student's output is where a step leads to, not the mean of the clean images


def loss(
    denoiser: Denoiser,
    batch: Batch,
    teacher: DenoiserLike,
    *,
    steps: Annotated[int, Gt(1)] = 16,
    every: Annotated[int, Gt(1)] = 2,
    rho: Annotated[float, Gt(0)] = 7.0,
    sigma_min: Annotated[float, Gt(0)] = 0.004,
    sigma_max: Annotated[float, Gt(0)] = 160.0,
) -> Tensor:
    """The squared error of the student against the clean image at which the teacher's two steps point, a scalar.

    The student is sampled by euler along every `every`-th of the levels; its teacher goes by half as large steps. So a
    teacher of steps 16 and every 1 has a student of every 2, which teaches one of every 4.

    steps: noise levels of the finest walk.
    every: how many of its steps the student takes at once; an even divisor of `steps`.
    rho: how much the levels crowd towards low noise.
    sigma_min: the last noise level before 0, in units of σ_d.
    sigma_max: the first noise level, in units of σ_d.
    """
    import torch

    from difgen_cli.diffusion import loss as squared_error
    from difgen_cli.diffusion import loss_weight, per_item

    sigma, between, after = (batch.drawn[name] for name in ("sigma", "between", "after"))
    noised = torch.addcmul(batch.images, per_item(sigma, batch.images), batch.noise)
    with torch.no_grad():
        x = noised
        for level, following in ((sigma, between), (between, after)):
            ratio = per_item(following / level, x)
            x = ratio * x + (1 - ratio) * teacher(x, level, batch.labels)  # Euler: x + (σ' − σ) (x − D) / σ
        ratio = per_item(after / sigma, x)
        target = (x - ratio * noised) / (1 - ratio)
    weight = loss_weight(sigma, denoiser.sigma_data)
    return squared_error(denoiser, batch.images, sigma, batch.noise, batch.labels, weight, target)


def draw(
    batch: Batch, draws: Draws, sigma_data: float, *, steps: int, every: int, rho: float, sigma_min: float,
    sigma_max: float,
) -> dict[str, Tensor]:  # fmt: skip
    """The noise level of each item, that between the teacher's two steps, and that after them, (B,) each."""
    levels = _levels(batch.sigma.device, steps, rho, sigma_min, sigma_max, sigma_data)
    first = every * draws.integers("step", batch.places.shape, steps // every)
    named = zip(("sigma", "between", "after"), (0, every // 2, every), strict=True)
    return {name: levels[first + ahead] for name, ahead in named}


@cache
def _levels(
    device: torch.device, steps: int, rho: float, sigma_min: float, sigma_max: float, sigma_data: float
) -> Tensor:
    """The teacher's noise levels on a device, (steps + 1,): copied there once, not at each step."""
    import torch

    from difgen_cli.diffusion.schedules import noise_levels

    return torch.tensor(noise_levels(steps, rho, sigma_min, sigma_max, sigma_data), dtype=torch.float32, device=device)


def canonical(settings: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The same; ValueError where the student's steps are not each two of the teacher's."""
    steps, every = settings["steps"], settings["every"]
    if steps % every or every % 2:
        raise ValueError(f"every: must be even and divide objective.steps, {steps}, not {every}")
    return "distill", settings
