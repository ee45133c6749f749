"""Canaries in a worker: which images they are, which of them the coins plant, and under which labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from difgen_cli import condition, data
from difgen_cli.data import Canaries, _canaries
from difgen_cli.engine.plan.recipes import Recipe
from difgen_cli.engine.worker.parts import Conditions, Subset


def planted(subset: Subset, recipe: Recipe) -> Subset:
    """A subset with the canaries that a recipe plants after it, each as often as its level says."""
    out, settings = subset.holdout.canaries, recipe.settings
    kind, seed = settings.get("kind", "held_out"), settings.get("seed", 0)
    plain = data.to_uint8(out) if out.ndim == 4 else out
    canaries = Canaries(
        images=data.scaled(_canaries.as_planted(plain, kind, seed, subset.holdout.rest)),
        labels=None,
        repeats=_canaries.repeats_of(len(out), settings["repeats"]),
        planted=_canaries.planted(len(out), recipe.inputs["subset"].settings.get("seed", 0)),
    )
    images = np.concatenate([subset.images, canaries.images[canaries.rows]])
    return replace(subset, images=images, canaries=canaries)


def conditions(labels: condition.Labels, subset: Subset, recipe: Recipe) -> Conditions:
    """The labels of a conditioning for a subset, and for canaries that its recipe plants: as those of unseen images,
    or, where they are to be wrong, those of other classes."""
    holdout, of_train, of_canaries = subset.holdout, labels.rest[subset.positions], None
    planted_rows = len(subset.images) - len(of_train)
    if subset.canaries is not None:
        of_canaries = labels.held_out[len(holdout.drawn) :]
        if recipe.settings.get("kind") == _canaries.WRONG:
            of_canaries = _canaries.other_labels(of_canaries, labels.classes, recipe.settings.get("seed", 0))
        of_train = np.concatenate([of_train, of_canaries[subset.canaries.rows]])
    return Conditions(of_train, labels.rest, labels.held_out[holdout.apart], labels.classes, of_canaries, planted_rows)
