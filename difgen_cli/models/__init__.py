"""Networks: `build(shape, classes, *, ...)` gives F of the preconditioning, `forward(x, noise, labels)` like x.

`shape` is (C, H, W) or (D,); `classes` 0 means unconditional. x is scaled by c_in, `noise` is c_noise = ln σ / 4 of
shape (B,), `labels` (B,) int64 or None. A network has an attribute `classes`; its label `classes` is the dropped
condition, and so is `labels=None`.
"""

import math

import torch
from torch import Tensor, nn

VERSION = 1


class Embedding(nn.Module):
    """Noise level and condition as one vector (B, width): Fourier features, a class embedding added, two layers."""

    frequencies: Tensor

    def __init__(self, classes: int, width: int, features: int = 32) -> None:
        super().__init__()
        self.classes = classes
        # ln σ / 4 spans about ±1.5; periods from 16 down to 1/4 resolve σ to a few per cent without aliasing.
        periods = torch.logspace(4, -2, features, base=2.0)
        self.register_buffer("frequencies", 2 * math.pi / periods, persistent=False)
        self.noise = nn.Linear(2 * features, width)
        self.labels = nn.Embedding(classes + 1, width) if classes else None  # the last row: the dropped condition
        self.out = nn.Linear(width, width)

    def forward(self, noise: Tensor, labels: Tensor | None) -> Tensor:
        """(B, width) from ln σ / 4 (B,) and labels (B,) in [0, classes], `classes` being the dropped condition."""
        angles = torch.outer(noise, self.frequencies)
        hidden = self.noise(torch.cat([angles.cos(), angles.sin()], dim=1))
        if self.labels is not None:
            hidden = hidden + self.labels(
                torch.full_like(noise, self.classes, dtype=torch.int64) if labels is None else labels
            )
        elif labels is not None:
            raise ValueError("this network was built with classes=0, but is given labels")
        return nn.functional.silu(self.out(nn.functional.silu(hidden)))
