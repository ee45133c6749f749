"""One recursion for identity: key(x) = hash(kind, plug-in name, VERSION, canonical settings, keys of the inputs).

A recipe says how a thing is made; its key names the thing wherever it lies. Settings equal to their default are left
out, so that a new setting keeps old results valid.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

APART_VERSION = 1  # of what a near-duplicate is
PLANTED = "planted"  # the name of a subset with canaries
BEGINNINGS = ("start", "fork")  # inputs of a trajectory that its first step needs, and none after it


@dataclass(frozen=True, eq=False)
class Operation:
    """The part of a recipe that does not depend on inputs: computed once, hashed with many."""

    kind: str  # pool, holdout, subset, unlearn, features, labels, network, trajectory, snapshot, samples, metric
    name: str
    version: int | str
    settings: dict[str, Any]

    @cached_property
    def text(self) -> str:
        """The canonical text that is hashed."""
        return _canonical([self.kind, self.name, self.version, self.settings])

    def key(self, inputs: Mapping[str, str]) -> str:
        """Key of the thing that this makes of inputs with these keys; 16 hexadecimal digits."""
        return _hash(self.text, inputs)


@dataclass(frozen=True, eq=False)
class Recipe:
    """How a thing is made: an operation, and the recipes of its inputs by role."""

    operation: Operation
    inputs: dict[str, Recipe]
    content: str | None = None  # a pool's identity is its content

    @cached_property
    def key(self) -> str:
        """Identity of the thing."""
        return self.content or self.operation.key({role: r.key for role, r in self.inputs.items()})

    @property
    def settings(self) -> dict[str, Any]:
        return self.operation.settings

    @property
    def name(self) -> str:
        return self.operation.name


def apart(holdout: Recipe) -> Recipe:
    """The held-out images without those that have a near-duplicate among the rest: what metrics compare with."""
    return Recipe(Operation("apart", "near-duplicates", APART_VERSION, {}), {"holdout": holdout})


def measured(subset: Recipe) -> Recipe:
    """The training subset that metrics compare with: that of all images, where a model was retrained without some, and
    without canaries."""
    with_all = subset.inputs.get("unlearn", subset)
    return with_all.inputs.get("subset", subset)


def canaries_of(holdout: Recipe) -> dict[str, Any] | None:
    """How many canaries are taken out of a pool, and how they are chosen; None where none are."""
    return holdout.inputs["canaries"].settings if "canaries" in holdout.inputs else None


def has_fair_coins(subset: Recipe) -> bool:
    """Whether each image of the pool is in a training subset by a fair coin of its own: half of them are expected."""
    return subset.settings.get("draw") == "coin" and "size" not in subset.settings


def images_of(subset: Recipe) -> dict[str, str]:
    """The metrics' positional parameters that stand for images and what rests on them alone, by key."""
    holdout = subset.inputs["holdout"]
    held_out = apart(holdout).key
    return {
        "train": subset.key, "shared": subset.key, "train_classes": subset.key, "coins": subset.key,
        "canaries": subset.key,
        "held_out": held_out, "held_out_classes": held_out, "rest": holdout.key, "sigma_data": holdout.key,
    }  # fmt: skip


def labels_of(labels: Recipe) -> dict[str, str]:
    """The metrics' positional parameters that stand for the labels of a condition, by key."""
    return dict.fromkeys(("train_labels", "train_confidence", "rest_labels", "held_out_labels"), labels.key)


def mirrored(recipe: Recipe) -> bool:
    """Whether a training showed mirror images, or one that it began with or forked from did; of a reference, whether
    the models that it stands beside were shown some."""
    if recipe.settings.get("flip") or recipe.settings.get("augment"):
        return True
    before = (recipe.inputs[role].inputs["trajectory"] for role in BEGINNINGS if role in recipe.inputs)
    return any(map(mirrored, before))


def dump(recipes: Mapping[str, Recipe]) -> dict[str, Any]:
    """Recipes as a flat table from key to parts, for JSON."""
    return {
        key: {
            "kind": r.operation.kind,
            "name": r.operation.name,
            "version": r.operation.version,
            "settings": {k: _plain(v) for k, v in r.operation.settings.items()},
            "inputs": {role: i.key for role, i in r.inputs.items()},
            **({"content": r.content} if r.content else {}),
        }
        for key, r in recipes.items()
    }


def load(table: Mapping[str, Any]) -> dict[str, Recipe]:
    """The recipes that `dump` wrote; lists become tuples again."""
    loaded: dict[str, Recipe] = {}

    def make(key: str) -> Recipe:
        if key not in loaded:
            t = table[key]
            settings = {k: tuple(v) if isinstance(v, list) else v for k, v in t["settings"].items()}
            operation = Operation(t["kind"], t["name"], t["version"], settings)
            loaded[key] = Recipe(operation, {role: make(k) for role, k in t["inputs"].items()}, t.get("content"))
        return loaded[key]

    for key in table:
        make(key)
    return loaded


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def _canonical(parts: list[Any]) -> str:
    return json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=str)


def _hash(text: str, inputs: Mapping[str, str]) -> str:
    joined = ",".join(f"{role}={inputs[role]}" for role in sorted(inputs))
    return hashlib.sha256(f"{text}|{joined}".encode()).hexdigest()[:16]
