"""What a training begins with: initial weights, those of another trajectory, or the whole state of its trunk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from difgen_cli.engine.plan import weights_of
from difgen_cli.engine.plan.recipes import Recipe
from difgen_cli.engine.plan.work import Training
from difgen_cli.engine.store import RunFolder, StoreError
from difgen_cli.engine.store.access import check_zip, remade
from difgen_cli.engine.worker.context import WorkerContext, weights

NOTHING: dict[str, Any] = {"train_seconds": 0.0, "state": {}}  # of a training that has made no step


def write(path: Path, content: dict[str, Any]) -> None:
    """Write a whole state: a checkpoint, or what others fork from."""
    with path.open("wb") as file:  # Python's errors have numbers, torch's own writer has none
        torch.save(content, file)


def read(path: Path) -> dict[str, Any]:
    """What `write` wrote, on the CPU."""
    check_zip(path)  # torch looks at no checksum
    content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return content


def checkpoint(folder: RunFolder, last: int) -> dict[str, Any] | None:
    """The furthest whole checkpoint up to a step, the last; a damaged one is set aside. None where there is none."""
    checkpoints = folder.checkpoints()
    for at in sorted((s for s in checkpoints if s <= last), reverse=True):
        if (content := remade(checkpoints[at], read)) is not None:
            return content
    return None


def of_fork(context: WorkerContext, trajectory: Recipe, unit: Training) -> dict[str, Any] | None:
    """The state of the trunk that a trajectory goes on from; None where it is no fork.

    Heads of another objective are not part of it: the fork begins its own. Raises StoreError where it is missing.
    """
    if (state := trajectory.inputs.get("fork")) is None:
        return None
    trunk, path = state.inputs["trajectory"], _path(context, state, unit, "fork")
    content = remade(path, read)
    if content is None:
        raise StoreError(f"{path}: the state is missing or damaged; run the same `difgen sweep` again to make it")
    before, after = (recipe.inputs.get("objective") for recipe in (trunk, trajectory))
    if (before and before.key) != (after and after.key):
        content["state"]["heads"] = None
    return content


def ways_of_trunk(context: WorkerContext, trajectory: Recipe, unit: Training) -> dict[str, Any]:
    """How the trunk of a fork computes its steps, and with how many threads: nothing where it is no fork.

    A fork does the same, so that it differs from its trunk in what it changes alone, and not in rounding.
    """
    if (state := trajectory.inputs.get("fork")) is None:
        return {}
    environment = RunFolder(_path(context, state, unit, "fork").parent.parent).environment()
    return {"way": environment.get("way", "eager"), "threads": environment["threads"]} if environment else {}


def start(context: WorkerContext, trajectory: Recipe, unit: Training, network: nn.Module) -> None:
    """Give a network the weights that its training begins with, where they are not its initial ones.

    Raises StoreError where they are missing, and ValueError where they do not fit the network.
    """
    if (snapshot := trajectory.inputs.get("start")) is None:
        return
    path = _path(context, snapshot, unit, "start")
    theirs, own = weights(path, context.device), network.state_dict()
    shapes, own_shapes = ({name: tuple(w.shape) for name, w in each.items()} for each in (theirs, own))
    if shapes != own_shapes:
        name = next(n for n in {**own_shapes, **shapes} if shapes.get(n) != own_shapes.get(n))
        raise ValueError(
            f"train.start: the weights of {path.parent.parent.name} are those of another network ({name} is "
            f"{_shape(shapes.get(name))} there, and {_shape(own_shapes.get(name))} here); begin with a network of the "
            "same shape"
        )
    network.load_state_dict(theirs)


def _path(context: WorkerContext, recipe: Recipe, unit: Training, role: str) -> Path:
    """Where the weights of a role lie: averaged ones, or a whole state."""
    trajectory, step = weights_of(recipe)
    slug = unit.needs[role].slug if role in unit.needs else ""
    folder = context.store.run_folder_now(trajectory.key, slug)
    return folder.weights(step or 0, whole=recipe.operation.kind == "state")


def _shape(shape: tuple[int, ...] | None) -> str:
    return "missing" if shape is None else " × ".join(map(str, shape)) or "a number"
