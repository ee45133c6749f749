"""What a card computes: the same twice, the same in every mode, as precisely as is asked, and the same as a CPU."""

from __future__ import annotations

import copy
import io
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from prove import Line, Setup
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from difgen_cli import sampling
from difgen_cli.diffusion import Denoiser
from difgen_cli.diffusion.precision import arithmetic, products, repeatable
from difgen_cli.diffusion.randomness import initialise
from difgen_cli.diffusion.state import EAGER, ExecutionMode, TrainingState
from difgen_cli.diffusion.training import train
from difgen_cli.engine.plugins import Library
from difgen_cli.engine.worker import modes
from difgen_cli.models import dit, unet

SIGMA_DATA, IMAGES, CLASSES = 0.5, 512, 10
# Largest relative errors of products: float32 in full, TF32 (10 bits) and bf16 (8), each of many terms. cuDNN may
# convolve in float32 by Winograd's transformation, which rounds some ten times as much as sums do.
MOST_ERROR = {"fp32": 4e-5, "tf32": 5e-3, "bf16": 3e-2}
LEAST_ERROR = {"fp32": 0.0, "tf32": 5e-5, "bf16": 5e-4}
APART = 0.02  # of the way that weights went: where Adam's first steps follow the sign of gradients near zero
TOLERANCE = 2e-3  # between a card and a CPU, of values about 1, after a walk of tens of evaluations in float32

Build = Callable[[], nn.Module]
# On a card or not: share of dropout, and mode. Each is compiled anew, which takes most of the time; on a CPU
# tests/worker/test_modes.py has what is not here.
MODES = {True: [(0.0, "graphed"), (0.3, "compiled"), (0.3, "graphed")], False: [(0.3, "compiled")]}


def shape(setup: Setup) -> tuple[int, ...]:
    side = setup.sized(setup.side, 8, 8)
    return (3, side, side)


