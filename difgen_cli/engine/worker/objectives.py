"""The objective of a training, from its recipe: the plug-in's functions, their settings and their inputs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from difgen_cli import objectives
from difgen_cli.diffusion import DenoiserLike, IdealDenoiser, scaled
from difgen_cli.diffusion.objective import EDM, Objective
from difgen_cli.engine.plan import weights_of
from difgen_cli.engine.plan.recipes import Recipe
from difgen_cli.engine.plan.sections import ends
from difgen_cli.engine.plan.work import Training
from difgen_cli.engine.plugins import Library
from difgen_cli.engine.worker.context import WorkerContext, weights

OF_TRAINING = ("average", "heads", "hidden")  # inputs that come from the training itself
GIVEN = ("denoiser", "batch", "draws")  # positional parameters that are no inputs


def of_training(
    context: WorkerContext, trajectory: Recipe, unit: Training, images: Tensor, labels: Tensor | None
) -> Objective:
    """The objective that trains a trajectory on images (N, ...) and labels (N,) on the device."""
    recipe, library = trajectory.inputs.get("objective"), context.library
    shared = library.own("objective")
    if recipe is None or shared is None:
        return EDM
    of_levels = {k: v for k, v in recipe.settings.items() if k in shared.settings}
    settings = {k: v for k, v in recipe.settings.items() if k not in of_levels}
    return assembled(library, recipe.name, settings, of_levels, _sources(context, trajectory, unit, images, labels))


def assembled(
    library: Library, name: str, settings: Mapping[str, Any], of_levels: Mapping[str, Any],
    sources: Mapping[str, Callable[[], Any]],
) -> Objective:  # fmt: skip
    """The objective of a plug-in with these settings; `sources` make the inputs that are there before training."""
    module, signature = library.module("objective", name), library.signature("objective", name)
    settings = {k: s.default for k, s in signature.settings.items()} | dict(settings)
    needed = signature.constants.get("INPUT_WHEN", {})

    def asked(function: Callable[..., Any] | None) -> tuple[str, ...]:
        """The inputs of a function, by the names of its positional parameters."""
        return tuple(name for name in _positional(function) if name not in GIVEN)

    draw, heads = getattr(module, "draw", None), getattr(module, "heads", None)
    names = {*asked(module.loss), *asked(draw)} - set(OF_TRAINING)
    unused = {key for key, (other, value) in needed.items() if settings[other] != value}
    inputs = {key: None if key in unused else sources[key]() for key in names}
    return Objective(
        loss=partial(module.loss, **settings),
        levels=partial(objectives.levels, **of_levels),
        draw=draw and partial(draw, **_taken(draw, settings)),
        heads=heads and partial(heads, **_taken(heads, settings)),
        inputs=inputs,
        asks=asked(module.loss),
        draw_asks=asked(draw),
        ends=ends(signature, settings) is not None,
    )


def _sources(
    context: WorkerContext, trajectory: Recipe, unit: Training, images: Tensor, labels: Tensor | None
) -> dict[str, Callable[[], Any]]:
    """What makes each input that is there before training, by the name of a positional parameter."""
    artifacts = context.artifacts
    subset = artifacts.subset(trajectory.inputs["subset"].key)

    def ideal() -> IdealDenoiser:
        shown, of_shown = scaled(images), labels
        if trajectory.settings.get("flip"):  # mirror images are training images then
            shown = torch.cat([shown, shown.flip(-1)])
            of_shown = None if labels is None else torch.cat([labels, labels])
        return IdealDenoiser(shown, subset.sigma_data, of_shown).to(context.device)

    def targets() -> Tensor:
        embed = artifacts.embed(trajectory.inputs["objective"].inputs["targets"].key, subset.holdout)
        return torch.from_numpy(np.asarray(embed(subset.images), dtype=np.float32)).to(context.device)

    def unlearn() -> Tensor:
        marks = artifacts.unlearn(trajectory.inputs["objective"].inputs["unlearn"].key)
        return torch.from_numpy(marks).to(context.device)

    return {
        "ideal": ideal,
        "sigma_data": lambda: subset.sigma_data,
        "targets": targets,
        "unlearn": unlearn,
        "teacher": lambda: _teacher(context, trajectory.inputs["objective"].inputs["teacher"], unit),
    }


def _teacher(context: WorkerContext, snapshot: Recipe, unit: Training) -> DenoiserLike:
    trajectory, step = weights_of(snapshot)
    if step is None:
        return context.artifacts.untrained(trajectory)
    folder = context.store.run_folder(unit.needs["teacher"].run_key, unit.needs["teacher"].slug)
    return context.artifacts.denoiser(trajectory, weights(folder.snapshot(step), context.device))


def _positional(function: Callable[..., Any] | None) -> tuple[str, ...]:
    parameters = inspect.signature(function).parameters.values() if function else ()
    return tuple(p.name for p in parameters if p.kind != p.KEYWORD_ONLY)


def _taken(function: Callable[..., Any], settings: dict[str, Any]) -> dict[str, Any]:
    """The settings that a function takes."""
    parameters = inspect.signature(function).parameters
    return {name: value for name, value in settings.items() if name in parameters}
