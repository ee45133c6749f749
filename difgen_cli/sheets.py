"""Tables that a person or a spreadsheet wrote: CSV with any separator, JSON lines, Parquet."""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}  # how a spreadsheet's Unicode text begins
SUFFIXES = (".csv", ".tsv", ".txt", ".jsonl", ".parquet")


class SheetError(ValueError):
    """Why a table cannot be read, without the name of its file: the caller knows it."""


@dataclass(frozen=True)
class Sheet:
    """Columns of equal length, by their names in lower case; of a text, values are strings.

    lines: where each row stands in a text, counted from 1; () for Parquet.
    kinds: the types of a Parquet file's columns, as Arrow calls them.
    twice: names that several columns have, of which the last one counts.
    """

    columns: Mapping[str, list[Any]]
    lines: tuple[int, ...] = ()
    separator: str = ""  # in words, of a CSV text
    kinds: Mapping[str, str] = field(default_factory=dict)
    twice: frozenset[str] = frozenset()

    def first(self, *names: str) -> str | None:
        """The first of these columns that there is. SheetError where there are several of its name."""
        column = next((name for name in names if name in self.columns), None)
        if column in self.twice:
            raise SheetError(f"several columns are called {column}")
        return column

    @property
    def columns_in_words(self) -> str:
        """The columns that there are, for a message."""
        by = f", separated by {self.separator}" if self.separator else ""
        return (", ".join(self.columns) or "none") + by


def read(path: Path, content: bytes | None = None) -> Sheet:
    """The table in a file, or in the content of one. SheetError where it is none; `path` says by its suffix what."""
    suffix = path.suffix.lower()
    try:
        if suffix == ".parquet":
            return _parquet(path if content is None else content)
        text = _text(path.read_bytes() if content is None else content)
        return _json(text) if suffix == ".jsonl" else _csv(text)
    except OSError as error:
        raise SheetError(f"this file cannot be read ({error.strerror or error})") from error


def whole(value: Any) -> int | None:
    """A whole number of a table, also where it is written 3.0 or, as in German, 3,0; None where it is none."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int):
        return value
    number, _, fraction = str(value).strip().replace(",", ".").partition(".")
    sign = number[:1] in "+-" and number[:1]
    digits = number[1:] if sign else number
    if not (digits.isascii() and digits.isdigit() and len(digits) < 19) or fraction.strip("0"):
        return None
    return int(number)


def _text(content: bytes) -> str:
    try:
        return content.decode(MARKS.get(content[:2], "utf-8-sig"))
    except UnicodeDecodeError as error:
        raise SheetError(f"this is no CSV text ({error})") from error


def _csv(text: str) -> Sheet:
    head = next((line for line in text.splitlines() if line.strip()), "")
    separator = max(SEPARATORS, key=lambda s: len(next(csv.reader([head], delimiter=s), [])))  # commas where all tie
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    filled, lines = [], []
    try:
        for row in rows:
            if any(cell.strip() for cell in row):
                filled.append(row)
                lines.append(rows.line_num)
    except csv.Error as error:
        raise SheetError(f"this is no CSV text ({error})") from error
    names, *rest = filled or [[]]
    names = [name.strip().lower() for name in names]
    columns = {name: [row[i] if i < len(row) else None for row in rest] for i, name in enumerate(names)}
    by = SEPARATORS[separator] if len(names) > 1 else ""
    return Sheet(columns, tuple(lines[1:]), by, twice=_repeated(names))


def _json(text: str) -> Sheet:
    lines = [(i, line) for i, line in enumerate(text.splitlines(), 1) if line.strip()]
    try:
        rows = [json.loads(line) for _, line in lines]
    except (ValueError, RecursionError) as error:
        raise SheetError(f"this is no text of JSON lines ({error})") from error
    if not all(isinstance(row, dict) for row in rows):
        raise SheetError("this is no text of JSON lines: each line must hold one object")
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {name.lower(): [row.get(name) for row in rows] for name in names}
    return Sheet(columns, tuple(i for i, _ in lines), twice=_repeated(map(str.lower, names)))


def _parquet(source: Path | bytes) -> Sheet:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(source if isinstance(source, Path) else io.BytesIO(source))
    except (pa.ArrowException, OSError) as error:
        raise SheetError(f"this Parquet file cannot be read ({str(error).splitlines()[0]})") from error
    names = [name.lower() for name in table.column_names]
    columns = {name: table.column(i).to_pylist() for i, name in enumerate(names)}
    kinds = {name: str(table.column(i).type) for i, name in enumerate(names)}
    return Sheet(columns, kinds=kinds, twice=_repeated(names))


def _repeated(names: Iterable[str]) -> frozenset[str]:
    return frozenset(name for name, times in Counter(names).items() if times > 1)
