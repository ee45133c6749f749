"""What makes a trajectory, the averaged weights at a step of it, and its whole state there."""

from __future__ import annotations

from collections.abc import Mapping

from difgen_cli.engine.plan.recipes import Operation, Recipe
from difgen_cli.engine.plan.sections import Section, shaping

CLOSED_FORM = "closed-form"  # the name of a trajectory that is none
CLOSED_FORM_VERSION = 1  # of how a worker makes the denoiser of a model that is not trained


def closed_form(parts: Mapping[str, Recipe]) -> Recipe:
    """A model in closed form made of these parts, in the place of a training."""
    return Recipe(Operation("trajectory", CLOSED_FORM, CLOSED_FORM_VERSION, {}), dict(parts))


def trained_by(train: Section, objective: Section, name: str) -> Operation:
    """A training: `train` from initial weights, `continue` from others' weights, `fork` from a whole state."""
    return Operation("trajectory", name, train.signature.version, dict(shaping(train, objective)))


def trajectory(train: Section, objective: Section, parts: Mapping[str, Recipe], fork: Recipe | None) -> Recipe:
    """A training made of these parts, from its first step on, or from a state of its trunk.

    It is the trunk itself where it goes on as that does, and as a trunk it may begin with a `start`.
    """
    whole = Recipe(trained_by(train, objective, "continue" if "start" in parts else "train"), dict(parts))
    if fork is None or whole.key == fork.inputs["trajectory"].key:
        return whole
    own = {role: part for role, part in parts.items() if role != "start"}
    return Recipe(trained_by(train, objective, "fork"), own | {"fork": fork})


def snapshot(train: Section, step: int) -> Operation:
    """The averaged weights at a step."""
    return Operation("snapshot", "train", train.signature.version, {"step": step})


def state(train: Section, step: int) -> Operation:
    """All that training goes on from at a step."""
    return Operation("state", "train", train.signature.version, {"step": step})
