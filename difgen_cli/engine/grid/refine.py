"""The `refine` of a grid: which values of one axis are run is decided by results, round by round."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ruamel.yaml.nodes import Node

from difgen_cli.engine.grid.document import GridError, Place, mapping, scalar, suggest
from difgen_cli.engine.grid.document import place as place_of
from difgen_cli.engine.grid.values import number

if TYPE_CHECKING:
    from difgen_cli.engine.grid import Axis

PARTS = {"axis": "data.size", "metric": "mem_frac", "level": "0.5", "first": "6"}  # of `refine`, each with an example
FEWEST_VALUES = 4  # of an axis that is refined: with fewer nothing is left out


@dataclass(frozen=True)
class Refine:
    """Values of `axis` are run until the column `metric` is known to be above or below `level` on its neighbours."""

    axis: str
    metric: str
    level: float
    first: int  # values of the first round
    places: dict[str, Place]  # of the four, for messages

    @property
    def identity(self) -> list[Any]:
        """What decides which cells are run."""
        return ["refine", self.axis, self.metric, self.level, self.first]


def read(node: Node, axes: Sequence[Axis]) -> Refine:
    """The `refine` of a grid with these axes. Raises GridError where it cannot choose among their values."""
    parts = mapping(node, "refine")
    for name, (_, place) in parts.items():
        if name not in PARTS:
            raise GridError(f"refine.{name}: refine has {', '.join(PARTS)}{suggest(name, PARTS)}", place)
    for name, example in PARTS.items():
        if name not in parts:
            raise GridError(f"refine.{name}: not given; write {name}: {example}", place_of(node))
    values = {name: scalar(value) for name, (value, _) in parts.items()}
    places = {name: place_of(value) for name, (value, _) in parts.items()}
    first = _first(values["first"], _check_axis(values["axis"], axes, places["axis"]), places["first"])
    level, metric = values["level"], values["metric"]
    if isinstance(level, bool) or not isinstance(level, int | float) or not math.isfinite(level):
        raise GridError(f"refine.level: must be a number, such as 0.5, not {level!r}", places["level"])
    if not isinstance(metric, str):
        raise GridError(f"refine.metric: must be the name of a column, such as mem_frac, not {metric!r}",
                        places["metric"])  # fmt: skip
    return Refine(values["axis"], metric, float(level), first, places)


def _check_axis(path: Any, axes: Sequence[Axis], place: Place) -> int:
    """How many values the axis of a path has."""
    if path in ("seed", "seeds"):
        raise GridError("refine.axis: all seeds of a value are run together; name an axis such as data.size", place)
    paths = [p for axis in axes for p in axis.paths]
    axis = next((axis for axis in axes if path in axis.paths), None)
    if axis is None:
        raise GridError(
            f"refine.axis: {path} is no axis of this grid ({', '.join(paths) or 'it has none'})"
            f"{suggest(str(path), paths)}",
            place,
        )
    values = [number(dict(level)[path].value) for level in axis.levels]
    odd = next((v for v in values if isinstance(v, bool) or not isinstance(v, int | float)), None)
    if odd is not None or None in values:
        raise GridError(f"refine.axis: {path} has the value {odd!r}, and refine needs numbers, which have an order",
                        place)  # fmt: skip
    if len(values) < FEWEST_VALUES:
        raise GridError(
            f"refine.axis: {path} has {len(values)} values, and with fewer than {FEWEST_VALUES} none is left out; "
            "remove refine, or give the axis more values",
            place,
        )
    return len(values)


def _first(value: Any, most: int, place: Place) -> int:
    if type(value) is not int or not 2 <= value <= most:
        raise GridError(
            f"refine.first: must be a whole number from 2 to {most}, the values of the axis, not {value!r}", place
        )
    return int(value)
