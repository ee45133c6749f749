"""The parameters of a network as one array: Adam or an average then passes over all of them in one go.

Every parameter stays what it is, a view of its part of the array; the numbers between two parts stay zero.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adam import adam

ALIGNED = 16  # numbers to which a part is rounded up: each begins at a cache line, as an array of its own would


@dataclass(frozen=True)
class Flat:
    """`array`, of which all the `parameters` are parts."""

    array: Tensor
    parameters: list[nn.Parameter]

    def gather(self) -> None:
        """Collect the gradients of the parameters in `gradient`; one that has none counts as zero, as `Idle` tells."""
        places, gradients = self.gradients, [p.grad for p in self.parameters]
        given = [(to, new) for to, new in zip(places, gradients, strict=True) if new is not None]
        if len(given) < len(places):
            torch._foreach_zero_(places)
        if given:
            torch._foreach_copy_([to for to, _ in given], [new for _, new in given])

    @cached_property
    def gradient(self) -> Tensor:
        """As `gather` has found it last: like the array."""
        return torch.zeros_like(self.array)

    @cached_property
    def gradients(self) -> list[Tensor]:
        """Those of the parameters, as parts of `gradient`."""
        return self.parts(self.gradient)

    def parts(self, array: Tensor) -> list[Tensor]:
        """The parts of another array like it: views in the shapes and memory formats of the parameters."""
        views, start = [], 0
        for parameter in self.parameters:
            views.append(array.as_strided(parameter.shape, parameter.stride(), start))
            start += _room(parameter)
        return views


def flatten(network: nn.Module) -> list[Flat]:
    """Move the trainable parameters of `network` into one array for each of their types.

    Device, values, shapes and memory formats stay. Gradients stay with the parameters, until `gather`.
    """
    groups: dict[tuple[torch.device, torch.dtype], list[nn.Parameter]] = {}
    for parameter in network.parameters():
        if parameter.requires_grad:
            parameter.data = _dense(parameter.detach())
            groups.setdefault((parameter.device, parameter.dtype), []).append(parameter)
    return [_flat(parameters) for parameters in groups.values()]


@torch.no_grad()
def _flat(parameters: list[nn.Parameter]) -> Flat:
    flat = Flat(parameters[0].detach().new_zeros(sum(map(_room, parameters))), parameters)
    for parameter, value in zip(parameters, flat.parts(flat.array), strict=True):
        parameter.data = value.copy_(parameter)
    return flat


def _room(parameter: Tensor) -> int:
    """How many numbers of the array a parameter takes."""
    return -(-parameter.numel() // ALIGNED) * ALIGNED


def _dense(parameter: Tensor) -> Tensor:
    """The same, filling its memory: as it is, as channels last is, or contiguous."""
    return torch.empty_like(parameter, memory_format=torch.preserve_format).copy_(parameter)


class Idle:
    """Which parameters no loss trains: for how many of the first steps in a row each has had no gradient.

    None at all, or zero in every number. Layers that start at zero let no gradient through to what lies before them
    until they have moved, within two steps; whoever has none in the ten steps after that is frozen.
    """

    SETTLING, STEPS = 2, 10

    def __init__(self, flats: list[Flat]) -> None:
        self.flats, self.until = flats, self.SETTLING + self.STEPS  # the step before which gradients are looked at
        self.conditional = True
        self.counts = [torch.zeros(len(flat.parameters), device=flat.array.device) for flat in flats]

    @torch.no_grad()
    def look(self, step: int) -> None:
        """Count what was gathered in a step, without waiting for the device."""
        for flat, counts in zip(self.flats, self.counts, strict=True) if step < self.until else ():
            sizes = torch.stack(torch._foreach_norm(flat.gradients, 1))
            counts.add_(1).mul_(sizes == 0)

    def frozen(self, network: nn.Module, steps: int) -> tuple[str, ...] | None:
        """The names of those of a network after so many steps, None too early; waits for the device.

        Tables of conditions are not named where there is no condition: nothing is looked up in them.
        """
        if steps < self.until:
            return None
        idle = {
            id(parameter)
            for flat, counts in zip(self.flats, self.counts, strict=True)
            for parameter, n in zip(flat.parameters, counts.tolist(), strict=True)
            if n >= self.STEPS and parameter.numel()
        }
        tables = () if self.conditional else (m.weight for m in network.modules() if isinstance(m, nn.Embedding))
        idle -= {id(table) for table in tables}
        return tuple(name for name, parameter in network.named_parameters() if id(parameter) in idle)

    def state_dict(self) -> dict[str, Any]:
        """The counts of each array's parameters; the tensors are the live ones."""
        return {"counts": dict(enumerate(self.counts)), "until": self.until}

    def load_state_dict(self, saved: dict[str, Any] | None, steps: int) -> None:
        """Go on from counts after so many steps; count from there on where there are none, as 0.1.0 left none."""
        self.until = int(saved["until"]) if saved else steps + self.SETTLING + self.STEPS
        for place, counts in (saved or {"counts": {}})["counts"].items():
            self.counts[place].copy_(counts)


