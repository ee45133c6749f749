"""The tables of a policy's file, with the lines where their keys stand: each value is checked as it is taken."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from difgen_cli.engine.grid.document import GridError, Place, suggest
from difgen_cli.gate.columns import DeclaredColumn

HEADER, KEY = re.compile(r'\s*(\[\[?)\s*([\w.\- "]+?)\s*\]\]?'), re.compile(r'\s*("[^"]+"|[\w-]+)\s*=')


@dataclass(frozen=True)
class PolicyReader:
    """The tables of one file, the lines where their keys stand, and what metrics declare."""

    places: Mapping[str, Place]
    columns: Mapping[str, DeclaredColumn]
    others: frozenset[str] = field(default_factory=frozenset)  # columns of the rows that no metric declares

    def error(self, path: str, what: str) -> GridError:
        """A sentence about a key, at its line or that of its table."""
        at = path
        while at not in self.places and "." in at:
            at = at.rpartition(".")[0]
        return GridError(f"{path}: {what}", self.places.get(at, Place()))

    def table(self, value: Any, path: str, keys: Iterable[str]) -> dict[str, Any]:
        """A table with these keys alone."""
        if not isinstance(value, dict):
            raise self.error(path, f"must be a table, [{path}]")
        keys = tuple(keys)
        for key in value:
            if key not in keys:
                raise self.error(
                    f"{path}.{key}" if path else key,
                    f"unknown key{suggest(key, keys) or '; there are ' + ', '.join(keys)}",
                )
        return value

    def word(self, table: Mapping[str, Any], path: str, key: str, allowed: Iterable[str] = ()) -> str:
        """A text, of those allowed."""
        value, allowed = table.get(key), tuple(allowed)
        at = f"{path}.{key}" if path else key
        if value is None:
            raise self.error(at, f"not given{': choose from ' + ', '.join(allowed) if allowed else ''}")
        if not isinstance(value, str) or not value.strip():
            raise self.error(at, f"must be a text in quotes, not {value!r}")
        if allowed and value not in allowed:
            raise self.error(at, f"{value!r} is none of {', '.join(allowed)}{suggest(value, allowed)}")
        return value.strip()

    def number(self, table: Mapping[str, Any], path: str, key: str) -> float | None:
        """A finite number, or None where it is not given."""
        value = table.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self.error(f"{path}.{key}", f"must be a number, not {value!r}")
        return float(value)

    def whole(self, table: Mapping[str, Any], path: str, key: str) -> int | None:
        """A whole number above 0, or None where it is not given."""
        value = table.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise self.error(f"{path}.{key}", f"must be a whole number of at least 1, not {value!r}")
        return value

    def column(self, table: Mapping[str, Any], path: str, key: str) -> str:
        """The name of a column of the rows that holds numbers."""
        name = self.word(table, path, key)
        every = {*self.columns, *self.others}
        if name not in every:
            raise self.error(
                f"{path}.{key}",
                f"no metric has a column {name}{suggest(name, every) or '; docs/tables.md says how to list them'}",
            )
        if name in self.columns and not self.columns[name].numeric:
            raise self.error(f"{path}.{key}", f"{name} holds words, not numbers")
        return name


def places_of(text: str) -> dict[str, Place]:
    """Where tables and keys stand, by their paths such as `rules[0].column`."""
    places: dict[str, Place] = {}
    counts: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := HEADER.match(line):
            table = header[2].replace('"', "").strip()
            if header[1] == "[[":
                counts[table] = counts.get(table, -1) + 1
                table = f"{table}[{counts[table]}]"
            places.setdefault(table, Place(number, len(line) - len(line.lstrip()) + 1))
        elif key := KEY.match(line):
            path = f"{table}.{key[1].strip(chr(34))}" if table else key[1].strip('"')
            places.setdefault(path, Place(number, key.start(1) + 1))
    return places
