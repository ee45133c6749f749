"""What differs between a recipe and the one that a stored trajectory or reference has kept of itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from difgen_cli.engine.plan.recipes import Recipe

# kind of an operation -> what a person calls the code, or the content, behind it
CODE = {
    "network": "model {name}", "reading": "how a network is read", "labels": "condition {name}",
    "objective": "objective {name}", "trajectory": "training", "snapshot": "training", "state": "training",
    "features": "feature space {name}", "subset": "the split of data", "holdout": "the split of data",
    "reference": "reference rows",
}  # fmt: skip
CONTENT = {"pool": "content of {name}", "given": "labels of the file", "weights": "weights of the file"}


@dataclass(frozen=True)
class Change:
    """One thing that is different. new, stored: values as words, of all the cells that it is the reason of.

    kind: setting, seed, step, version, content, metric (added), unfinished (planned before, not there), missing or
    damaged (was there), failed (name: why), distrusted, inputs (something that it is made of), empty (nothing like it
    is stored). used: whether stored cells have one of the new values, in another combination.
    """

    kind: str
    name: str
    new: tuple[str, ...] = ()
    stored: tuple[str, ...] = ()
    used: bool = False

    def joined(self, other: Change) -> Change:
        """The same thing of more cells."""
        if other is self or other == self:
            return self
        new, stored = (tuple(dict.fromkeys((*a, *b))) for a, b in ((self.new, other.new), (self.stored, other.stored)))
        return Change(self.kind, self.name, new, stored, self.used or other.used)


def changes_of(recipe: Recipe, table: Mapping[str, Any], key: str) -> list[Change]:
    """The versions of code and the contents that a stored recipe has otherwise, each once.

    table: recipes as `recipes.dump` wrote them; key: of the stored one in it.
    """
    return list(dict.fromkeys(change for new, old in _pairs(recipe, table, key) for change in _of_pair(new, old)))


def settings_of(recipe: Recipe, table: Mapping[str, Any], key: str) -> list[Change]:
    """The settings that differ, which are not in the rows: such as the last step where the learning rate ends there."""
    changes: dict[Change, None] = {}
    for new, old in _pairs(recipe, table, key):
        label = CODE.get(new.operation.kind, new.operation.kind).format(name=new.name)
        for name in sorted({*new.settings, *old["settings"]}):
            own, other = (_word(one.get(name)) for one in (new.settings, old["settings"]))
            if own != other:
                changes[Change("setting", f"{name} of the {label}", (own,), (other,))] = None
    return list(changes)


def _pairs(recipe: Recipe, table: Mapping[str, Any], key: str) -> Iterator[tuple[Recipe, Mapping[str, Any]]]:
    """A recipe and the stored one in the same role, of all that differ."""
    old = table.get(key)
    if old is None or recipe.key == key:
        return
    yield recipe, old
    for role, part in recipe.inputs.items():
        if role in old["inputs"]:
            yield from _pairs(part, table, old["inputs"][role])


def _of_pair(new: Recipe, old: Mapping[str, Any]) -> Iterator[Change]:
    kind = new.operation.kind
    if kind != old["kind"] or new.name != old["name"]:
        return
    if new.content != old.get("content"):
        label = CONTENT.get(kind, kind).format(name=new.name)
        yield Change("content", label, (str(new.content),), (str(old.get("content")),))
    if str(new.operation.version) != str(old["version"]):
        label = CODE.get(kind, f"{kind} {{name}}").format(name=new.name)
        yield Change("version", label, (str(new.operation.version),), (str(old["version"]),))
    weights = [str(one.get("weights"))[:16] for one in (new.settings, old["settings"])]
    if kind == "features" and weights[0] != weights[1]:
        yield Change("content", f"weights of feature space {new.name}", (weights[0],), (weights[1],))


def _word(value: Any) -> str:
    return str(list(value)) if isinstance(value, tuple | list) else str(value)