class Sgd:
    """Stochastic gradient descent with momentum, v ← μ v + g and w ← w − lr v, on arrays.

    Weight decay is decoupled, as that of `Adam`: first w ← w − lr λ w.
    """

    def __init__(self, flats: list[Flat], weight_decay: float = 0.0, momentum: float = 0.0) -> None:
        self.flats, self.weight_decay, self.momentum = flats, weight_decay, momentum
        self.velocities = [torch.zeros_like(flat.array) for flat in flats]

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """Move the arrays by the gradients that they have gathered, at a learning rate."""
        arrays = [flat.array for flat in self.flats]
        torch._foreach_mul_(self.velocities, self.momentum)
        torch._foreach_add_(self.velocities, [flat.gradient for flat in self.flats])
        torch._foreach_mul_(arrays, 1 - lr * self.weight_decay)
        torch._foreach_add_(arrays, self.velocities, alpha=-lr)

    def state_dict(self) -> dict[str, Any]:
        """The velocity of every parameter in turn; the tensors are the live ones."""
        parts = [part for flat, v in zip(self.flats, self.velocities, strict=True) for part in flat.parts(v)]
        return {"state": {place: {"momentum_buffer": part} for place, part in enumerate(parts)}}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Go on from a state, in whatever memory formats; KeyError or RuntimeError where it does not fit."""
        for place, parts in self.state_dict()["state"].items():
            parts["momentum_buffer"].copy_(saved["state"][place]["momentum_buffer"])


class Adam:
    """Adam with decoupled weight decay (Kingma & Ba 2015; Loshchilov & Hutter 2019) on arrays, by torch's fused kernel.

    `torch.optim.AdamW` does the same, and imports torch's compiler first: seconds of every process.
    """

    BETAS, EPS = (0.9, 0.999), 1e-8

    def __init__(self, flats: list[Flat], weight_decay: float = 0.0) -> None:
        self.flats, self.weight_decay = flats, weight_decay
        self.means = [torch.zeros_like(flat.array) for flat in flats]
        self.squares = [torch.zeros_like(flat.array) for flat in flats]
        self.steps = [flat.array.new_zeros((), dtype=torch.float32) for flat in flats]

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """Move the arrays by the gradients that they have gathered, at a learning rate."""
        arrays, gradients = [flat.array for flat in self.flats], [flat.gradient for flat in self.flats]
        adam(
            arrays, gradients, self.means, self.squares, [], self.steps, fused=True, decoupled_weight_decay=True,
            amsgrad=False, beta1=self.BETAS[0], beta2=self.BETAS[1], lr=lr, weight_decay=self.weight_decay,
            eps=self.EPS, maximize=False,
        )  # fmt: skip

    def state_dict(self) -> dict[str, Any]:
        """The state of every parameter in turn, as `torch.optim.AdamW` names it; the tensors are the live ones."""
        state: dict[int, dict[str, Tensor]] = {}
        for flat, mean, square, step in zip(self.flats, self.means, self.squares, self.steps, strict=True):
            for of_mean, of_square in zip(flat.parts(mean), flat.parts(square), strict=True):
                state[len(state)] = {"step": step, "exp_avg": of_mean, "exp_avg_sq": of_square}
        return {"state": state}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Go on from a state, in whatever memory formats; KeyError or RuntimeError where it does not fit."""
        live = self.state_dict()["state"]
        for place, moments in live.items():
            for name, value in moments.items():
                value.copy_(saved["state"][place][name])
