"""Every plug-in that computes with torch, once, on a card that is not there: prints what each stumbled over, as JSON.

Tensors have a device, a shape and a type, and no numbers (torch's fake tensors); the card is torch's own backend for
devices that others make, with no code behind it. An operation on tensors of the card and of the CPU is an error, as on
a real one. It is a process of its own, since such devices are named once.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv
from torch.utils import backend_registration

from difgen_cli import guidance
from difgen_cli.diffusion import Denoiser, IdealDenoiser
from difgen_cli.diffusion.classes import GaussianClasses
from difgen_cli.diffusion.objective import EDM, Objective
from difgen_cli.diffusion.training import train
from difgen_cli.engine.plan.sections import untrained
from difgen_cli.engine.plugins import Library
from difgen_cli.engine.worker.objectives import assembled
from difgen_cli.sampling import estimate, takes_noise
from difgen_cli.sampling._random import Randomness

CARD, SHAPE, CLASSES, IMAGES, BATCH = "card", (3, 16, 16), 3, 40, 16
LEVELS = (10.0, 1.0, 0.1, 0.0)
# Settings without which a plug-in does nothing, or that have no default; of an objective, each way to compute it.
OF_OBJECTIVES: dict[str, list[dict[str, Any]]] = {
    "edm": [{}, {"noise_bank": 2}, {"target": "closed_form"}], "unlearn": [{}, {"method": "erase"}],
}  # fmt: skip
# Networks with one layer of each kind: the second of a kind computes as the first does.
OF_NETWORKS: dict[str, dict[str, Any]] = {
    "ddpmpp": {"width": 32, "depth": 1, "multipliers": (1, 2), "augment": 9},
    "dit": {"width": 48, "depth": 1},
    "edm2": {"width": 32, "depth": 1, "multipliers": (1, 2), "attention": (8,), "head_channels": 32},
    "unet": {"depth": 1, "multipliers": (1, 2), "attention": (8,)},
    "unet2d": {"layers_per_block": 1, "block_out_channels": (32, 64)},
}
OF_SAMPLERS = {"heun": {"s_churn": 10.0}}
OF_TERMS = {"swg": {"crop": 8}}


class Seeds(torch.Generator):
    """A generator of the CPU that says it is of the card, which has none."""

    def __new__(cls, device: Any = "cpu") -> Seeds:
        made = super().__new__(cls)
        made.named = torch.device(device)
        return made

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return self.named


def applied(module: nn.Module, change: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
    """In the place of `nn.Module._apply`, which exchanges the memory of two tensors: fake ones have none."""
    for part in module.modules() if recurse else [module]:
        for name, parameter in part._parameters.items():
            if parameter is not None:
                part._parameters[name] = nn.Parameter(change(parameter.detach()), parameter.requires_grad)
        for name, buffer in part._buffers.items():
            part._buffers[name] = None if buffer is None else change(buffer)
    return module


def network(library: Library, name: str, classes: int) -> nn.Module:
    build = library.module("model", name).build
    built: nn.Module = build(SHAPE, classes, **OF_NETWORKS.get(name, {})).to(CARD)
    return built


def denoiser(library: Library, classes: int = CLASSES, name: str = "mlp") -> Denoiser:
    return Denoiser(network(library, name, classes), 0.5).to(CARD).eval().requires_grad_(False)


def data() -> tuple[Tensor, Tensor]:
    """T as bytes and its labels."""
    return torch.empty(IMAGES, *SHAPE, dtype=torch.uint8).to(CARD), torch.zeros(IMAGES, dtype=torch.int64).to(CARD)


def trained(library: Library, name: str, objective: Objective = EDM, classes: int = CLASSES, **settings: Any) -> None:
    """One step."""
    images, labels = data()
    states = train(
        network(library, name, classes), images, labels if classes else None, 0.5, objective=objective,
        batch=BATCH, **settings,
    )  # fmt: skip
    state = next(states)
    on_card(state.loss, *state.trained.parameters(), *state.ema.parameters())


def of_network(library: Library, name: str) -> None:
    if untrained(library.signature("model", name)):
        return
    trained(library, name, classes=0, flip=True, augment=0.5 if name == "ddpmpp" else 0.0)
    trained(library, name, condition_dropout=0.1, optimizer="sgd")


def of_objective(library: Library, name: str) -> None:
    images, _ = data()
    sources: dict[str, Callable[[], Any]] = {
        "teacher": partial(denoiser, library, 0), "sigma_data": lambda: 0.5,
        "ideal": lambda: IdealDenoiser(images.float(), 0.5).to(CARD),
        "targets": lambda: torch.empty(IMAGES, 7).to(CARD),
        "unlearn": lambda: torch.empty(IMAGES, dtype=torch.bool).to(CARD),
    }  # fmt: skip
    for settings in OF_OBJECTIVES.get(name, [{}]):
        trained(library, "mlp", assembled(library, name, settings, {}, sources), classes=0, flip=True)


def of_sampler(library: Library, name: str) -> None:
    signature, module = library.signature("sample", name), library.module("sample", name)
    images, labels = data()
    inputs = {"rng": Randomness(0, 0, BATCH), "train": images.float(), "train_labels": labels}
    named = {key: inputs[key] for key in signature.inputs[4:]}
    x, given = torch.empty(BATCH, *SHAPE).to(CARD), labels[:BATCH]
    for settings in ({}, OF_SAMPLERS.get(name, {})):
        if takes_noise(signature.inputs):
            walk = module.sample(denoiser(library), x, given, **settings)
        else:
            walk = module.sample(denoiser(library), x, LEVELS, given, **named, **settings)
        on_card(*[state for _, state in walk])


def of_term(library: Library, name: str) -> None:
    images, labels = data()
    own = denoiser(library, name="unet" if name == "swg" else "mlp")  # crops are of any size
    inputs = {
        "denoiser": own, "shape": SHAPE, "weak": denoiser(library), "continued": denoiser(library),
        "train": images.float(), "train_labels": labels,
    }  # fmt: skip
    takes = library.signature("guide", name).inputs
    if "classifier" in takes:
        inputs["classifier"] = GaussianClasses(images.float(), labels, CLASSES)
    made = library.module("guide", name).negative(**{key: inputs[key] for key in takes}, **OF_TERMS.get(name, {}))
    guided = guidance.guided(own, [guidance.term(made, weight=1.5)])
    on_card(estimate(guided, torch.empty(BATCH, *SHAPE).to(CARD), 0.5, labels[:BATCH]))


def on_card(*tensors: Tensor) -> None:
    if devices := {tensor.device.type for tensor in tensors} - {CARD}:
        raise TypeError(f"gives tensors on {devices}")


CASES = {"model": of_network, "objective": of_objective, "sample": of_sampler, "guide": of_term}


def stumbled(case: Callable[[Library, str], None], library: Library, name: str) -> str:
    """The error of a plug-in; empty: none."""
    try:
        with FakeTensorMode(shape_env=ShapeEnv(), static_shapes=True):  # how many are not zero, nobody knows
            case(library, name)
    except Exception as error:
        return f"{type(error).__name__}: {error}".partition("\n")[0]
    return ""


if __name__ == "__main__":
    backend_registration._setup_privateuseone_for_python_backend(CARD)
    torch.Generator = Seeds  # type: ignore[misc]
    nn.Module._apply = applied  # type: ignore[method-assign, assignment]
    FakeTensorMode.__deepcopy__ = lambda self, memo: self  # type: ignore[attr-defined]  # of a copied network too
    # What reads numbers, or makes a tensor of them: of the right length, on the right device.
    torch.bincount = lambda labels, minlength: labels.new_zeros(minlength)
    FakeTensor.tolist = lambda self: [0] * len(self)  # type: ignore[method-assign]
    Tensor.new_tensor = lambda self, data: torch.tensor(data, dtype=self.dtype).to(self.device)  # type: ignore
    of_user = Library(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
    kinds = {
        kind: {name: stumbled(case, of_user, name) for name in of_user.names(kind)} for kind, case in CASES.items()
    }
    print(json.dumps(kinds))
