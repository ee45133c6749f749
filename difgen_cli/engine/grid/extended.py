"""The text of a grid with more levels, seeds or samples: all else stays as its author wrote it, comments too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from difgen_cli.engine.grid.document import GridError, compose

Edit = tuple[int, int, str]  # from, to, and what stands there instead


@dataclass(frozen=True)
class Changes:
    """axes: by path all levels of axes that the grid has. seeds: all of them; empty as they are. base: settings.
    skip: further lines, by path a value or a comparison."""

    axes: Mapping[str, Sequence[int | float]]
    seeds: Sequence[int] = ()
    base: Mapping[str, int] | None = None
    skip: Sequence[Mapping[str, str]] = ()


def extended(text: str, changes: Changes) -> str:
    """The text with these changes. GridError for an axis that it does not have."""
    root = compose(text)
    edits, more = [], ""
    for path, levels in changes.axes.items():
        node = _at(_at(root, "axes"), path)
        if node is None:
            raise GridError(f"{path}: no axis of this grid, so that it cannot have more levels")
        edits.append(_replaced(node, f"[{', '.join(map(str, levels))}]"))
    if changes.seeds:
        counted = list(changes.seeds) == list(range(len(changes.seeds)))
        seeds, node = str(len(changes.seeds) if counted else list(changes.seeds)), _at(root, "seeds")
        more += "" if node else f"seeds: {seeds}\n"
        edits += [_replaced(node, seeds)] if node else []
    for path, value in (changes.base or {}).items():
        base = _at(root, "base")
        more += "" if base else f"base: {{{_nested(path, str(value))}}}\n"
        edits += [_set(base, path, str(value))] if base else []
    if changes.skip:
        lines = [f"{{{', '.join(f'{path}: {test}' for path, test in line.items())}}}" for line in changes.skip]
        node = _at(root, "skip")
        more += "" if node else f"skip: [{', '.join(lines)}]\n"
        edits += [_inserted(node, line) for line in lines] if node else []
    for start, end, words in sorted(edits, reverse=True):
        text = text[:start] + words + text[end:]
    return f"{text.rstrip()}\n{more}" if more else text


def _at(node: Node | None, key: str) -> Node | None:
    """The value of a key of a map; None where it is not there."""
    pairs = node.value if isinstance(node, MappingNode) else []
    return next((value for name, value in pairs if name.value == key), None)


def _set(node: Node, path: str, value: str) -> Edit:
    """A setting of a map that may be nested: its value, or a new entry in the deepest map on its way."""
    direct = _at(node, path)
    if direct is not None:
        return _replaced(direct, value)
    for name, inner in _maps(node):
        if path.startswith(f"{name}."):
            return _set(inner, path.removeprefix(f"{name}."), value)
    return _inserted(node, _nested(path, value))


def _nested(path: str, value: str) -> str:
    """`sample: {count: 128}` for sample.count: a section is a map."""
    name, dot, rest = path.partition(".")
    return f"{name}: {{{_nested(rest, value)}}}" if dot else f"{name}: {value}"


def _maps(node: Node) -> Iterator[tuple[str, Node]]:
    for name, value in node.value:
        if isinstance(value, MappingNode):
            yield str(name.value), value


def _replaced(node: Node, words: str) -> Edit:
    """A value in the place of another; a block list ends with its last item, not with the comment after it."""
    last = node
    while isinstance(last, SequenceNode | MappingNode) and not last.flow_style and last.value:
        last = last.value[-1][1] if isinstance(last, MappingNode) else last.value[-1]
    return node.start_mark.index, last.end_mark.index, words


def _inserted(node: Node, entry: str) -> Edit:
    """An entry in front of all others of a map or a list, in the style of its own."""
    start: Any = node.start_mark
    if isinstance(node, SequenceNode | MappingNode) and node.flow_style:
        return start.index + 1, start.index + 1, f"{entry}, "
    dash = "- " if isinstance(node, SequenceNode) else ""
    return start.index, start.index, f"{dash}{entry}\n{' ' * start.column}"
