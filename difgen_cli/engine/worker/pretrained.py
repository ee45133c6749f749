"""Weights that somebody else trained, as a worker reads them: the user's own files, which must be those of the plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from difgen_cli.diffusion import Denoiser
from difgen_cli.engine.plan import pretrained_files
from difgen_cli.engine.plan.recipes import Operation, Recipe
from difgen_cli.engine.plan.work import tuples
from difgen_cli.engine.plugins import Library
from difgen_cli.engine.store import Store
from difgen_cli.engine.worker.reading import reading


def denoiser(store: Store, library: Library, trajectory: Recipe, sigma_data: float) -> Denoiser:
    """The denoiser of weights, for data of σ_d, on the CPU.

    ValueError, one sentence, where the files are gone, cannot be read, or hold others than those that were planned.
    """
    recipe = trajectory.inputs["weights"]
    model, path = _read(store, library, recipe.key)
    network = library.module("model", recipe.name).build(model.build(), path=path)
    return reading(library, trajectory.inputs["network"])(network, sigma_data).eval().requires_grad_(False)


def by_itself(store: Store, library: Library, key: str, sigma_data: float) -> Denoiser:
    """The same of weights that are no trajectory of the plan, by their key."""
    model, _ = _read(store, library, key)
    read = {"reading": Recipe(Operation("reading", "denoiser", 0, dict(model.described.reading)), {})}
    network = Recipe(Operation("network", model.described.network, 0, {}), read)
    return reading(library, network)(model.build(), sigma_data).eval().requires_grad_(False)


def _read(store: Store, library: Library, key: str) -> tuple[Any, Path]:
    """The weights of a key, and their path."""
    source = store.weights_source(key)
    if missing := source.get("missing"):
        raise ValueError(missing)
    asked: dict[str, Any] = {k: source[k] for k in ("choice", "description", "reading")}
    asked["description"] = Path(asked["description"]) if asked["description"] else None
    asked["reading"] = tuples(asked["reading"])
    path = Path(source["path"])
    model = pretrained_files.read(path, asked, library)
    if pretrained_files.identity_of(model) != source["identity"]:
        raise ValueError(
            f"{path}: these are other weights than those that the grid was planned with: put those back, or run "
            "`difgen sweep` again"
        )
    return model, path
