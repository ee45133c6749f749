"""Where a worker does its units: the store, the materials at hand, the flag and the clock."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load
from torch import Tensor

from difgen_cli import neighbours
from difgen_cli.diffusion import large
from difgen_cli.diffusion.precision import repeatable
from difgen_cli.engine.cost.machine import here
from difgen_cli.engine.plan.recipes import Recipe, dump
from difgen_cli.engine.plugins import Library
from difgen_cli.engine.store import RunFolder, Store, StoreError
from difgen_cli.engine.store.access import remade
from difgen_cli.engine.store.attempts import Attempt, Claimant
from difgen_cli.engine.store.files import replace_json
from difgen_cli.engine.worker import modes
from difgen_cli.engine.worker.artifacts import Artifacts
from difgen_cli.engine.worker.phases import Phases
from difgen_cli.engine.worker.submission_spec import PhaseTimer, StopFlag, SubmissionSpec, Superseded

HEADER_BYTES_MAX = 100_000_000  # of a safetensors file, as its format has it


class DeviceError(RuntimeError):
    """The device that a worker was given cannot be used; one sentence."""


class WorkerContext:
    """What every unit needs."""

    def __init__(
        self, store: Store, recipes: dict[str, Recipe], library: Library, device: str, spec: SubmissionSpec,
        flag: StopFlag, clock: PhaseTimer, claimant: Claimant, say: Callable[[str], None],
    ) -> None:  # fmt: skip
        if device.startswith("cuda") and not torch.cuda.is_available():
            why = "this torch is built for CPUs alone" if torch.version.cuda is None else "torch finds no driver for it"
            raise DeviceError(f"this worker was given a GPU, but {why}: repair that, or ask for no GPU")
        torch.set_num_threads(spec.threads)
        on_card = device.startswith("cuda")
        if on_card:
            repeatable()
        large.use(device if on_card else None)
        neighbours.choose_with(large.lowest if on_card else None)
        self.store, self.recipes, self.library, self.spec = store, recipes, library, spec
        self.flag, self.clock, self.say = flag, clock, say
        self.device = device
        self.network: str | None = None  # key of the last unit's
        self.phases = Phases()
        self.artifacts = Artifacts(store, recipes, library, device, claimant, self.phases)

    def settle(self, run_key: str) -> None:
        """Before a unit: what was compiled for another network is forgotten, and memory that nobody uses given back."""
        network = self.recipes[run_key].inputs.get("network")
        key = network.key if network else None
        if key != self.network and self.network is not None:  # before the first one there is nothing to forget
            modes.forget(self.device)
        elif self.device.startswith("cuda"):
            torch.cuda.empty_cache()
        self.network = key

    def environment(self) -> dict[str, Any]:
        """What rows say of their making."""
        return self.spec.environment | here(self.device)


def check(attempt: Attempt) -> None:
    """Before publishing: leave where another worker has taken the unit over."""
    if attempt.superseded():
        raise Superseded


def weights(path: Path, device: str) -> dict[str, Tensor]:
    """The weights of a snapshot by name. Raises StoreError where they are missing, or damaged and so set aside."""
    tensors = remade(path, lambda p: load(p.read_bytes()))  # its reader of files hides the errors of the system
    if tensors is None:
        raise StoreError(f"{path}: the weights are missing or damaged; run the same `difgen sweep` again to train them")
    return {name: tensor.to(device) for name, tensor in tensors.items()}


def making(snapshot: Path) -> dict[str, Any]:
    """What a snapshot says of its making, in its header: the length in 8 bytes, then JSON (format of safetensors)."""
    with snapshot.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(min(length, HEADER_BYTES_MAX)))
    content: dict[str, Any] = json.loads(header["__metadata__"]["difgen"])
    return content


def describe(folder: RunFolder, recipe: Recipe) -> None:
    """Say in its folder what a trajectory or reference is made of."""
    if not folder.spec():  # or it is cut short
        replace_json(folder.path / "spec.json", {"key": recipe.key, "recipe": dump(_closure(recipe))})


def _closure(recipe: Recipe) -> dict[str, Recipe]:
    """A recipe and all that it is made of."""
    recipes = {recipe.key: recipe}
    for part in recipe.inputs.values():
        recipes |= _closure(part)
    return recipes
