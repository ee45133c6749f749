"""Modes of computing the same: as it is written, compiled, or compiled and replayed as a CUDA graph.

They differ by rounding alone, so none is in a key. That is not taken on trust: before a function of a network is
computed in a mode, the mode is checked (`agreement`), and where it computes something else, or cannot be had, the
function is computed as it is written, and one sentence says so. Everything that is compiled passes through `computed`.

What a mode costs to prepare, and what a step takes then, is measured once for a network on a kind of device and kept in
the user's cache folder, as is a refusal; a training takes the mode that ends first, and whoever resumes it takes the
same. A step is one of training, or one evaluation of a denoiser by a sampler.
"""

from __future__ import annotations

import gc
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from difgen_cli import config
from difgen_cli.diffusion import DenoiserLike
from difgen_cli.diffusion.state import ExecutionMode, Step
from difgen_cli.engine.cost.cache import decided
from difgen_cli.engine.worker.agreement import Function, disagreement
from difgen_cli.guidance import Around

VERSION = 3  # of what is remembered of a mode; 1 was not checked, and what 2 refused may have been dropout's old form
CHECKED = 1  # of the check, where a trajectory says that it was made
COMPILED: dict[str, dict[str, Any]] = {"compiled": {}, "graphed": {"mode": "reduce-overhead"}}
ROUNDS = {"graphed": 3}  # calls that are checked: a graph is recorded at the second, and replayed from the third on
LEAST_STEPS = 200  # below which no mode is asked for
LEAST_SECONDS = 240.0  # of steps as they are written, below which no other mode can pay for its preparation
LEAST_PREPARATION = 1e-6  # seconds: nothing takes none
TRIAL_STEPS = 8
TRIAL_SECONDS = 2.0
MOST_NETWORKS = 64  # that one process keeps compiled


class WrongError(RuntimeError):
    """A mode computes something else than what is written; one sentence."""


def training_mode(name: str, shape: tuple[int, ...], device: str, *, strict: bool = False,
        say: Callable[[str], None] = print) -> ExecutionMode:  # fmt: skip
    """A mode of training by its name, for images of a shape or points; strict and say as `computed` has them."""
    plain = layout(shape, device)
    if name in COMPILED:
        return ExecutionMode(Wrap(name, strict, say, plain), layout(shape, device, compiled=True))
    return ExecutionMode(layout=plain)


@dataclass
class Wrap:
    """A step of training computed in a mode; strict, say and layout as `computed` has them."""

    name: str
    strict: bool
    say: Callable[[str], None]
    layout: torch.memory_format
    step: Step | None = None  # the last one that was wrapped

    def __call__(self, step: Step) -> Step:
        self.step = computed(step, self.name, strict=self.strict, say=self.say, layout=self.layout)
        return self.step


def used(mode: ExecutionMode) -> str:
    """The mode in which a training was computed, known from its first step on."""
    step = mode.wrap.step if isinstance(mode.wrap, Wrap) else None
    return step.used if isinstance(step, Checked) else "eager"


def computed(
    function: Function, name: str, *, strict: bool = False, say: Callable[[str], None] = print,
    layout: torch.memory_format | None = None,
) -> Function:  # fmt: skip
    """A function of a denoiser and tensors, computed in a mode that is checked at its first call.

    Where the mode computes something else, or cannot be had, the function is computed as it is written, and `say` hears
    one sentence. Strict: that call raises instead, WrongError or the compiler's own error. `layout`: the order in
    memory in which it is computed as it is written; None: the order of what it is called with.
    """
    return Checked(function, name, strict, say, layout) if name in COMPILED else function


