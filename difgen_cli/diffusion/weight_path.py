"""How far the weights of a network have gone in training: the sum of the lengths of its steps (Shariatian et al. 2025).

Beside the distance between two snapshots this tells a training that goes straight from one that goes to and fro.
"""

import math

import torch
from torch import Tensor

from difgen_cli.diffusion.optimizer import Flat

PART = 1 << 18  # numbers whose squares are added up in float32: of more a CPU would lose digits


class WeightPath:
    """Σ ‖w_t − w_{t−1}‖ over steps, in float64 on the device, which nobody waits for.

    The difference is taken of the weights themselves, whatever moved them. It takes one more copy of the weights.
    """

    def __init__(self, flats: list[Flat]) -> None:
        self.arrays = [flat.array for flat in flats]
        self.before = [torch.zeros_like(array) for array in self.arrays]
        self.parts = [part for array in self.before for part in array.split(PART)]
        self.total = torch.zeros((), dtype=torch.float64, device=self.arrays[0].device if self.arrays else None)

    def leave(self) -> None:
        """Remember where the weights are before a step."""
        for before, array in zip(self.before, self.arrays, strict=True):
            before.copy_(array)

    def arrive(self) -> None:
        """Add the length of the step that has moved the weights since `leave`."""
        for before, array in zip(self.before, self.arrays, strict=True):
            before.sub_(array)
        if self.parts:
            self.total.add_(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(self.parts))))

    def restore(self, saved: Tensor | None) -> None:
        """Go on from a length; from None, where the steps so far were not measured, none is known from here on."""
        self.total.copy_(torch.tensor(math.nan) if saved is None else saved)

    @property
    def length(self) -> float | None:
        """The length as a number, None where not all steps were measured; waits for the device."""
        total = float(self.total) if self.arrays else math.nan
        return total if math.isfinite(total) else None
