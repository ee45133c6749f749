"""What values a grid may give: lists, lin and geom, counts such as 10k, and comparisons such as "< 100"."""

from __future__ import annotations

import math
import operator
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from difgen_cli.engine.grid.document import GridError, Place, mapping, refuse_anchor, scalar, within
from difgen_cli.engine.grid.document import place as place_of


@dataclass(frozen=True)
class Given:
    """A value and where it was given."""

    value: Any
    place: Place = field(default=Place(), compare=False)


DIGITS = 12  # of a number that a person would write


class Spaced(float):
    """A value that `lin` or `geom` made: rounded where the setting is a whole number."""


def values(path: str, node: Node) -> list[Given]:
    if isinstance(node, MappingNode):
        values = _spaced(path, node)
    elif isinstance(node, SequenceNode):
        refuse_anchor(node)
        values = [Given(scalar(n), place_of(n)) for n in node.value]
    else:
        raise GridError(
            f"{path}: an axis is a list of values, or lin: or geom: with [first, last, count]", place_of(node)
        )
    if not values:
        raise GridError(f"{path}: this axis is empty; give it at least one value", place_of(node))
    seen: set[tuple[bool, Any]] = set()
    for given in values:
        itself = (type(given.value) is bool, number(given.value))  # True is 1, and means another thing
        if itself in seen:
            raise GridError(f"{path}: the value {given.value!r} stands twice on this axis", given.place)
        seen.add(itself)
    return values


def _spaced(path: str, node: MappingNode) -> list[Given]:
    parts = mapping(node, path)
    if len(parts) != 1 or next(iter(parts)) not in ("lin", "geom"):
        raise GridError(
            f"{path}: an axis is a list of values, or one of lin: and geom: with [first, last, count]", place_of(node)
        )
    way, (value, _) = next(iter(parts.items()))
    numbers = scalar(value)
    good = isinstance(numbers, tuple) and len(numbers) == 3 and all(type(n) in (int, float) for n in numbers)
    if (
        not good
        or not isinstance(numbers[2], int)
        or not 2 <= numbers[2] <= 100_000
        or not all(map(math.isfinite, numbers))
    ):
        raise GridError(f"{path}: {way} takes [first, last, count] with a count of at least 2", place_of(value))
    first, last, count = numbers
    if way == "geom" and (first <= 0 or last <= 0):
        raise GridError(f"{path}: geom needs a first and a last value above 0, got {first} and {last}", place_of(value))
    if first == last:
        raise GridError(f"{path}: {way} from {first} to {last} holds one value only", place_of(value))
    spread = [i / (count - 1) for i in range(count)]
    along = [first * (last / first) ** t if way == "geom" else first + (last - first) * t for t in spread]
    along = [*map(_plain, along[:-1]), last]
    return [Given(int(v) if float(v).is_integer() else Spaced(v), place_of(value)) for v in along]


def _plain(value: float) -> float:
    """The short number that a value is but for rounding: 0.1 for 0.09999999999999999; else the value itself."""
    short = float(f"{value:.{DIGITS}g}")
    return short if math.isclose(short, value, rel_tol=4 * sys.float_info.epsilon) else value


_COMPARISONS = {
    "<=": operator.le,
    ">=": operator.ge,
    "!=": operator.ne,
    "==": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}


def predicate(wanted: Any, place: Place | None = None) -> Callable[[Any], bool]:
    """A predicate from a value: equality, any of a tuple, or a comparison string such as "< 100" (parsed, not run)."""
    if isinstance(wanted, tuple):
        several = [number(one) for one in wanted]
        return lambda value: number(value) in several
    match = re.fullmatch(r"\s*(<=|>=|!=|==|<|>)\s*(\S.*)", wanted) if isinstance(wanted, str) else None
    if match is None:
        one = number(wanted)
        return lambda value: bool(number(value) == one)
    compare, bound = _COMPARISONS[match[1]], number(within(match[2].strip(), place))
    if match[1] not in ("!=", "==") and not isinstance(bound, int | float):
        raise GridError(f"{wanted!r}: a number is expected after {match[1]}", place)

    def holds(value: Any) -> bool:
        value = number(value)
        if match[1] in ("!=", "=="):
            return bool(compare(value, bound))
        return isinstance(value, int | float) and bool(compare(value, bound))

    return holds


def filter_of(text: str) -> tuple[str, Callable[[Any], bool]]:
    """A `--only` filter: `data.size=64`, `data.size=<100` or `model.width=64,256`."""
    path, equals, value = text.partition("=")
    if not equals or not path.strip() or not value.strip():
        raise GridError(f"--only {text}: write KEY=VALUE, such as data.size=64 or 'data.size=<100'")
    parts = [p.strip() for p in value.split(",")]
    try:
        tests = [predicate(p if p[0] in "<>=!" else within(p, None)) for p in parts]
    except GridError as error:
        raise GridError(f"--only {text}: {error}") from None
    return path.strip(), lambda asked: any(test(asked) for test in tests)


_COUNT = re.compile(r"(\d+(?:\.\d+)?)(k|M|G|Ki|Mi|Gi)")
_SUFFIX = {"k": 10**3, "M": 10**6, "G": 10**9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}


def check_changes(path: str, changed: Mapping[str, Given], may: tuple[str, ...], sentence: str) -> None:
    """GridError with a sentence where another training is to differ in what it may not: paths begin with one of `may`.

    path: of the setting that names the other training, such as `objective.teacher`.
    """
    for name, given in changed.items():
        if not name.startswith(may):
            raise GridError(f"{path}.{name}: {sentence}", given.place)


def number(value: Any) -> Any:
    """A count written 10k or 4Ki as a whole number; anything else unchanged."""
    match = _COUNT.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return value
    product = float(match[1]) * _SUFFIX[match[2]]
    return int(product) if product.is_integer() else value
