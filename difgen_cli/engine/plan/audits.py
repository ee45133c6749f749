"""Audits of one training: each image of the pool by its own coin, and what must not give the coins away."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from difgen_cli.engine.grid import Axis, Grid
from difgen_cli.engine.grid.document import GridError
from difgen_cli.engine.grid.values import Given
from difgen_cli.engine.plan import Facts, canaries, checks
from difgen_cli.engine.plan.metric import Metric
from difgen_cli.engine.plan.points import Where, assignments
from difgen_cli.engine.plan.sections import Section
from difgen_cli.engine.plugins import Library

INPUT = "coins"  # the metrics' positional parameter that stands for them
FORESEEN = "foreseen"  # the function of a metric that says beforehand what it can show
ONCE = "DECLARED_ONCE"  # the constant of a metric that names settings with one value in a grid


def coins(own: dict[str, Any], facts: Facts, where: Where) -> tuple[int, bool]:
    """The size of a subset that coins draw, as it is expected, and whether they are fair.

    GridError where something else has a say in it.
    """
    from difgen_cli.data import check_coins, fair

    pool = checks.rest(own, facts)
    try:
        check_coins(own["size"], pool, own["half"], own["unlearn"])
    except ValueError as error:
        raise GridError(str(error), where(str(error).partition(":")[0]) or where("data.draw")) from None
    are_fair = fair(own["size"], pool)
    return (pool // 2 if are_fair else int(own["size"])), are_fair


def foreseen(section: Section, data: Section, facts: Facts, library: Library, where: Where) -> Iterator[str]:
    """What a metric can show at most, before anything is trained. GridError where it refuses its settings."""
    if FORESEEN not in section.signature.functions:
        return
    if canaries.INPUT in section.signature.inputs:
        asked: Any = canaries.planting(data.own, where)
    else:
        are_fair = data.own["draw"] == "coin" and coins(data.own, facts, where)[1]
        asked = checks.rest(data.own, facts) if are_fair else None
    path = f"score.{section.name}"
    try:
        sentence = library.module("score", section.name).foreseen(asked, section.settings)
    except ValueError as error:
        raise GridError(f"{path}.{error}", where(f"{path}.{str(error).partition(':')[0]}")) from None
    if sentence:
        yield f"{path}: {sentence}"


def check_once(grid: Grid, axes: Sequence[Axis], library: Library) -> None:
    """GridError where a grid has several values of a setting that must be declared: the best one would be chosen."""
    given: dict[str, list[Given]] = {}
    for path, value in assignments(grid, axes):
        given.setdefault(path, []).append(value)
    for path, values in given.items():
        section, _, rest = path.partition(".")
        name, _, setting = rest.partition(".")
        different = sorted({str(value.value) for value in values})
        if section != "score" or len(different) < 2 or name not in library.names("score"):
            continue
        if setting in library.signature("score", name).constants.get(ONCE, ()):
            raise GridError(
                f"{path}: {', '.join(different)} are {len(different)} values, and the best result of them would be no "
                "bound; choose one beforehand",
                values[-1].place,
            )


def check_labels(condition: Section, metrics: Mapping[str, Metric], where: Where) -> None:
    """GridError where labels follow from the coins, and a metric guesses these."""
    guessing = next((name for name, metric in metrics.items() if INPUT in metric.inputs), None)
    if guessing is None:
        return
    if "train" in condition.signature.inputs:
        raise GridError(
            f"condition.name: {condition.name} is given who is trained on, and its labels could give away what "
            f"{guessing} guesses; use another condition",
            where("condition.name"),
        )
    if condition.own.get("permuted") and condition.name != "none":
        raise GridError(
            "condition.permuted: permutes the labels of who is trained on alone, which would give away what "
            f"{guessing} guesses; leave it out",
            where("condition.permuted"),
        )
