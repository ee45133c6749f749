"""The `fork` of a grid: a training goes on from a step of its trunk, under one change or another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from difgen_cli.engine.grid.document import GridError, Place, items, mapping, scalar, suggest
from difgen_cli.engine.grid.document import place as place_of
from difgen_cli.engine.grid.sections import check_path, nested
from difgen_cli.engine.grid.values import Given, number, values

AT, CHANGE = "fork.at", "fork.change"  # the axes that a fork brings
UNCHANGED = "none"  # the level of the empty change
MAY_CHANGE = ("train", "objective", "data")

Change = tuple[tuple[str, Given], ...]  # dotted path -> value


def read(node: Node) -> tuple[list[Given], dict[str, tuple[Given, Change]]]:
    """The steps at which a grid forks, and its changes by the words that name them, such as `train.lr=0.0001`."""
    parts = mapping(node, "fork")
    for name, (_, place) in parts.items():
        if name not in ("at", "change"):
            raise GridError(f"fork.{name}: a fork has at and change{suggest(name, ('at', 'change'))}", place)
    for name, example in (("at", "2000"), ("change", "[{}, {train.lr: 1e-4}]")):
        if name not in parts:
            raise GridError(f"fork.{name}: not given; write {name}: {example}", place_of(node))
    changes: dict[str, tuple[Given, Change]] = {}
    for item in items(parts["change"][0], CHANGE):
        change = tuple(_change(item))
        word = words(change)
        if word in changes:
            raise GridError(f"{CHANGE}: {{{'' if word == UNCHANGED else word}}} stands twice", place_of(item))
        changes[word] = (Given(word, place_of(item)), change)
    if not changes:
        raise GridError(f"{CHANGE}: this list is empty; {{}} goes on as the trunk does", parts["change"][1])
    return [_step(given) for given in _steps(parts["at"][0])], changes


def words(change: Change) -> str:
    """What a change is called: `train.lr=0.0001`, and `none` where it changes nothing."""
    return ", ".join(f"{path}={_text(given.value)}" for path, given in change) or UNCHANGED


def _steps(node: Node) -> list[Given]:
    several = isinstance(node, SequenceNode | MappingNode)
    return values(AT, node) if several else [Given(scalar(node), place_of(node))]


def _step(given: Given) -> Given:
    value = number(given.value)
    if type(value) is not int or value < 1:
        raise GridError(f"{AT}: must be a step of the trunk, a whole number of at least 1, not {value!r}", given.place)
    return Given(value, given.place)


def _change(node: Node) -> Iterator[tuple[str, Given]]:
    for path, (value, place) in mapping(node, CHANGE).items():
        check_path(path, place)
        _check_change(path, place)
        yield from nested(path, value, place)


def _check_change(path: str, place: Place) -> None:
    section = path.partition(".")[0]
    if section not in MAY_CHANGE:
        raise GridError(
            f"{CHANGE}: {path}: a fork may change train, objective and data, and goes on with the rest as it is; make "
            f"{path} an axis",
            place,
        )
    if path == "train.start" or path.startswith("train.start."):
        raise GridError(f"{CHANGE}: {path}: a fork begins with the state of its trunk; set it in base", place)


def _text(value: Any) -> str:
    """A value as a flag would give it."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(_text, value))}]"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
