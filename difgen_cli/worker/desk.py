"""Where a worker does its units: the store, the materials at hand, the flag and the clock."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from difgen_cli.perf.machine import device_name
from difgen_cli.plan.recipes import Recipe, dump
from difgen_cli.plugins import Library
from difgen_cli.store import Home, Store, StoreError
from difgen_cli.store.access import remade
from difgen_cli.store.attempts import Attempt, Claimant
from difgen_cli.store.files import replace_json
from difgen_cli.worker.materials import Materials
from difgen_cli.worker.order import Clock, Flag, Order, Superseded


class Desk:
    """What every unit needs."""

    def __init__(
        self, store: Store, recipes: dict[str, Recipe], library: Library, device: str, order: Order, flag: Flag,
        clock: Clock, claimant: Claimant, say: Callable[[str], None],
    ) -> None:  # fmt: skip
        torch.set_num_threads(order.threads)
        self.store, self.recipes, self.library, self.order = store, recipes, library, order
        self.flag, self.clock, self.say = flag, clock, say
        self.device = device
        self.materials = Materials(store, recipes, library, device, claimant)

    def environment(self) -> dict[str, Any]:
        """What rows say of their making."""
        own = {"torch": torch.__version__, "device": device_name(self.device), "threads": torch.get_num_threads()}
        return self.order.environment | own


def check(attempt: Attempt) -> None:
    """Before publishing: leave where another worker has taken the unit over."""
    if attempt.superseded():
        raise Superseded


def weights(path: Path, device: str) -> dict[str, Tensor]:
    """The weights of a snapshot by name. Raises StoreError where they are missing, or damaged and so set aside."""
    found = remade(path, lambda p: load_file(p, device=device))
    if found is None:
        raise StoreError(f"{path}: the weights are missing or damaged; the same `difgen sweep` trains them again")
    return found


def describe(home: Home, recipe: Recipe) -> None:
    """Say in its folder what a trajectory or reference is made of."""
    if not home.spec():  # or it is cut short
        replace_json(home.path / "spec.json", {"key": recipe.key, "recipe": dump(_closure(recipe))})


def _closure(recipe: Recipe) -> dict[str, Recipe]:
    """A recipe and all that it is made of."""
    found = {recipe.key: recipe}
    for part in recipe.inputs.values():
        found |= _closure(part)
    return found
