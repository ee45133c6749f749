"""What is done to finished weights when samples and metrics read them: in the key of the snapshot that they see."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from difgen_cli.engine.grid.document import GridError
from difgen_cli.engine.plan.recipes import Operation, Recipe
from difgen_cli.engine.plan.sections import Section, is_pretrained

if TYPE_CHECKING:
    from difgen_cli.engine.plan.points import Where
    from difgen_cli.engine.plan.runs import SnapshotRef

KIND = "post_training"
OTHERS = "others"  # an input of such a plug-in: weights of the same trajectory at other steps
STEPS = "steps"  # the setting that lists these


def changed(
    weights: SnapshotRef, snapshot: Recipe, change: Section, at: Callable[[int], SnapshotRef],
    horizon: tuple[str, Any] | None, where: Where,
) -> tuple[SnapshotRef, Recipe]:  # fmt: skip
    """Weights of a snapshot as samples and metrics see them after a change, and the recipe of that.

    `at` gives the trajectory's weights at another step, unless a setting with a horizon makes that another run. Raises
    GridError for steps that it cannot have.
    """
    steps = _others(change, horizon, where)
    operation = Operation(KIND, change.name, change.signature.version, change.changed)
    recipe = Recipe(operation, {"snapshot": snapshot})
    others = {f"{KIND}.{step}": at(step).dependency() for step in steps}
    return replace(weights, snapshot=recipe.key, others=others), recipe


def refuse(change: Section, model: Section, where: Where) -> GridError:
    """The error of weights to be changed of a model that is not trained here."""
    why = (
        "has those that are given, as they are" if is_pretrained(model.signature) else "is in closed form and has none"
    )
    return GridError(
        f"{KIND}.name: {change.name} changes weights, and {model.name} {why}; use none for it", where(f"{KIND}.name")
    )


def _others(change: Section, horizon: tuple[str, Any] | None, where: Where) -> tuple[int, ...]:
    """The steps of the other snapshots that a change is given."""
    if OTHERS not in change.signature.inputs:
        return ()
    steps, path = change.settings.get(STEPS), f"{KIND}.{STEPS}"
    if not isinstance(steps, tuple) or not all(type(step) is int and step > 0 for step in steps):
        raise GridError(
            f"{path}: {change.signature.label} asks for other snapshots, and needs a setting `{STEPS}: tuple[int, "
            "...]`, each above 0",
            where(path) or where(f"{KIND}.name"),
        )
    if steps and horizon:
        raise GridError(
            f"{path}: {horizon[0]} is {horizon[1]}, which ends at train.steps, so that other steps are other runs; use "
            "another value of it",
            where(path) or where(horizon[0]),
        )
    return tuple(sorted({*steps}))
