"""Ways to compute the same: as it is written, compiled, or compiled and replayed as a CUDA graph.

They differ by rounding alone, so none is in a key. What a way costs to prepare, and what a step takes then, is measured
once for a network on a kind of device and kept in the user's cache folder; a training takes the way that ends first,
and whoever resumes it takes the same. A step is one of training, or one evaluation of a denoiser by a sampler.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from difgen_cli import places
from difgen_cli.diffusion import DenoiserLike, loss
from difgen_cli.guidance import Around
from difgen_cli.perf.cache import remembered
from difgen_cli.train import Way

COMPILED: dict[str, dict[str, Any]] = {"compiled": {}, "graphed": {"mode": "reduce-overhead"}}
LEAST_STEPS = 200  # below which no way is asked for
LEAST_SECONDS = 240.0  # of steps as they are written, below which no other way can pay for its preparation
LEAST_PREPARATION = 1e-6  # seconds: nothing takes none
TRIAL_STEPS = 8
TRIAL_SECONDS = 2.0
MOST_NETWORKS = 64  # that one process keeps compiled

F = TypeVar("F", bound=Callable[..., Any])


def way(name: str, shape: tuple[int, ...], device: str) -> Way:
    """A way of training by its name, for images of a shape or points."""
    if name in COMPILED or device.startswith("cuda"):
        return Way(computed(loss, name), _layout(shape))
    return Way()


def computed(function: F, name: str) -> F:
    """A function computed in a way; as it is written where no compiler is found, or no graph can be had of it."""
    if name not in COMPILED:
        return function
    torch._dynamo.config.recompile_limit = MOST_NETWORKS
    torch._dynamo.config.suppress_errors = True
    compiled = torch.compile(function, dynamic=False, **COMPILED[name])
    if name != "graphed":
        return cast(F, compiled)

    def replayed(*arguments: Any) -> Any:
        torch.compiler.cudagraph_mark_step_begin()  # what the last step left may be written over
        return compiled(*arguments)

    return cast(F, replayed)


class Evaluated(Around):
    """A denoiser computed in a way for batches of `block` items, and as it is written for others."""

    def __init__(self, denoiser: DenoiserLike, name: str, block: int) -> None:
        super().__init__(denoiser)
        self.computed, self.block = computed(denoiser, name), block

    def __call__(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None, /) -> Tensor:
        if len(x) != self.block:
            return self.denoiser(x, sigma, labels)
        # A graph's output is its own memory, which the next replay writes over.
        return self.computed(x, sigma, labels).clone()


def _layout(shape: tuple[int, ...]) -> torch.memory_format:
    """The order in memory in which convolutions are fastest; on a CPU not so group norms, unless they are compiled."""
    return torch.channels_last if len(shape) == 3 else torch.contiguous_format


def possible(device: str) -> list[str]:
    """The ways of a device, the one that needs no preparation first."""
    return ["eager", *COMPILED] if device.startswith("cuda") else ["eager", "compiled"]


@dataclass(frozen=True)
class Cost:
    """What a way takes: seconds before the first step, and seconds a step from then on."""

    prepare: float
    step: float


def best(costs: Mapping[str, Cost], steps: int) -> str:
    """The way in which so many steps end first."""
    return min(costs, key=lambda way: costs[way].prepare + steps * costs[way].step)


def choose(
    about: dict[str, Any], steps: int, device: str, begin: Callable[[str], Callable[[], object]],
    say: Callable[[str], None],
) -> str:  # fmt: skip
    """The way in which `steps` steps of what `about` names end first, unless $DIFGEN_COMPILE says which.

    `begin(way)` gives a function that does one step of a run of its own.
    """
    if (wanted := places.compiling()) != "auto":
        return {"never": "eager", "always": "compiled"}[wanted]
    if steps < LEAST_STEPS:
        return "eager"

    def cost(way: str) -> Cost | None:
        known = remembered("steps", about | {"way": way}, {"prepare", "step"}, lambda: _tried(way, device, begin, say))
        return Cost(**known) if known else None

    costs = {"eager": cost("eager") or Cost(0.0, 0.0)}
    if steps * costs["eager"].step < LEAST_SECONDS:
        return "eager"
    costs |= {way: found for way in possible(device)[1:] if (found := cost(way))}
    chosen = best(costs, steps)
    each = ", ".join(f"{way} {1000 * c.step:.1f} ms after {c.prepare:.0f} s" for way, c in costs.items())
    say(f"a step: {each}; {steps:,} steps are done {chosen}")
    return chosen


def _tried(
    way: str, device: str, begin: Callable[[str], Callable[[], object]], say: Callable[[str], None]
) -> dict[str, float] | None:
    """The cost of a way, measured; None where it cannot be had: no compiler, or an operation that it does not know."""
    try:
        with torch._dynamo.config.patch(suppress_errors=False):
            return asdict(measure(begin(way), device))
    except Exception as error:
        first = (str(error).strip().splitlines() or [""])[0]
        say(f"steps cannot be {way} here ({type(error).__name__}: {first[:200]})")
        return None


def measure(step: Callable[[], object], device: str) -> Cost:
    """What a way takes, its first two steps counted as preparation beyond what a step takes."""
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
