"""Conditionings in a worker: fitted with what their plug-ins name, and how certain they are of their labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from difgen_cli import condition
from difgen_cli.engine.plan.recipes import Recipe
from difgen_cli.engine.worker.parts import Subset

if TYPE_CHECKING:
    from difgen_cli.engine.worker.artifacts import Artifacts


def fitted(artifacts: Artifacts, recipe: Recipe, subset: Subset) -> condition.Labels:
    """The labels that a plug-in gives."""
    holdout = subset.holdout
    takes = artifacts.library.signature("condition", recipe.name).inputs
    inputs: dict[str, Any] = {
        "images": holdout.rest, "labels": holdout.rest_labels, "held_out": holdout.unseen,
        "held_out_labels": holdout.unseen_labels, "train": subset.positions,
    }  # fmt: skip
    if "embed" in takes:
        inputs["embed"] = artifacts.embed(recipe.inputs["embed"].key, holdout)
    if "given" in takes:
        given = artifacts.store.given(recipe.inputs["given"].key)
        inputs |= {"given": given[holdout.rest_places], "held_out_given": given[holdout.unseen_places]}
    labels: condition.Labels = artifacts.library.module("condition", recipe.name).fit(
        **{name: inputs[name] for name in takes}, **recipe.settings
    )
    return labels


def confidence(artifacts: Artifacts, key: str, subset_key: str) -> np.ndarray | None:
    """How certain the label of each image of T is, (n,); None where its conditioning does not say, or was altered.

    Fitted again for those who ask: stored labels have none. Rows of planted canaries are NaN. ValueError where this
    machine then finds other labels.
    """
    recipe, subset = artifacts.recipes[key], artifacts.subset(subset_key)
    if "labels" in recipe.inputs:
        return None

    def compute() -> dict[str, np.ndarray]:
        own = artifacts.subset(recipe.inputs["subset"].key) if "subset" in recipe.inputs else subset
        labels = fitted(artifacts, recipe, own)
        return {"labels": labels.rest, "confidence": np.empty(0) if labels.confidence is None else labels.confidence}

    arrays = artifacts.once(key, "confidence", compute)
    stored = artifacts.conditions(key, subset_key).rest
    if stored is None or not len(arrays["confidence"]):
        return None
    if not np.array_equal(arrays["labels"], stored):
        raise ValueError("the labels cannot be fitted again on this machine: measure it where they were fitted")
    planted = np.full(len(subset.images) - len(subset.positions), np.nan)
    return np.concatenate([arrays["confidence"][subset.positions], planted])
