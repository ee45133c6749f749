"""Where a worker does its units: the store, the materials at hand, the flag and the clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from difgen_cli.perf.machine import device_name
from difgen_cli.plan.recipes import Recipe, dump
from difgen_cli.plugins import Library
from difgen_cli.store import Home, Store
from difgen_cli.store.attempts import Attempt, Claimant
from difgen_cli.store.files import publish_json
from difgen_cli.worker.materials import Materials
from difgen_cli.worker.order import Clock, Flag, Order, Superseded


class DeviceError(RuntimeError):
    """The device that a worker was given cannot be used; one sentence."""


class Desk:
    """What every unit needs."""

    def __init__(
        self, store: Store, recipes: dict[str, Recipe], library: Library, device: str, order: Order, flag: Flag,
        clock: Clock, claimant: Claimant, say: Callable[[str], None],
    ) -> None:  # fmt: skip
        if device.startswith("cuda") and not torch.cuda.is_available():
            why = "this torch is built for CPUs alone" if torch.version.cuda is None else "torch finds no driver for it"
            raise DeviceError(f"this worker was given a GPU, but {why}: mend that, or ask for no GPU")
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


def describe(home: Home, recipe: Recipe) -> None:
    """Say in its folder what a trajectory or reference is made of."""
    if not (home.path / "spec.json").exists():
        publish_json(home.path / "spec.json", {"key": recipe.key, "recipe": dump(_closure(recipe))})


def _closure(recipe: Recipe) -> dict[str, Recipe]:
    """A recipe and all that it is made of."""
    found = {recipe.key: recipe}
    for part in recipe.inputs.values():
        found |= _closure(part)
    return found
