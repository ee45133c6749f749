"""Every plug-in that computes with torch, once, on a pretended card: prints what each stumbled over, as JSON.

Tensors have to stay on the card that they are given (`pretended`), and the CPU must not wait for it within a step of
training, an evaluation of a denoiser, or a walk of a sampler: see `MAY_WAIT` for what does, and why.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from pretended import CARD, Card, plug_in, without_waiting
from torch import Tensor, nn

from difgen_cli import guidance, sampling
from difgen_cli.data import Canaries
from difgen_cli.diffusion import Denoiser, IdealDenoiser, large
from difgen_cli.diffusion.classes import GaussianClasses
from difgen_cli.diffusion.closed_forms import Mixture
from difgen_cli.diffusion.objective import EDM, Draws, Objective
from difgen_cli.diffusion.randomness import initialise
from difgen_cli.diffusion.training import train
from difgen_cli.engine.plan.sections import untrained
from difgen_cli.engine.plugins import Library
from difgen_cli.engine.worker.objectives import assembled
from difgen_cli.neighbours import choose_with, nearest, search
from difgen_cli.sampling import estimate, takes_noise
from difgen_cli.sampling._random import Randomness

SHAPE, CLASSES, IMAGES, BATCH, SIGMA_DATA, STEPS = (3, 8, 8), 3, 24, 16, 0.5, 2
LEVELS = (10.0, 1.0, 0.1, 0.0)
# What asks a denoiser; all other metrics compute with numpy, from arrays.
ASKING = {"denoiser", "walks", "states"}
# Closed forms pick the training images of a label, and those that have a weight at all: how many is in the numbers.
# The bank of fixed noise seeds a generator for each image of a batch, which only the host can.
MAY_WAIT = {"closed_form", "noise_bank"}
# Small networks: numbers are real, and as slow as a CPU is.
OF_MODELS: dict[str, dict[str, Any]] = {
    "mlp": {"width": 16, "depth": 2},
    "unet": {"width": 8, "depth": 1, "multipliers": (1, 2), "attention": (4,), "dropout": 0.2},
    "ddpmpp": {"width": 8, "depth": 1, "multipliers": (1, 2), "attention": (4,), "augment": 9},
    "dit": {"width": 16, "depth": 2, "heads": 2},
    "edm2": {"width": 16, "depth": 1, "multipliers": (1, 2), "attention": (4,), "head_channels": 8, "dropout": 0.1},
    "unet2d": {"block_out_channels": (8, 8), "layers_per_block": 1, "norm_num_groups": 4, "attention_head_dim": 4},
}  # fmt: skip
# Settings without which a plug-in does nothing, or that have no default; of an objective, each way to compute it.
OF_OBJECTIVES: dict[str, list[dict[str, Any]]] = {
    "edm": [{}, {"noise_bank": 2}, {"target": "closed_form"}], "unlearn": [{}, {"method": "erase"}],
}  # fmt: skip
OF_SAMPLERS = {"heun": {"s_churn": 10.0}}
OF_TERMS = {"swg": {"crop": 6, "masked": True}}
OF_METRICS: dict[str, dict[str, Any]] = {
    "claim": {"asked": "0" * 16}, "reference_membership": {"base": Path("none")}, "inversion": {"steps": 3},
    "gap": {"sigmas": 3, "resamples": 100}, "reconstruction": {"pairs": 24, "resamples": 100},
    "jacobian": {"images": 2, "sigmas": (0.5,)}, "heldout_jacobian": {"images": 2, "sigmas": (0.5,)},
    "deviation": {"sigmas": (0.5,)},
    "basins": {"sigmas": (0.25, 4.0)},
}  # fmt: skip
OF_POINTS = {"field", "paths"}  # for which images are none


def network(library: Library, name: str, classes: int, shape: tuple[int, ...] = SHAPE) -> nn.Module:
    build, settings = library.module("model", name).build, OF_MODELS.get(name, {})
    return initialise(lambda: build(shape, classes, **settings), 0).to(CARD)


def denoiser(
    library: Library, classes: int = CLASSES, name: str = "mlp", shape: tuple[int, ...] = SHAPE
) -> Denoiser:  # fmt: skip
    """One for evaluations, in which nothing waits."""
    read = Denoiser(network(library, name, classes, shape), SIGMA_DATA).to(CARD).eval().requires_grad_(False)
    forward = read.forward

    def inside(*arguments: Any) -> Tensor:
        with without_waiting():
            return forward(*arguments)

    read.forward = inside  # type: ignore[method-assign]
    return read


def pixels(count: int = IMAGES, seed: int = 0, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """Images (n, H, W, C), scaled, or points (n, D)."""
    return (
        np.random.default_rng(seed).uniform(-1, 1, (count, *shape[1:], shape[0])[: 1 + len(shape)]).astype(np.float32)
    )


def data() -> tuple[Tensor, Tensor]:
    """T as bytes and its labels, on the card."""
    images = torch.arange(IMAGES * 192).remainder(251).to(torch.uint8).view(IMAGES, *SHAPE)
    return images.to(CARD), torch.arange(IMAGES).remainder(CLASSES).to(CARD)


def scaled(images: Tensor) -> Tensor:
    return images.float() / 127.5 - 1


def trained(
    library: Library, name: str, objective: Objective = EDM, classes: int = CLASSES, waits: bool = False,
    **settings: Any,
) -> None:  # fmt: skip
    """Some steps; from the second on nothing waits."""
    images, labels = data()
    states = train(
        network(library, name, classes), images, labels if classes else None, SIGMA_DATA, objective=objective,
        batch=BATCH, **settings,
    )  # fmt: skip
    state = next(states)
    with nullcontext() if waits else without_waiting():
        for _ in range(STEPS - 1):
            state = next(states)
    on_card(state.loss, state.grad_norm, *state.trained.parameters(), *state.ema.parameters())
    if not torch.isfinite(state.loss):
        raise ArithmeticError(f"the loss is {state.loss.item()}")


def of_network(library: Library, name: str) -> None:
    if untrained(library.signature("model", name)):
        of_closed_form(library, name)
        return
    trained(library, name, classes=0, flip=True, augment=0.5 if name == "ddpmpp" else 0.0)
    trained(library, name, condition_dropout=0.1, optimizer="sgd", clip=1.0)
    evaluated(denoiser(library, CLASSES, name))


def of_closed_form(library: Library, name: str) -> None:
    takes = library.signature("model", name).inputs
    images, labels = data()
    d = images[0].numel()
    of_card = partial(torch.ones, device=CARD, dtype=torch.float64)
    given = {
        "train": scaled(images), "train_labels": labels, "sigma_data": SIGMA_DATA,
        "population": Mixture(of_card(CLASSES) / CLASSES, of_card(CLASSES, d), of_card(CLASSES, d, 2), 0.1),
    }  # fmt: skip
    if set(takes) <= set(given):  # weights of a file are read into networks, which have their own turn
        evaluated(library.module("model", name).build(**{key: given[key] for key in takes}).to(CARD))


def evaluated(read: Any) -> None:
    images, labels = data()
    for given in (labels[:BATCH], None):
        on_card(read(scaled(images[:BATCH]), torch.full((BATCH,), 0.5).to(CARD), given))


def of_objective(library: Library, name: str) -> None:
    images, _ = data()
    sources: dict[str, Callable[[], Any]] = {
        "teacher": partial(denoiser, library, 0), "sigma_data": lambda: SIGMA_DATA,
        "ideal": lambda: IdealDenoiser(scaled(images), SIGMA_DATA).to(CARD),
        "targets": lambda: torch.ones(IMAGES, 7).to(CARD),
        "unlearn": lambda: (torch.arange(IMAGES) < 3).to(CARD),
    }  # fmt: skip
    for settings in OF_OBJECTIVES.get(name, [{}]):
        waits = not MAY_WAIT.isdisjoint([*settings, *map(str, settings.values())])
        trained(library, "mlp", assembled(library, name, settings, {}, sources), 0, waits, flip=True)


def of_sampler(library: Library, name: str) -> None:
    signature, module = library.signature("sample", name), library.module("sample", name)
    images, labels = data()
    inputs = {"rng": Randomness(0, 0, BATCH), "train": scaled(images), "train_labels": labels}
    named = {key: inputs[key] for key in signature.inputs[4:]}
    x, given = torch.randn(BATCH, *SHAPE).to(CARD), labels[:BATCH]
    for settings in ({}, OF_SAMPLERS.get(name, {})):
        if takes_noise(signature.inputs):
            walk = module.sample(denoiser(library), x, given, **settings)
        else:
            walk = module.sample(denoiser(library), x * LEVELS[0], LEVELS, given, **named, **settings)
        with without_waiting():
            states = list(walk)
        on_card(*[state for _, state in states])


def of_term(library: Library, name: str) -> None:
    images, labels = data()
    own = denoiser(library, name="unet" if name == "swg" else "mlp")  # crops are of any size
    inputs = {
        "denoiser": own, "shape": SHAPE, "weak": denoiser(library), "continued": denoiser(library),
        "train": scaled(images), "train_labels": labels,
    }  # fmt: skip
    takes = library.signature("guide", name).inputs
    if "classifier" in takes:
        inputs["classifier"] = GaussianClasses(scaled(images), labels, CLASSES)
    negative = library.module("guide", name).negative(**{key: inputs[key] for key in takes}, **OF_TERMS.get(name, {}))
    x = torch.randn(BATCH, *SHAPE).to(CARD)
    for interval in (None, (0.1, 2.0)):
        guided = guidance.guided(own, [guidance.term(negative, weight=1.5, interval=interval)])
        estimate(guided, x, 0.5, labels[:BATCH])  # a mask is copied once
        with without_waiting():
            on_card(estimate(guided, x, 0.5, labels[:BATCH]), estimate(guided, x, 5.0, labels[:BATCH]))


def of_post_training(library: Library, name: str) -> None:
    weights = {key: tensor.detach() for key, tensor in network(library, "unet", 0).state_dict().items()}
    takes = library.signature("post_training", name).inputs
    inputs = {"weights": weights, "rng": Draws(0, torch.device(CARD)), "shape": SHAPE}
    given = {key: inputs[key] for key in takes if key in inputs}
    on_card(*library.module("post_training", name).apply(**given).values())


def of_metric(library: Library, name: str) -> Any:
    """What it gives; None for one that asks no denoiser."""
    signature, shape = library.signature("score", name), (2,) if name in OF_POINTS else SHAPE
    if ASKING.isdisjoint(signature.inputs):
        return None
    read, images = denoiser(library, shape=shape), pixels(shape=shape)
    labels, planted = np.arange(IMAGES) % CLASSES, np.arange(IMAGES) % 2 == 0
    walk = partial(_sampled, read, shape, library)
    inputs: dict[str, Any] = {
        "samples": pixels(seed=1, shape=shape), "sample_labels": labels, "train": images,
        "held_out": pixels(seed=2, shape=shape),
        "rest": images, "train_classes": labels, "held_out_classes": labels, "denoiser": read,
        **dict.fromkeys(("twin", "sibling", "reference"), SimpleNamespace(
            denoiser=denoiser(library), samples=images, train=pixels(seed=7), train_labels=labels)),
        "states": partial(walk, sampling.states), "walks": partial(walk, sampling.walks_from),
        "train_labels": labels, "rest_labels": labels, "held_out_labels": labels, "sigma_data": SIGMA_DATA,
        "mirrored": False, "left_out": np.zeros(0, np.int64), "groups": None, "unlearn": planted, "coins": planted,
        "embed": lambda x: x.reshape(len(x), -1), "shared": lambda _, compute: compute(),
        "canaries": Canaries(pixels(8, 3), labels[:8], np.arange(8) % 2 + 1, planted[:8]),
        "claims": SimpleNamespace(claims=[pixels(8, 4)], kept=[pixels(8, 5)], control=pixels(8, 6)),
        "references": [SimpleNamespace(denoiser=denoiser(library), rest=images, trained=planted, content="")],
    }  # fmt: skip
    given = {key: inputs[key] for key in signature.inputs}
    return library.module("score", name).measure(**given, **OF_METRICS.get(name, {}))


def _sampled(
    read: Denoiser, shape: tuple[int, ...], library: Library, follow: Any, *arguments: Any, **settings: Any
) -> Any:
    """`states` and `walks` as a worker gives them to metrics."""
    sample, own = library.module("sample", "euler").sample, {"steps": 6}
    if follow is sampling.walks_from:
        x, sigma, labels = arguments
        settings = {"begun": (x, labels), "sigma": sigma}
    else:
        settings = {"at": arguments[0], "count": IMAGES} | settings
    return follow(read, sample, shape, np.full(CLASSES, 1 / CLASSES), CARD, None, None, **settings, **own)


def of_large(library: Library, name: str) -> None:
    """Neighbours whose candidates the card has chosen are those of the host to the bit; factors differ by rounding."""
    x, worth = pixels().reshape(IMAGES, -1), (large.WORTH, search.WORTH)
    try:
        plain, factor = nearest(x, x, 2, exclude_self=True), large.triangular(x.astype(float))
        large.WORTH = search.WORTH = 0
        large.use(CARD)
        choose_with(large.lowest)
        ours, root = nearest(x, x, 2, exclude_self=True), large.triangular(x.astype(float))
    finally:
        large.use(None)
        choose_with(None)
        large.WORTH, search.WORTH = worth
    if not all(np.array_equal(a, b) for a, b in zip(ours, plain, strict=True)):
        raise ArithmeticError("the neighbours are others")
    if abs(root.T @ root - factor.T @ factor).max() > 1e-9:
        raise ArithmeticError("the factor is another")


def on_card(*tensors: Tensor) -> None:
    if devices := {tensor.device.type for tensor in tensors} - {CARD}:
        raise TypeError(f"gives tensors on {devices}")


CASES: dict[str, Callable[[Library, str], Any]] = {
    "model": of_network, "objective": of_objective, "sample": of_sampler, "guide": of_term,
    "post_training": of_post_training, "score": of_metric,
}  # fmt: skip


def stumbled(case: Callable[[Library, str], Any], library: Library, name: str) -> str:
    """The error of a plug-in; empty: none."""
    try:
        with Card():
            case(library, name)
    except Exception as error:
        return f"{type(error).__name__}: {error}".partition("\n")[0]
    return ""


if __name__ == "__main__":
    plug_in()
    of_user = Library(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
    kinds: dict[str, dict[str, str]] = {}
    for kind, case in CASES.items():
        for name in of_user.names(kind):
            start = time.process_time()
            kinds.setdefault(kind, {})[name] = stumbled(case, of_user, name)
            print(f"{kind} {name}: {time.process_time() - start:.2f} s", file=sys.stderr)
    kinds["large"] = {"products": stumbled(of_large, of_user, "products")}
    print(json.dumps(kinds))
