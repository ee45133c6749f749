"""Networks: `build(shape, classes, *, ...)` gives F of the preconditioning, `forward(x, noise, labels)` like x.

`shape` is (C, H, W) or (D,); `classes` 0 means unconditional. x is scaled by c_in, `noise` is c_noise = ln σ / 4 of
shape (B,), `labels` (B,) int64 or None. A network has an attribute `classes`; its label `classes` is the dropped
condition, and so is `labels=None`. A module of it with an attribute `perturbation` disturbs its embedding in training.
"""

import math
from typing import Annotated, Literal, TypeVar

import torch
from annotated_types import Gt
from torch import Tensor, nn
from torch.nn import functional

from difgen_cli.diffusion import Denoiser, schedules
from difgen_cli.diffusion.denoiser import flow_step, log_level, time_level
from difgen_cli.diffusion.schedules import Timesteps

VERSION = 1

Layer = TypeVar("Layer", nn.Linear, nn.Conv2d)


def denoiser(
    network: nn.Module,
    sigma_data: float,
    *,
    prediction: Literal["edm", "noise", "clean", "velocity", "flow"] = "edm",
    unit: Annotated[float, Gt(0)] | None = None,
    noise_input: Literal["log", "time", "timestep"] = "log",
    schedule: Literal["linear", "scaled_linear", "cosine"] | None = None,
    betas: tuple[float, ...] = (),
) -> Denoiser:
    """How the weights of a network are read: D(x; σ) from F. `sigma_data` is that of the pool.

    prediction: what F is: edm's mixture; the noise; the clean image; the velocity of Salimans & Ho (2022), which is
        edm's up to the sign; or the difference of noise and image, as flow matching has it.
    unit: the standard deviation that images have in the network's own units; none: that of the pool. Published models
        of noise or flow have 1, those of EDM 0.5.
    noise_input: how the network is told the noise: log is ln(σ / unit) / 4, and with edm ln σ / 4; time is that of a
        flow, from 0 to 1; timestep is that of `schedule` or `betas`, from 0 to 999, or 1000 times the time of a flow.
    schedule: of the network's training; σ outside of it are not asked for.
    betas: two, the first and last β of the schedule, where they are not the published ones; or the β of every timestep,
        without a schedule.

    Raises ValueError for timesteps without a schedule, and β that fit none.
    """
    timesteps = _timesteps(schedule, betas)
    if noise_input == "timestep" and timesteps is None and prediction != "flow":
        raise ValueError("model.noise_input: timestep needs model.schedule: name linear, scaled_linear or cosine")
    span = (0.0, math.inf)
    if timesteps is not None:
        scale = sigma_data if unit is None else unit
        span = (timesteps.range[0] * scale, timesteps.range[1] * scale)
    inputs = {"log": None if prediction == "edm" else log_level, "time": time_level, "timestep": timesteps or flow_step}
    return Denoiser(network, sigma_data, prediction, unit, inputs[noise_input], span)


def _timesteps(schedule: str | None, betas: tuple[float, ...]) -> Timesteps | None:
    """Timesteps of a schedule, with two ends of its own, or of the β of each; None where neither is given."""
    if not betas:
        return Timesteps(schedules.levels(schedule)) if schedule else None
    if not all(0 < beta < 1 for beta in betas) or not (len(betas) == 2 if schedule else len(betas) > 2):
        raise ValueError(
            "model.betas must lie between 0 and 1: two of them with model.schedule, or one for each timestep without it"
        )
    if schedule is not None:
        return Timesteps(schedules.levels_from(schedules.betas(schedule, ends=(betas[0], betas[1]))))
    return Timesteps(schedules.levels_from(torch.tensor(betas, dtype=torch.float64)))


class NoiseFeatures(nn.Module):
    """Cosines and sines of ln σ / 4, (B,) → (B, `size`), smooth enough that neighbouring σ share what they learn."""

    frequencies: Tensor

    def __init__(self, frequencies: int = 8) -> None:
        super().__init__()
        # ln σ / 4 spans about ±1.5; periods run from 16 (no oscillation at all) to 1 (four natural units of ln σ).
        periods = torch.logspace(4, 0, frequencies, base=2.0)
        self.size = 2 * frequencies
        self.register_buffer("frequencies", 2 * math.pi / periods, persistent=False)

    def forward(self, noise: Tensor) -> Tensor:
        """(B, size) from ln σ / 4 of shape (B,)."""
        angles = torch.outer(noise, self.frequencies)
        return torch.cat([angles.cos(), angles.sin()], dim=1)


class ClassEmbedding(nn.Module):
    """A vector for every class and, in the last row, for the dropped condition; nothing without classes.

    In training the vector of each item is perturbed where `perturbation` is above 0: by Gaussian noise of deviation
    perturbation / √width, so of about that length whatever the width (Chen et al. 2024).
    """

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.classes = classes
        self.perturbation = 0.0
        self.table = nn.Embedding(classes + 1, width) if classes else None

    def forward(self, hidden: Tensor, labels: Tensor | None) -> Tensor:
        """`hidden` (B, width) plus the vector of each label; labels (B,) in [0, classes], None: all dropped."""
        if self.table is None:
            return unlabelled(hidden, labels)
        if labels is None:
            return hidden + self.table.weight[-1]
        return hidden + perturbed(self.table(labels), self.perturbation if self.training else 0.0)


def unlabelled(hidden: Tensor, labels: Tensor | None) -> Tensor:
    """The same, of a network without classes. ValueError where it is given labels."""
    if labels is not None:
        raise ValueError("this network was built with classes=0, but is given labels: pass labels=None")
    return hidden


def perturbed(embedded: Tensor, scale: float) -> Tensor:
    """Vectors (B, width), with Gaussian noise of length about `scale` on each where that is above 0."""
    if scale > 0:
        embedded = embedded + torch.randn_like(embedded) * (scale / math.sqrt(embedded.shape[1]))
    return embedded


class Embedding(nn.Module):
    """Noise level and condition as one vector (B, width): two layers on the noise features, the class added between."""

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.features = NoiseFeatures()
        self.first = nn.Linear(self.features.size, width)
        self.labels = ClassEmbedding(classes, width)
        self.second = nn.Linear(width, width)

    def forward(self, noise: Tensor, labels: Tensor | None) -> Tensor:
        """(B, width) from ln σ / 4 (B,) and labels (B,) or None."""
        hidden = self.labels(self.first(self.features(noise)), labels)
        return functional.silu(self.second(functional.silu(hidden)))


def zero(layer: Layer) -> Layer:
    """The same layer, starting at zero, so that what it ends starts without effect."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
