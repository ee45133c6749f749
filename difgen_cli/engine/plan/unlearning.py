"""Training images to be unlearnt: what is told to forget them, what is trained without them, and what measures it.

Which images they are is in the keys of these three alone. A model that saw all of them is the same whoever asks.
"""

from __future__ import annotations

from difgen_cli.engine.grid.document import GridError, Place
from difgen_cli.engine.plan.points import Where
from difgen_cli.engine.plan.recipes import Operation, Recipe
from difgen_cli.engine.plan.sections import Section

SETTINGS = ("unlearn", "retrain")  # of data


def marks(data: Section, subset: Recipe, size: int, where: Where) -> Recipe | None:
    """Which of the `size` images of a subset are to be unlearnt; None for none. GridError where none would be left."""
    from difgen_cli.data import to_unlearn

    try:
        count = to_unlearn(data.own["unlearn"], size, retrain=data.own["retrain"])
    except ValueError as error:
        path = str(error).partition(":")[0]
        raise GridError(str(error), where(path)) from None
    version = data.own_signature.version if data.own_signature else 0
    return Recipe(Operation("unlearn", "split", version, {"unlearn": count}), {"subset": subset}) if count else None


def kept(marked: Recipe, size: int) -> Recipe:
    """A subset without the images of it that are marked, in the same order; as if they were not in the pool either."""
    subset, count = marked.inputs["subset"], marked.settings["unlearn"]
    operation = Operation("subset", "kept", marked.operation.version, {"size": size - count})
    return Recipe(operation, {"holdout": subset.inputs["holdout"], "unlearn": marked})


def needed(marked: Recipe | None, data: Section, objective: Section, where: Where) -> Recipe:
    """What an objective that unlearns is told to; GridError where there is nothing that its network knows."""
    if marked is None:
        raise GridError(
            f"objective.name: {objective.name} needs images to unlearn; set data.unlearn to a number of training "
            "images, or a share",
            where("objective.name"),
        )
    if data.own["retrain"]:
        raise GridError(
            f"data.retrain: these weights never see the images of data.unlearn, so that {objective.name} has nothing "
            "to unlearn; use one of them",
            where("data.retrain"),
        )
    return marked


def compared(marked: Recipe | None, metric: str, place: Place | None) -> Recipe:
    """What a metric splits the training images by; GridError where they are all the same to it."""
    if marked is None:
        raise GridError(
            f"score.{metric}: compares images to be unlearnt with the others; set data.unlearn",
            place,
        )
    return marked
