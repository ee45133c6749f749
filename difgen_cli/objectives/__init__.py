"""Objectives: `loss(denoiser, batch, <inputs>, *, ...)` is what a training step minimises, a scalar.

`denoiser` is D(x; σ, labels) of the network in training, `batch` what the training loop drew (`diffusion.objective`).
A loss draws nothing and reads no step, so that it can be compiled; `draw(batch, draws, <inputs>, *, ...)` may draw more
before it, and `heads(width, features, *, ...)` makes a module that is trained along.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge, Gt

if TYPE_CHECKING:
    from torch import Tensor

VERSION = 1
# A setting that has a meaning with such values of another one alone: elsewhere it is not part of a key.
READ_WHEN = {
    "p_mean": ("law", ("edm",)),
    "p_std": ("law", ("edm",)),
    "timesteps": ("law", ("vp", "cosine")),
}
VP_BETAS, VP_FIRST = (0.1, 20.0), 1e-3  # β(t) of the continuous schedule, and its first time (Song et al. 2021)
LAST_QUANTILE = 1e-4  # a flow's time stays so far from 0 and 1, where s is 0 or infinite
LEAST_KEPT = 1e-8  # of ᾱ, at the end of the cosine schedule


def levels(
    normal: Tensor,
    sigma_data: float,
    *,
    law: Literal["edm", "vp", "cosine", "uniform_t", "logit_normal"] = "edm",
    p_mean: float = -1.2,
    p_std: Annotated[float, Gt(0)] = 1.2,
    timesteps: Annotated[int, Ge(0)] = 0,
    weight: Literal["edm", "noise", "clean", "velocity", "flow"] = "edm",
) -> tuple[Tensor, Tensor]:
    """σ absolute and the weight of the squared error of D, (B,) each, of unit normals (B,).

    Both are in units of σ_d, whatever the network predicts: so law and weight can be the same for all predictions.

    law: of σ. edm is log-normal; vp and cosine are the schedules that keep the variance at a uniform time; uniform_t is
        σ / σ_d = t / (1 − t) at a uniform t, and logit_normal at a t whose logit is normal.
    p_mean: mean of ln σ at σ_d = 0.5; it moves with σ_d.
    p_std: standard deviation of ln σ.
    timesteps: number of discrete levels of vp and cosine; 0 for continuous time.
    weight: edm and velocity weigh the error by 1/σ² + 1/σ_d²; noise, clean and flow as the squared error of what a
        network predicts would.
    """
    import torch

    from difgen_cli.diffusion import training_sigma

    if law == "edm":
        sigma = training_sigma(normal, sigma_data, p_mean, p_std)
    else:
        sigma = (_quantile(0.5 * torch.erfc(-normal.double() / math.sqrt(2)), law, timesteps) * sigma_data).to(normal)
    return sigma, _weight(sigma, sigma_data, weight)


def _quantile(u: Tensor, law: str, timesteps: int) -> Tensor:
    """s = σ / σ_d at quantile u in [0, 1] of a law, (B,) float64; it rises with u."""
    import torch

    from difgen_cli.diffusion import schedules

    if law in ("uniform_t", "logit_normal"):
        t = u.clamp(LAST_QUANTILE, 1 - LAST_QUANTILE)
        return t / (1 - t) if law == "uniform_t" else torch.special.ndtri(t).exp()
    if timesteps:
        each = schedules.levels("linear" if law == "vp" else "cosine", timesteps).to(u.device)
        return each[(u * timesteps).long().clamp(0, timesteps - 1)]
    t = VP_FIRST + u * (1 - VP_FIRST)
    if law == "cosine":
        log_kept = schedules.cosine(t).clamp(min=LEAST_KEPT).log()
    else:
        first, last = VP_BETAS
        log_kept = -(first * t + (last - first) / 2 * t.square())
    return torch.expm1(-log_kept).sqrt()


def _weight(sigma: Tensor, sigma_data: float, weight: str) -> Tensor:
    from difgen_cli.diffusion import loss_weight

    if weight in ("edm", "velocity"):
        return loss_weight(sigma, sigma_data)
    s, unit = sigma / sigma_data, sigma_data**-2
    return unit * {"noise": s.pow(-2), "clean": s.new_ones(s.shape), "flow": ((1 + s) / s).square()}[weight]
