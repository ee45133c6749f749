"""The weights of a snapshot as samples and metrics see them: what `post_training` makes of those that were trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from difgen_cli.diffusion.objective import Draws
from difgen_cli.diffusion.randomness import stream
from difgen_cli.engine.plan import post_training
from difgen_cli.engine.plan.work import Scoring
from difgen_cli.engine.store import RunFolder
from difgen_cli.engine.worker.artifacts import shape_of
from difgen_cli.engine.worker.context import WorkerContext, weights

Given = Callable[[str], Any]  # an input of the training subset by its name


def weights_at(context: WorkerContext, folder: RunFolder, unit: Scoring, given: Given) -> dict[str, Tensor]:
    """The weights by name that a unit reads; `given` makes what is made of the training subset.

    Raises StoreError where the weights of a step are missing, ValueError where the plug-in gives no such weights.
    """
    trained = weights(folder.snapshot(unit.step or 0), context.device)
    recipe = context.recipes.get(unit.snapshot or "")
    if recipe is None or recipe.operation.kind != post_training.KIND:
        return trained
    signature = context.library.signature(post_training.KIND, recipe.name)
    seed = stream(context.recipes[folder.key].settings.get("seed", 0), post_training.KIND, 0)

    def make(name: str) -> Any:
        match name:
            case "weights":
                return {key: tensor.clone() for key, tensor in trained.items()}
            case post_training.OTHERS:
                steps = recipe.settings.get(post_training.STEPS, signature.settings[post_training.STEPS].default)
                return {other: _of_step(context, unit, other) for other in sorted({*steps})}
            case "rng":
                return Draws(seed, torch.device(context.device))
            case "shape":
                subset = context.recipes[folder.key].inputs["subset"]
                return shape_of(context.artifacts.subset(subset.key).images)
        return given(name)

    inputs = {name: make(name) for name in signature.inputs}
    with torch.no_grad():
        changed = context.library.module(post_training.KIND, recipe.name).apply(**inputs, **recipe.settings)
    _check(recipe.name, trained, changed)
    return {name: tensor.to(trained[name].dtype) for name, tensor in changed.items()}


def _of_step(context: WorkerContext, unit: Scoring, step: int) -> dict[str, Tensor]:
    """The weights at another step; before a fork they are those of its trunk."""
    other = unit.partners[f"{post_training.KIND}.{step}"]
    return weights(context.store.run_folder(other.run_key, other.slug).snapshot(step), context.device)


def _check(name: str, trained: dict[str, Tensor], changed: dict[str, Tensor]) -> None:
    """Raise ValueError where these are no weights of the same network."""
    if wrong := sorted(trained.keys() ^ changed.keys()):
        raise ValueError(f"post_training {name}: gives other tensors than the network has: {', '.join(wrong[:5])}")
    for key, tensor in changed.items():
        if tensor.shape != trained[key].shape:
            raise ValueError(
                f"post_training {name}: {key} has the shape {tuple(tensor.shape)}, and the network's "
                f"{tuple(trained[key].shape)}"
            )
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise ValueError(f"post_training {name}: {key} holds values that are not finite")
