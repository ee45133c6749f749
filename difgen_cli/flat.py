"""The parameters of a network as one array: an optimizer or an average then passes over all of them in one go.

Every parameter stays what it is, a view of its part of the array; the numbers between two parts stay zero.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

ALIGNED = 16  # numbers to which a part is rounded up: each begins at a cache line, as an array of its own would


@dataclass(frozen=True)
class Flat:
    """`array`, of which all the `parameters` are parts."""

    array: nn.Parameter
    parameters: list[nn.Parameter]

    def gather(self) -> None:
        """Give the array the gradients of its parameters; one that has none counts as zero."""
        places, gradients = self._gradients, [p.grad for p in self.parameters]
        known = [(to, new) for to, new in zip(places, gradients, strict=True) if new is not None]
        if len(known) < len(places):
            torch._foreach_zero_(places)
        if known:
            torch._foreach_copy_([to for to, _ in known], [new for _, new in known])

    @cached_property
    def _gradients(self) -> list[Tensor]:
        self.array.grad = torch.zeros_like(self.array)
        return self.parts(self.array.grad)

    def parts(self, array: Tensor) -> list[Tensor]:
        """The parts of another array like it: views in the shapes and memory formats of the parameters."""
        views, start = [], 0
        for parameter in self.parameters:
            views.append(array.as_strided(parameter.shape, parameter.stride(), start))
            start += _room(parameter)
        return views

    def joined(self, parts: list[Tensor]) -> Tensor:
        """Another array like it, with these parts, of whatever memory formats."""
        array = torch.zeros_like(self.array, requires_grad=False)
        for view, part in zip(self.parts(array), parts, strict=True):
            view.copy_(part)
        return array


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
    first = parameters[0].detach()
    flat = Flat(nn.Parameter(first.new_zeros(sum(map(_room, parameters)))), parameters)
    for parameter, value in zip(parameters, flat.parts(flat.array.detach()), strict=True):
        parameter.data = value.copy_(parameter)
    return flat


def _room(parameter: Tensor) -> int:
    """How many numbers of the array a parameter takes."""
    return -(-parameter.numel() // ALIGNED) * ALIGNED


def _dense(parameter: Tensor) -> Tensor:
    """The same, filling its memory: as it is, as channels last is, or contiguous."""
    return torch.empty_like(parameter, memory_format=torch.preserve_format).copy_(parameter)


def per_parameter(saved: dict[str, Any], flats: list[Flat]) -> dict[str, Any]:
    """The state dict of an optimizer of the arrays as that of one of the parameters: the arrays' parts are views."""
    state: dict[int, dict[str, Any]] = {}
    for place, flat in enumerate(flats):
        known = saved["state"].get(place, {"step": None})
        parts = {name: flat.parts(value) for name, value in known.items() if name != "step"}
        for at in range(len(flat.parameters) if parts else 0):
            state[len(state)] = {"step": known["step"], **{name: views[at] for name, views in parts.items()}}
    return saved | {"state": state, "param_groups": _over(saved, sum(len(f.parameters) for f in flats))}


def of_arrays(saved: dict[str, Any], flats: list[Flat]) -> dict[str, Any]:
    """The state dict of an optimizer of the parameters as that of one of the arrays."""
    state, start = {}, 0
    for place, flat in enumerate(flats):
        each = [saved["state"][start + at] for at in range(len(flat.parameters)) if saved["state"]]
        start += len(flat.parameters)
        if each:
            names = set(each[0]) - {"step"}
            state[place] = {"step": each[0]["step"], **{n: flat.joined([e[n] for e in each]) for n in sorted(names)}}
    return saved | {"state": state, "param_groups": _over(saved, len(flats))}


def _over(saved: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """The only group of parameters, as one of so many."""
    (group,) = saved["param_groups"]
    return [group | {"params": list(range(count))}]
