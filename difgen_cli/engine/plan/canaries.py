"""Canaries in a grid: what they take out of the pool, what they add to a training, and what they can show at most.

T is the training subset without them, whoever is planted: to the metrics the images of a training are those that stand
in it once and were not put there, so that numbers with canaries can be compared with numbers without. What is trained
on is another recipe, of T and the coins.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from difgen_cli.engine.grid.document import GridError
from difgen_cli.engine.plan import Facts
from difgen_cli.engine.plan.points import Where
from difgen_cli.engine.plan.recipes import PLANTED, Operation, Recipe
from difgen_cli.engine.plan.sections import Section

if TYPE_CHECKING:
    from difgen_cli.data import Planting

GROUP = "canaries"  # the map of settings of data
INPUT = "canaries"  # the metrics' positional parameter that stands for them
SHARE_MOST = 0.02  # of the training images: what more canaries add changes the model that is audited


def is_setting(name: str) -> bool:
    """Whether a setting of data is of the canaries."""
    return name.startswith(f"{GROUP}.")


def planting(own: dict[str, Any], where: Where) -> Planting | None:
    """What the settings of a data section ask for; None for no canaries. GridError where they do not fit together."""
    from difgen_cli import data

    try:
        asked = data.canaries(**{k.partition(".")[2]: v for k, v in own.items() if is_setting(k)})
    except ValueError as error:
        raise GridError(str(error), where(str(error).partition(":")[0])) from None
    if asked is None:
        return None
    for name, why in (
        ("half", "both halves would plant the same images"),
        ("unlearn", "what is to be unlearnt is part of a training set without canaries"),
    ):
        if own[name]:
            raise GridError(f"data.{name}: {why}; leave it out, or set data.canaries.count: 0", where(f"data.{name}"))
    return asked


def images_of(own: dict[str, Any]) -> int:
    """How many images the canaries take out of the pool, before they are checked."""
    return int(own.get("canaries.count", 0)) * len(own.get("canaries.repeats", ()))


def apart(data: Section, where: Where, keep: Callable[[Recipe], Recipe]) -> dict[str, Recipe]:
    """Which images of a pool they are, as an input of what is left of it; no input where there are none.

    They are the same for every kind but sparse, and however they are repeated.
    """
    if (asked := planting(data.own, where)) is None:
        return {}
    from difgen_cli.data._canaries import VERSION

    own = {"count": asked.images} | ({"sparse": True} if asked.sparse else {})
    return {
        GROUP: keep(Recipe(Operation(GROUP, "chosen", VERSION, own | ({"seed": asked.seed} if asked.seed else {})), {}))
    }


def shown(data: Section, condition: Section, subset: Recipe, size: int, where: Where) -> tuple[Recipe, list[str]]:
    """What is trained on, in the place of a subset of `size` images, and what is to be said of it."""
    if (asked := planting(data.own, where)) is None:
        return subset, []
    check_condition(asked, condition, where)
    return planted(subset, asked), note(asked, size)


def planted(subset: Recipe, asked: Planting) -> Recipe:
    """What is trained on: a subset, and after it the canaries whose coins say so, each as often as its level says."""
    from difgen_cli.data._canaries import VERSION

    kind = "held_out" if asked.sparse else asked.kind  # an image that is planted as it is
    own = {"count": asked.count, "repeats": asked.repeats} | ({"kind": kind} if kind != "held_out" else {})
    own |= {"seed": asked.seed} if asked.seed and kind != "held_out" else {}
    return Recipe(Operation("subset", PLANTED, VERSION, own), {"holdout": subset.inputs["holdout"], "subset": subset})


def check_condition(asked: Planting, condition: Section, where: Where) -> None:
    """GridError where canaries are to have the label of another class, and there are none."""
    from difgen_cli.data._canaries import WRONG

    if asked.kind == WRONG and condition.name == "none":
        raise GridError(
            "data.canaries.kind: mislabelled needs a condition, and this model has none; use another kind, or a "
            "condition such as labels",
            where("data.canaries.kind"),
        )


def room(own: dict[str, Any], facts: Facts, where: Where) -> None:
    """GridError where the canaries leave no image to train on."""
    left = facts.images - own["held_out"]
    if (asked := images_of(own)) and asked >= left:
        raise GridError(
            f"data.canaries.count: {asked} canaries of all levels leave none of {left} images to train on that are not "
            "held out; use fewer",
            where("data.canaries.count"),
        )


def note(asked: Planting, size: int) -> list[str]:
    """What is to be said where they are more than a small part of what is trained on."""
    if asked.rows <= SHARE_MOST * size:
        return []
    return [
        f"data.canaries: {asked.images:,} canaries are expected to add {asked.rows:,.0f} rows to {size:,} training "
        f"images, {asked.rows / size:.0%}; above {SHARE_MOST:.0%} the model that is audited is another one than the "
        "model without them: use fewer, or fewer repeats"
    ]
