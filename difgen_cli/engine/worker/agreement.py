"""Whether a function of a network, computed in another way, gives what it gives as it is written.

A compiler is a peer to be checked, not to be trusted: torch 2.13 compiles a network on a CPU whose forward values are
right and whose gradients are zero before an upsampling. So the value and the gradient of every parameter are compared,
one by one, on one real batch, before the first step that counts.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

Function = Callable[..., Tensor]  # of a denoiser and its other arguments: tensors or None

# Two orders of the same operations differ by about what a change of all inputs in their last digit makes: seen were 0.5
# to 2 times that, with either arithmetic. Where it is coarse (bf16, TF32), more would hide a gradient that is lacking.
TIMES_ROUNDING, TIMES_ROUNDING_COARSE = 16.0, 4.0
TF32_EPS = 2.0**-10
SHIFTS = 2  # how often all inputs are changed in their last digit
NAMED = 3  # parameters that a sentence names


@dataclass(frozen=True)
class Outcome:
    """What a function gave: its value, and by name the gradients of parameters and the buffers that it left."""

    value: Tensor
    gradients: dict[str, Tensor | None]
    buffers: dict[str, Tensor]


def disagreement(
    written: Function, other: Function, denoiser: Any, arguments: Sequence[Tensor | None], rounds: int = 1,
    layout: torch.memory_format | None = None,
) -> str | None:  # fmt: skip
    """What `other` computes wrong, in one sentence; None where rounding explains every difference from `written`.

    Both are called as `function(denoiser, *arguments)`, on copies of the denoiser in which no parameter is zero or
    constant, from the same random state, which is put back. Gradients are compared where they are recorded. `rounds`:
    how often `other` is called, each time compared, as a recorded graph is replayed only from the third call on.
    `layout`: the order in memory in which images and weights are where it is computed as written; None: as they are.

    What rounding explains is measured: by how much value and gradients move when every weight and every number of the
    arguments moves by its last digit, in the arithmetic that is used.
    """
    device = next((a.device for a in arguments if a is not None), torch.device("cpu"))
    digit, times = _rounding(device)
    with _repeated(device) as again:
        subject = _without_zeros(_copy(denoiser))
        trial, plain = _laid(_copy(subject), layout), [_laid(a, layout) for a in arguments]
        again()
        expected = _outcome(written, trial, plain)
        moved = []
        for shift in range(SHIFTS):
            generator = torch.Generator().manual_seed(shift)
            shifted = [a if a is None else _shifted(a, digit, generator) for a in plain]
            near = _laid(_copy(subject), layout)
            for parameter in _parameters(near).values():
                parameter.data.copy_(_shifted(parameter.data, digit, generator))
            again()
            moved.append(_outcome(written, near, shifted))
        for _ in range(rounds):
            again()
            difference = _compared(expected, _outcome(other, subject, arguments), moved, digit, times)
            if difference:
                return difference
    return None


def _compared(expected: Outcome, outcome: Outcome, moved: list[Outcome], digit: float, times: float) -> str | None:
    """The first kind of thing that differs: the value, then gradients, then buffers."""

    def wrong(a: Tensor | None, b: Tensor | None, others: list[Tensor | None]) -> str | None:
        return _wrong(a, b, [o for o in others if o is not None], digit, times)

    if not _finite(expected.value) or not all(g is None or _finite(g) for g in expected.gradients.values()):
        return "nothing can be compared, since the numbers are not finite as it is written"
    if why := wrong(expected.value, outcome.value, [o.value for o in moved]):
        return f"its value is {why}"
    for what, a, b, others in (
        ("the gradient", expected.gradients, outcome.gradients, [o.gradients for o in moved]),
        ("the state", expected.buffers, outcome.buffers, [o.buffers for o in moved]),
    ):
        bad = {name: why for name in a if (why := wrong(a[name], b.get(name), [o.get(name) for o in others]))}
        if bad:
            return _sentence(what, bad, len(a))
    return None


def _sentence(what: str, bad: dict[str, str], of: int) -> str:
    """`the gradient of 64 of 108 parameters is wrong: down.1.conv.weight (zero), … and 61 more`."""
    shown = [(name.removeprefix("denoiser.").removeprefix("network."), why) for name, why in list(bad.items())[:NAMED]]
    named = [f"{name} ({why})" for name, why in shown]
    more = [f"{len(bad) - NAMED} more"] if len(bad) > NAMED else []
    return f"{what} of {len(bad)} of {of} parameters is wrong: {', '.join(named + more)}"


def _wrong(a: Tensor | None, b: Tensor | None, moved: list[Tensor], digit: float, times: float) -> str | None:
    """How b differs from a by more than rounding explains; None where it does not."""
    if a is None or b is None:
        return None if a is b else "missing" if b is None else "there, and should not be"
    if a.shape != b.shape:
        return f"of shape {tuple(b.shape)} in place of {tuple(a.shape)}"
    if not _finite(b):
        return "not finite"
    size, apart = _largest(a), _largest(a.double() - b.double())
    rounding = max([digit * size, *(_largest(a.double() - m.double()) for m in moved)])
    if _largest(b) == 0 and size > rounding:  # what is nothing but rounding moves by all of its size
        return "zero"
    if apart <= times * rounding:
        return None
    return f"off by {apart / size:.2g} of its size" if size else "not zero"


def _largest(x: Tensor) -> float:
    return float(x.abs().max()) if x.numel() else 0.0


def _finite(x: Tensor) -> bool:
    return math.isfinite(_largest(x))


def _rounding(device: torch.device) -> tuple[float, float]:
    """The last digit of the arithmetic as a share of a number, and how many times what it moves is rounding."""
    if torch.is_autocast_enabled(device.type):
        return torch.finfo(torch.get_autocast_dtype(device.type)).eps, TIMES_ROUNDING_COARSE
    if device.type == "cuda" and (torch.backends.cudnn.allow_tf32 or torch.backends.cuda.matmul.allow_tf32):
        return TF32_EPS, TIMES_ROUNDING_COARSE
    return torch.finfo(torch.float32).eps, TIMES_ROUNDING


def _copy(denoiser: Any) -> Any:
    """A copy of a network; what has no parameters is not changed by being called."""
    return copy.deepcopy(denoiser) if _parameters(denoiser) else denoiser


def _laid(x: Any, layout: torch.memory_format | None) -> Any:
    """Images, or a network, in an order in memory; anything else as it is."""
    if layout is None or not isinstance(x, nn.Module | Tensor):
        return x
    if isinstance(x, Tensor):
        return x.contiguous(memory_format=layout) if x.dim() == 4 else x
    return x.to(memory_format=layout)  # type: ignore[call-overload]


def _parameters(denoiser: Any) -> dict[str, nn.Parameter]:
    return dict(denoiser.named_parameters()) if isinstance(denoiser, nn.Module) else {}


@torch.no_grad()
def _without_zeros(denoiser: Any) -> Any:
    """The same denoiser, changed: what is zero or constant would hide what lies before it, so it gets seeded noise."""
    generator = torch.Generator().manual_seed(0)
    for parameter in _parameters(denoiser).values():
        if not parameter.is_floating_point() or not parameter.numel():
            continue
        constant = bool((parameter == parameter.flatten()[0]).all())
        # Of the size that keeps what passes through a layer of about the same size.
        fan = math.prod(parameter.shape[1:]) if parameter.dim() > 1 else 100
        noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float32).to(parameter) / math.sqrt(fan)
        parameter.add_(noise if constant else torch.where(parameter == 0, noise, torch.zeros_like(noise)))
    return denoiser


def _shifted(x: Tensor, digit: float, generator: torch.Generator) -> Tensor:
    """Every number moved up or down by its last digit; whole numbers, as labels are, stay."""
    if not x.is_floating_point():
        return x
    sign = torch.randint(2, x.shape, generator=generator, dtype=torch.int8).to(x.device) * 2 - 1
    return x * (1 + digit * sign.to(x.dtype))


def _outcome(function: Function, denoiser: Any, arguments: Sequence[Tensor | None]) -> Outcome:
    parameters = {name: p for name, p in _parameters(denoiser).items() if p.requires_grad}
    for parameter in parameters.values():
        parameter.grad = None
    value = function(denoiser, *arguments)
    gradients: dict[str, Tensor | None] = {}
    if parameters and value.requires_grad:
        with torch.autocast(value.device.type, enabled=False):  # as training does it
            value.sum().backward()
        gradients = {name: p.grad if p.grad is None else p.grad.clone() for name, p in parameters.items()}
    buffers = dict(denoiser.named_buffers()) if isinstance(denoiser, nn.Module) else {}
    return Outcome(value.detach().clone(), gradients, {name: b.detach().clone() for name, b in buffers.items()})


@contextmanager
def _repeated(device: torch.device) -> Iterator[Callable[[], None]]:
    """torch's random state is what it was, each time that what this gives is called, and after."""
    cuda = device.type == "cuda"
    on_host, on_device = torch.get_rng_state(), torch.cuda.get_rng_state(device) if cuda else None

    def again() -> None:
        torch.set_rng_state(on_host)
        if on_device is not None:
            torch.cuda.set_rng_state(on_device, device)

    try:
        yield again
    finally:
        again()
