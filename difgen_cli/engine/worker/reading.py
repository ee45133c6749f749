"""How a network is read as a denoiser, from its recipe."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import nn

from difgen_cli import models
from difgen_cli.diffusion import Denoiser
from difgen_cli.engine.plan.recipes import Recipe
from difgen_cli.engine.plugins import Library


def reading(library: Library, network: Recipe) -> Callable[[nn.Module, float], Denoiser]:
    """What makes the denoiser of a network and σ_d; a model's own file may have a function for it."""
    recipe = network.inputs.get("reading")
    own = getattr(library.module("model", network.name), "denoiser", models.denoiser)
    return partial(own, **(recipe.settings if recipe else {}))
