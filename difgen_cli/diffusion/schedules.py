"""Noise levels: of a sampler, and of the field's schedules, where a timestep is a σ and a σ a timestep.

s = σ / u is the noise per unit of signal, √(1 − ᾱ) / √ᾱ of a schedule that keeps the variance (Ho et al. 2020).
"""

import math

import torch
from torch import Tensor, nn

STEPS = 1000  # timesteps of the published schedules
BETAS = (1e-4, 0.02)  # linear: β from the first timestep to the last (Ho et al. 2020)
SCALED_BETAS = (0.00085, 0.012)  # scaled_linear: linear in √β (Rombach et al. 2022)
COSINE_OFFSET, MOST_BETA = 0.008, 0.999  # cosine (Nichol & Dhariwal 2021)
SCHEDULES = ("linear", "scaled_linear", "cosine")


def levels(schedule: str, steps: int = STEPS) -> Tensor:
    """s of every timestep, ascending: (steps,) float64. Fewer steps than 1000 have larger β, so that the ends stay."""
    if schedule == "cosine":
        return levels_from(betas(schedule, steps))
    return levels_from(betas(schedule, steps) * (STEPS / steps))


def levels_from(betas: Tensor) -> Tensor:
    """s of every timestep, from its β: (steps,) float64, like `betas`."""
    return torch.expm1(-torch.log1p(-betas).cumsum(0)).sqrt()


def betas(schedule: str, steps: int = STEPS, ends: tuple[float, float] | None = None) -> Tensor:
    """β of every timestep: (steps,) float64; `ends` replace the first and last of linear and scaled_linear.

    Raises ValueError for another schedule, and for the ends of cosine, which has none.
    """
    if schedule == "cosine" and ends is None:
        kept = cosine(torch.linspace(0, 1, steps + 1, dtype=torch.float64))
        return (1 - kept[1:] / kept[:-1]).clamp(max=MOST_BETA)
    if schedule == "linear":
        return torch.linspace(*(ends or BETAS), steps, dtype=torch.float64)
    if schedule == "scaled_linear":
        first, last = ends or SCALED_BETAS
        return torch.linspace(math.sqrt(first), math.sqrt(last), steps, dtype=torch.float64).square()
    if schedule == "cosine":
        raise ValueError("the schedule cosine has no first and last β: leave them out")
    raise ValueError(f"schedule must be one of {', '.join(SCHEDULES)}, not {schedule!r}")


def cosine(t: Tensor) -> Tensor:
    """ᾱ at time t in [0, 1] of the cosine schedule, as a share of that at 0."""
    first = math.cos(COSINE_OFFSET / (1 + COSINE_OFFSET) * math.pi / 2) ** 2
    return ((t + COSINE_OFFSET) / (1 + COSINE_OFFSET) * (math.pi / 2)).cos().square() / first


def noise_levels(steps: int, rho: float, sigma_min: float, sigma_max: float, sigma_data: float) -> list[float]:
    """Absolute σ₀ > … > σ_steps = 0: `steps` levels even in σ^(1/ρ), then zero (Karras 2022, eq. 5)."""
    if sigma_min >= sigma_max:
        raise ValueError(f"sigma_min must lie below sigma_max, not {sigma_min} against {sigma_max}")
    first, last = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    places = (step / max(1, steps - 1) for step in range(steps))
    return [sigma_data * (first + place * (last - first)) ** rho for place in places] + [0.0]


class Timesteps(nn.Module):
    """Which timestep a level s is, between two of them by linear interpolation in ln s.

    Whole timesteps alone would be coarse: of the linear schedule they are 20 % apart at s = 0.02.
    """

    log_levels: Tensor

    def __init__(self, levels: Tensor) -> None:
        """levels: s of every timestep, ascending, (steps,)."""
        super().__init__()
        self.register_buffer("log_levels", levels.log().float(), persistent=False)

    @property
    def range(self) -> tuple[float, float]:
        """The least and the largest s of the schedule."""
        return float(self.log_levels[0].exp()), float(self.log_levels[-1].exp())

    def forward(self, s: Tensor) -> Tensor:
        """Timesteps from 0 to the last, (B,) float32, of s (B,); those outside of the schedule are its ends."""
        log_s = s.log()
        above = torch.searchsorted(self.log_levels, log_s).clamp(1, len(self.log_levels) - 1)
        lower, upper = self.log_levels[above - 1], self.log_levels[above]
        share = ((log_s - lower) / (upper - lower)).clamp(0, 1)
        return above - 1 + share
