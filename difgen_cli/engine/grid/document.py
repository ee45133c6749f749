"""A YAML file as nodes with places: composed, never constructed into objects.

Scalars become plain values by the rules of YAML 1.2 (`1e-3` is a number, `no` a word, `010` ten). Anchors, aliases,
tags and duplicate keys are refused, and every refusal knows its line and column.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

MOST_DIGITS = 100  # of a whole number that is read at all; settings lie below 2^63


@dataclass(frozen=True)
class Place:
    """Where in a grid file something stands; line and column count from 1, 0 for what a flag gave."""

    line: int = 0
    column: int = 0


class GridError(ValueError):
    """Bad input: one sentence, and where it is. Shown with the line and a caret; exit code 2."""

    def __init__(self, message: str, place: Place | None = None) -> None:
        super().__init__(message)
        self.place = place
        self.file: Path | None = None

    def shown(self) -> str:
        """`file:line:column: sentence`, then the line itself and a caret below the column."""
        if self.file is None:
            return str(self)
        if self.place is None or self.place.line == 0:
            return f"{self.file}: {self}"
        head = f"{self.file}:{self.place.line}:{self.place.column}: {self}"
        try:
            line = self.file.read_text(encoding="utf-8").splitlines()[self.place.line - 1]
        except (OSError, UnicodeDecodeError, IndexError):
            return head
        line = line.replace("\t", " ")[:200]
        return f"{head}\n    {line}\n    {' ' * (self.place.column - 1)}^"


def text(file: Path) -> str:
    """What a file says, as UTF-8."""
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise GridError("not a text file in UTF-8") from None
    except OSError as error:
        raise GridError(f"cannot be read ({error.strerror}); give the path of a grid such as grids/size.yaml") from None


def compose(text: str) -> Node:
    """The root node of a YAML text; raises GridError with the place of what is wrong."""
    yaml = YAML(typ="safe", pure=True)
    try:
        root: Node | None = yaml.compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(mark.line + 1, mark.column + 1) if mark else None
        raise GridError(f"not YAML: {_plain(error.problem or error.context or 'cannot be read')}", place) from None
    except YAMLError as error:
        raise GridError(f"not YAML: {_plain(str(error))}") from None
    except RecursionError:
        raise GridError("not a grid: nested too deeply") from None
    if root is None:
        raise GridError("empty: a grid is a map with base, axes and seeds", Place(1, 1))
    return root


def _plain(text: str) -> str:
    text = " ".join(text.split()).replace("'\\t'", "a tab")
    return text + ("; indent with spaces" if "a tab" in text else "")


def place(node: Node) -> Place:
    """Where a node starts."""
    return Place(node.start_mark.line + 1, node.start_mark.column + 1)


def mapping(node: Node, what: str) -> dict[str, tuple[Node, Place]]:
    """A map's values and the places of their keys; refuses duplicates, anchors and keys that are no text."""
    refuse_anchor(node)
    if not isinstance(node, MappingNode):
        raise GridError(f"{what} must be a map such as {{name: value}}, not {_kind(node)}", place(node))
    out: dict[str, tuple[Node, Place]] = {}
    for key, value in node.value:
        refuse_anchor(key)
        if not isinstance(key, ScalarNode):
            raise GridError(f"a key of {what} must be a name, not {_kind(key)}", place(key))
        if key.value in out:
            raise GridError(f"{key.value}: given twice (first in line {out[key.value][1].line})", place(key))
        out[key.value] = (value, place(key))
    return out


def items(node: Node, what: str) -> list[Node]:
    """The nodes of a list."""
    refuse_anchor(node)
    if not isinstance(node, SequenceNode):
        raise GridError(f"{what} must be a list, not {_kind(node)}", place(node))
    return list(node.value)


def refuse_anchor(node: Node) -> None:
    """Raise GridError for a node that carries an anchor."""
    if getattr(node, "anchor", None):
        raise GridError(
            f"&{node.anchor}: anchors and aliases are not allowed in a grid; write the value out", place(node)
        )


def _kind(node: Node) -> str:
    if isinstance(node, ScalarNode):
        return f"the value {node.value!r}" if node.value else "nothing"
    return "a list" if isinstance(node, SequenceNode) else "a map"


def scalar(node: Node) -> Any:
    """A plain value by the YAML 1.2 rules; lists become tuples."""
    refuse_anchor(node)
    if isinstance(node, SequenceNode):
        return tuple(scalar(n) for n in node.value)
    if not isinstance(node, ScalarNode):
        raise GridError("a value is expected here, not a map", place(node))
    tag, word = str(node.tag).rpartition(":")[2], node.value
    match tag:
        case "null":
            return None
        case "bool":
            return word.lower() == "true"
        case "int":
            digits = word.replace("_", "")
            if len(digits) > MOST_DIGITS:
                raise GridError(f"a whole number of {len(digits):,} digits: write one of at most 19", place(node))
            return int(digits, 0) if re.match(r"[-+]?0[xob]", digits) else int(digits)
        case "float":
            return float(re.sub(r"\.(nan|inf)$", r"\1", word.replace("_", "").lower()))
        case "str":
            return word
    raise GridError(f"{node.tag}: tags are not allowed in a grid", place(node))


def within(text: str, place: Place | None, what: str = "") -> Any:
    """A value that is written within another text, as after `>` or in a flag: an error stands where that text does.

    `what` names the text where it has no place in the file.
    """
    try:
        return scalar(compose(text))
    except GridError as error:
        raise GridError(f"{what}{': ' if what else ''}{error}", place) from None


def suggest(word: str, words: Iterable[str]) -> str:
    """`; did you mean …?` for a word close to a known one, else nothing."""
    close = difflib.get_close_matches(word, words, n=1)
    return f"; did you mean {close[0]}?" if close else ""