class Checked:
    """A function in a mode, once for each denoiser and each kind of tensors that it is called with checked."""

    def __init__(
        self, function: Function, name: str, strict: bool, say: Callable[[str], None],
        layout: torch.memory_format | None,
    ) -> None:  # fmt: skip
        self.written, self.name, self.strict, self.say, self.layout = function, name, strict, say, layout
        self.other = _compiled(function, name)
        self.refused: str | None = None
        self.denoiser: Any = None  # that the kinds were checked with
        self.kinds: set[Any] = set()

    @property
    def used(self) -> str:
        """The mode in which it is computed."""
        return "eager" if self.refused else self.name

    def __call__(self, denoiser: Any, *arguments: Tensor | None) -> Tensor:
        if not self.refused:
            self._check(denoiser, arguments)
        return (self.written if self.refused else self.other)(denoiser, *arguments)

    def _check(self, denoiser: Any, arguments: tuple[Tensor | None, ...]) -> None:
        kind = (
            torch.is_grad_enabled(), getattr(denoiser, "training", False),
            *(None if a is None else (a.shape, a.stride(), a.dtype) for a in arguments),
        )  # fmt: skip
        if denoiser is not self.denoiser:
            self.denoiser, self.kinds = denoiser, set()
        if kind in self.kinds:
            return
        try:
            # Else a function that cannot be compiled would be computed as it is written, and called compiled.
            with torch._dynamo.config.patch(suppress_errors=False):
                rounds = ROUNDS.get(self.name, 1)
                wrong = disagreement(self.written, self.other, denoiser, arguments, rounds, self.layout)
            if wrong:
                raise WrongError(f"{self.name} here, {wrong}; it is computed as it is written")
        except Exception as error:
            if self.strict:
                raise
            self.refused = str(error) if isinstance(error, WrongError) else _cannot_be(self.name, error)
            self.say(self.refused)
        self.kinds.add(kind)


def _compiled(function: Function, name: str) -> Function:
    torch._dynamo.config.recompile_limit = MOST_NETWORKS
    torch._dynamo.config.suppress_errors = True  # of later calls, of kinds that were checked
    torch._inductor.config.fallback_random = True  # dropout and noise draw what they draw as it is written
    compiled: Function = torch.compile(function, dynamic=False, **COMPILED[name])
    if name != "graphed":
        return compiled

    def replayed(*arguments: Any) -> Tensor:
        torch.compiler.cudagraph_mark_step_begin()  # what the last step left may be written over
        return compiled(*arguments)

    return replayed


def _cannot_be(name: str, error: Exception) -> str:
    first = (str(error).strip().splitlines() or [""])[0]
    return f"steps cannot be {name} here ({type(error).__name__}: {first[:200]})"


def evaluate(denoiser: DenoiserLike, x: Tensor, sigma: Tensor, labels: Tensor | None) -> Tensor:
    """D(x; σ, label), like x."""
    return denoiser(x, sigma, labels)


class Evaluated(Around):
    """A denoiser computed in a mode for batches of `block` items, and as it is written for others."""

    def __init__(self, denoiser: DenoiserLike, name: str, block: int, *, strict: bool = False,
                 say: Callable[[str], None] = print) -> None:  # fmt: skip
        super().__init__(denoiser)
        self.computed, self.block = computed(evaluate, name, strict=strict, say=say), block

    @property
    def used(self) -> str:
        """The mode in which blocks are computed, known from the first one on."""
        return self.computed.used if isinstance(self.computed, Checked) else "eager"

    def __call__(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None, /) -> Tensor:
        if len(x) != self.block:
            return self.denoiser(x, sigma, labels)
        # A graph's output is its own memory, which the next replay writes over.
        return self.computed(self.denoiser, x, sigma, labels).clone()


def layout(shape: tuple[int, ...], device: str, *, compiled: bool = False) -> torch.memory_format:
    """The order in memory of images and weights, in training and in sampling: that in which convolutions are fastest.

    On a CPU group norms are slower in it than convolutions gain, unless they are compiled. That it pays on a GPU where
    nothing is compiled has not been measured: benchmarks/card.py does.
    """
    fast = len(shape) == 3 and (compiled or device.startswith("cuda"))
    return torch.channels_last if fast else torch.contiguous_format