def a_unet(setup: Setup, dropout: float) -> Build:
    """With all that differs between devices: convolutions, group norms, attention, dropout."""
    width, (_, side, _) = setup.sized(64, 8, 8), shape(setup)
    return partial(
        unet.build, shape(setup), 0, width=width, depth=1, multipliers=(1, 2), attention=(side // 2,), dropout=dropout
    )


def a_dit(setup: Setup) -> Build:
    """With labels, whose table has gradients that are added up by index."""
    width = setup.sized(192, 16, 16)
    return partial(dit.build, shape(setup), CLASSES, width=width, depth=3, heads=width // 8)


def ready(setup: Setup) -> None:
    """As in a worker; what is compared with a CPU may take all of its cores, where make gives one."""
    if setup.card:
        torch.set_num_threads(len(os.sched_getaffinity(0)))
        repeatable()


def trained(
    setup: Setup, build: Build, precision: str, steps: int, checkpoint: Any = None, mode: ExecutionMode = EAGER
) -> TrainingState:
    """The state after so many steps, on images that are the same each time."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (IMAGES, *shape(setup)), generator=generator, dtype=torch.uint8).to(setup.device)
    batch = setup.sized(128, 16, 8)
    network = initialise(build, 0).to(setup.device)
    conditional = bool(getattr(network, "classes", 0))
    labels = torch.arange(IMAGES, device=setup.device) % CLASSES if conditional else None
    states = train(
        network, images, labels, SIGMA_DATA, checkpoint, mode, steps=steps, batch=batch, precision=precision,  # type: ignore[arg-type]
        condition_dropout=0.1 if conditional else 0.0,
    )  # fmt: skip
    for state in states:
        last = state
    return last


def weights(state: TrainingState) -> Tensor:
    """All weights and their average, on the CPU."""
    parts = (*state.denoiser.parameters(), *state.ema.parameters())
    return torch.cat([part.detach().flatten().cpu() for part in parts])


def prove_training(setup: Setup) -> Iterator[Line]:
    """A training gives the same bits twice, and the same when it is stopped and goes on."""
    ready(setup)
    steps = setup.sized(40, 10, 4)
    cases = {f"unet with dropout, {p}": (a_unet(setup, 0.2), p) for p in MOST_ERROR}
    cases["dit with labels, bf16"] = (a_dit(setup), "bf16")
    for name, (build, precision) in cases.items():
        first = weights(trained(setup, build, precision, steps))
        differing = int((weights(trained(setup, build, precision, steps)) != first).sum())
        yield Line(f"{name}: the same twice", "0 weights differ", f"{differing} of {len(first):,}", differing == 0)
        file = io.BytesIO()
        torch.save(trained(setup, build, precision, steps // 2).checkpoint(), file)
        file.seek(0)
        saved = torch.load(file, map_location="cpu", weights_only=True)
        differing = int((weights(trained(setup, build, precision, steps, saved)) != first).sum())
        words = f"{differing} of {len(first):,}, from step {steps // 2} to {steps}"
        yield Line(f"{name}: stopped and resumed", "0 weights differ", words, differing == 0)


def prove_modes(setup: Setup) -> Iterator[Line]:
    """Steps in every mode are those as they are written but for rounding, with and without dropout."""
    from torch._dynamo.utils import counters

    ready(setup)
    steps, skipped = 5, "cudagraph_skips"
    for dropout, name in MODES[setup.card]:
        build = a_unet(setup, dropout)
        before, written = (weights(trained(setup, build, "fp32", count)) for count in (1, steps))
        refusals: list[str] = []
        skips = counters["inductor"][skipped]
        mode = modes.training_mode(name, shape(setup), setup.device, say=refusals.append)
        start = time.monotonic()
        other = weights(trained(setup, build, "fp32", steps, mode=mode))
        apart = float((other - written).norm() / (written - before).norm())
        if skips := counters["inductor"][skipped] - skips:  # else they would be compiled, and called graphed
            refusals.append(f"{skips} parts are not replayed as a graph")
        said = "".join(f"; {sentence}" for sentence in refusals)
        words = f"{apart:.1e} of the way, after {time.monotonic() - start:.0f} s{said}"
        ok = modes.used(mode) == name and not skips and apart < APART
        yield Line(f"{name}, dropout {dropout}: {steps} steps as eager", f"computed {name}, below {APART}", words, ok)
        modes.forget(setup.device)


def error_of(function: Callable[..., Tensor], arguments: list[Tensor], precision: str) -> float:
    """The largest error of a function in a precision, over the largest value of the same in float64."""
    exact = function(*[a.double() for a in arguments])
    with products(precision), arithmetic(precision, arguments[0].device):
        off = (function(*arguments).double() - exact).abs().max()
    return float(off / exact.abs().max())


def prove_precision(setup: Setup) -> Iterator[Line]:
    """Products are as precise as the setting says; attention's gradients are the same twice, and what that costs."""
    ready(setup)
    n = setup.sized(1024, 256, 128)
    generator = torch.Generator().manual_seed(0)
    x, w = (torch.randn(size, generator=generator).to(setup.device) for size in ((16, n, 8, 8), (64, n, 3, 3)))
    a, b = (torch.randn(size, generator=generator).to(setup.device) for size in ((n, 4 * n), (4 * n, n)))
    functions = {
        "convolution": (partial(functional.conv2d, padding=1), [x, w]), "matrix product": (torch.mm, [a, b]),
    }  # fmt: skip
    for name, (function, arguments) in functions.items():
        for kind, most in MOST_ERROR.items():
            least = LEAST_ERROR[kind] if setup.card or kind == "bf16" else 0.0  # a CPU has no TF32
            error = error_of(function, arguments, kind)
            yield Line(f"{kind} {name}", f"error of {least:.0e} to {most:.0e}", f"{error:.1e}", least <= error <= most)
    yield from attention(setup)


def attention(setup: Setup) -> Iterator[Line]:
    """Gradients of attention in bf16, as workers compute it, and in torch's fused forms, which they do not use."""
    size = (setup.sized(128, 8, 4), 4, setup.sized(256, 64, 16), 64)
    q, k, v = (torch.randn(size, device=setup.device, dtype=torch.bfloat16, requires_grad=True) for _ in range(3))

    def gradient() -> Tensor:
        (grad,) = torch.autograd.grad(functional.scaled_dot_product_attention(q, k, v).square().sum(), q)
        return grad

    forms = [("plain", SDPBackend.MATH), ("flash", SDPBackend.FLASH_ATTENTION), ("cuDNN's", SDPBackend.CUDNN_ATTENTION)]
    for name, backend in forms:
        wanted = "the same bits twice" if name == "plain" else "for comparison: workers do not use it"
        try:
            with sdpa_kernel(backend):
                first = gradient()
                start = moment(setup)
                same = all(torch.equal(gradient(), first) for _ in range(5))
                words = f"{'the same' if same else 'other'} bits, {200 * (moment(setup) - start):.2f} ms"
        except RuntimeError as error:  # a card has no such form, which is wrong of the plain one alone
            same, words = False, str(error).partition("\n")[0][:80]
        yield Line(f"attention, {name}: gradients", wanted, words, same if name == "plain" else None)


def moment(setup: Setup) -> float:
    if setup.card:
        torch.cuda.synchronize()
    return time.perf_counter()


def prove_sampling(setup: Setup) -> Iterator[Line]:
    """Samples on a card are those of a CPU but for rounding, and the first are the same whatever their number."""
    ready(setup)
    setup = replace(setup, side=16)  # a CPU takes as much of the time as it takes pixels
    library, state = Library(), trained(setup, a_unet(setup, 0.0), "fp32", 20)
    on_device = Denoiser(state.ema.network, SIGMA_DATA).eval().requires_grad_(False)
    on_cpu = copy.deepcopy(on_device).cpu()
    for name in library.names("sample"):
        sample = library.module("sample", name).sample
        draw = partial(sampling.draw, sample=sample, shape=shape(setup), proportions=None, steps=8, sigma_max=20.0)
        ours = draw(on_device, device=setup.device, count=48).x
        apart = float(np.abs(ours - draw(on_cpu, device="cpu", count=48).x).max())
        yield Line(f"{name}: as on a CPU", f"apart by at most {TOLERANCE}", f"{apart:.1e}", apart <= TOLERANCE)
        more = draw(on_device, device=setup.device, count=setup.sized(300, 80, 64)).x
        differing = int((more[:48] != ours).sum())
        yield Line(f"{name}: the first 48 of more", "the same bits", f"{differing} numbers differ", differing == 0)


def prove_plugins(setup: Setup) -> Iterator[Line]:
    """Every plug-in, as tests/worker has it on a card that is not there; metrics give what they give on a CPU."""
    ready(setup)
    sys.path.insert(0, str(Path(__file__).parent.parent / "worker"))
    import on_a_card

    library, results = Library(), {}
    for device in dict.fromkeys((setup.device, "cpu")):
        on_a_card.CARD = torch.device(device).type
        on_a_card.Card = nullcontext  # type: ignore[misc, assignment]
        on_a_card.without_waiting = partial(unsynchronised, device)  # type: ignore[assignment]
        for kind, case in on_a_card.CASES.items():
            kept: dict[str, Any] = {}
            errors = {}
            for name in library.names(kind):
                errors[name] = on_a_card.stumbled(keeping(case, kept), library, name)
            results[device, kind] = kept
            bad = [f"{name}: {error[:150]}" for name, error in errors.items() if error]
            if device == setup.device:
                words = "; ".join(bad) or f"{len(errors)} of {len(errors)}"
                yield Line(f"every {kind} plug-in, none waits in a step", "no error", words, not bad)
    on_a_card.CARD = setup.device
    error = on_a_card.stumbled(on_a_card.of_large, library, "")
    yield Line("neighbours and factors as on a CPU", "no error", error or "the same", not error)
    ours, plain = results[setup.device, "score"], results["cpu", "score"]
    far = {name: gap for name in plain if (gap := apart_most(ours.get(name, {}), plain[name])) > 0.02}
    words = ", ".join(f"{name} by {gap:.2g}" for name, gap in far.items()) or f"{len(plain)} metrics agree"
    yield Line("every metric as on a CPU", "values apart by at most 2 % or 0.02", words, not far)


def keeping(case: Callable[..., Any], kept: dict[str, Any]) -> Callable[[Library, str], None]:
    def run(library: Library, name: str) -> None:
        kept[name] = getattr(case(library, name), "values", {})

    return run


def apart_most(ours: dict[str, Any], plain: dict[str, Any]) -> float:
    """The largest difference of two metrics' numbers, of the larger of 1 and the number."""
    if ours.keys() != plain.keys():
        return float("inf")
    pairs = [(ours[name], value) for name, value in plain.items() if isinstance(value, float)]
    return max((abs(a - b) / max(1.0, abs(b)) if a is not None else float("inf") for a, b in pairs), default=0.0)


@contextmanager
def unsynchronised(device: str) -> Iterator[None]:
    """An error of torch's own where the host waits for a card within; it counts copies to the card too."""
    if device == "cpu":
        yield
        return
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)