def possible(device: str) -> list[str]:
    """The modes of a device, the one that needs no preparation first."""
    return ["eager", *COMPILED] if device.startswith("cuda") else ["eager", "compiled"]


@dataclass(frozen=True)
class Cost:
    """What a mode takes: seconds before the first step, and seconds a step from then on."""

    prepare: float
    step: float


def best(costs: Mapping[str, Cost], steps: int) -> str:
    """The mode in which so many steps end first."""
    return min(costs, key=lambda mode: costs[mode].prepare + steps * costs[mode].step)


Begin = Callable[[str], Callable[[], object]]  # one step, again and again, of a run of its own, strictly in a mode


def choose_mode(about: dict[str, Any], steps: int, device: str, begin: Begin, say: Callable[[str], None]) -> str:
    """The mode in which `steps` steps of what `about` names end first, unless $DIFGEN_COMPILE says which.

    Any mode but `eager` has been checked: one that computes something else, or cannot be had, is not chosen.
    """
    wanted = config.compiling()
    if wanted == "always":
        return confirmed("compiled", about, device, begin, say)
    if wanted == "never" or steps < LEAST_STEPS:
        return "eager"
    costs = {"eager": _cost("eager", about, device, begin, say) or Cost(0.0, 0.0)}
    if steps * costs["eager"].step < LEAST_SECONDS:
        return "eager"
    costs |= {mode: cost for mode in possible(device)[1:] if (cost := _cost(mode, about, device, begin, say))}
    chosen = best(costs, steps)
    each = ", ".join(f"{mode} {1000 * c.step:.1f} ms after {c.prepare:.0f} s" for mode, c in costs.items())
    say(f"a step: {each}; {steps:,} steps are done {chosen}")
    return chosen


def confirmed(mode: str, about: dict[str, Any], device: str, begin: Begin, say: Callable[[str], None]) -> str:
    """A mode that somebody else has chosen, where it is right here; `eager` elsewhere."""
    return mode if mode in COMPILED and _cost(mode, about, device, begin, say) else "eager"


def _cost(mode: str, about: dict[str, Any], device: str, begin: Begin, say: Callable[[str], None]) -> Cost | None:
    """What a mode takes, as remembered or measured; None, and one sentence said, where it is wrong or cannot be had."""
    about = about | {"way": mode, "version": VERSION}
    measured = decided("steps", about, {"prepare", "step"}, lambda: _tried(mode, device, begin, say))
    if isinstance(measured, str):
        say(measured)
        return None
    return Cost(**measured) if measured else None


def _tried(mode: str, device: str, begin: Begin, say: Callable[[str], None]) -> dict[str, float] | str | None:
    """The cost of a mode, measured; the sentence that refuses it where it computes something else.

    None where it cannot be had, as without a compiler: that may be another time.
    """
    try:
        return asdict(measure(begin(mode), device))
    except WrongError as error:
        return str(error)
    except Exception as error:
        say(_cannot_be(mode, error))
        return None
    finally:
        forget(device)


def forget(device: str) -> None:
    """Leave nothing of what was computed here: neither compiled code, nor the memory of graphs that nobody replays."""
    if "torch._dynamo" in sys.modules:
        torch._dynamo.reset()
    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.empty_cache()


def measure(step: Callable[[], object], device: str) -> Cost:
    """What a mode takes, its first two steps counted as preparation beyond what a step takes."""
    seconds = [_timed(step, device) for _ in range(2)]
    first = sum(seconds)
    while len(seconds) < 3 or (len(seconds) < 2 + TRIAL_STEPS and sum(seconds) - first < TRIAL_SECONDS):
        seconds.append(_timed(step, device))
    usual = statistics.median(seconds[2:])
    return Cost(max(LEAST_PREPARATION, first - 2 * usual), usual)


def _timed(step: Callable[[], object], device: str) -> float:
    start = time.perf_counter()
    step()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - start
