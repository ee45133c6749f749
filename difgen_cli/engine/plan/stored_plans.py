"""What a run directory was planned with: the lines of its grids' plans, to compare a new plan with."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from difgen_cli.engine.plan import LATER, plan_table
from difgen_cli.engine.plan.sections import as_text
from difgen_cli.engine.store import Store
from difgen_cli.engine.store.access import DamagedError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

UNKNOWN = "?"  # of a setting that an older plan does not have, and whose default is not known either
SEED = 0.5  # how far a difference of seeds counts, where one of any other setting counts 1
CLOSE = 1e-3  # and a factor of e between two numbers beside that: the nearer of two values
CHUNK = 512  # new lines that are compared at once


def plain(value: Any) -> str:
    """A setting's value as a word: the same for what a plan says and for what a table of it has kept."""
    value = as_text(value)
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return str(value)
    if isinstance(value, float) and not isinstance(value, bool):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


@dataclass(frozen=True)
class Line:
    """Where a cell stands: the plan, and its line in it."""

    plan: StoredPlan
    at: int

    def word(self, path: str) -> str:
        """A setting as a word."""
        return self.plan.words(path)[self.at]

    def value(self, column: str) -> Any:
        """Any column of the plan; None where it has none."""
        return self.plan.column(column)[self.at]


@dataclass(frozen=True, eq=False)
class StoredPlan:
    """The plan of one grid, its columns read as they are asked for."""

    table: pa.Table
    _columns: dict[str, list[Any]] = field(default_factory=dict)
    _words: dict[str, list[str]] = field(default_factory=dict)
    _distinct: dict[str, frozenset[str]] = field(default_factory=dict)

    def column(self, name: str) -> list[Any]:
        """A column; None in every line where there is none."""
        if name not in self._columns:
            has = name in self.table.column_names
            self._columns[name] = self.table[name].to_pylist() if has else [None] * self.table.num_rows
        return self._columns[name]

    def words(self, path: str) -> list[str]:
        """A setting of every line."""
        if path not in self._words:
            if path in self.table.column_names:
                values = self.column(path)
                words = {value: plain(value) for value in dict.fromkeys(values)}
                self._words[path] = [words[value] for value in values]
            else:
                absent = plain(LATER[path]) if path in LATER else UNKNOWN
                self._words[path] = [absent] * self.table.num_rows
        return self._words[path]

    def distinct(self, path: str) -> frozenset[str]:
        """The values that a setting has in any line."""
        if path not in self._distinct:
            self._distinct[path] = frozenset(self.words(path))
        return self._distinct[path]

    @cached_property
    def made_by(self) -> dict[str, list[str]]:
        """The versions and contents that results were planned with (see `made_by`); empty in older plans."""
        content: dict[str, list[str]] = json.loads((self.table.schema.metadata or {}).get(b"made_by", b"{}"))
        return content


class StoredPlans:
    """The plans of all grids that were swept into a run directory, newest first."""

    def __init__(self, store: Store) -> None:
        self.plans = []
        for folder in reversed(store.grids()):
            try:
                self.plans.append(StoredPlan(plan_table.read(folder / "plan.parquet")))
            except DamagedError:
                continue  # the next sweep writes it anew

    @cached_property
    def trajectories(self) -> dict[str, list[Line]]:
        """The lines of each trajectory or reference, by its key."""
        return self._by("home")

    @cached_property
    def cells(self) -> dict[str, list[Line]]:
        """The lines of each cell, by the key of its samples."""
        return self._by("cell")

    def _by(self, column: str) -> dict[str, list[Line]]:
        lines: dict[str, list[Line]] = defaultdict(list)
        for plan in self.plans:
            for at, key in enumerate(plan.column(column)):
                lines[key].append(Line(plan, at))
        return lines


def nearest(settings: list[dict[str, str]], lines: list[Line], paths: Iterable[str]) -> list[int]:
    """For each of some settings the line that differs from them in the fewest, by its position; the newer of several.

    A difference of seeds counts half, and among lines with as many differences the one with the nearer numbers wins.
    """
    import numpy as np

    far = np.zeros((len(settings), len(lines)), np.float32)
    plans = list({id(line.plan): line.plan for line in lines}.values())
    for path in paths:
        own = [setting.get(path, "none") for setting in settings]
        if len(frozenset(own).union(*(plan.distinct(path) for plan in plans))) == 1:
            continue
        words = [line.word(path) for line in lines]
        distinct = {word: code for code, word in enumerate(dict.fromkeys([*own, *words]))}
        table = _distances(list(distinct), SEED if path.endswith("seed") else 1.0)
        rows, columns = np.array([distinct[w] for w in own]), np.array([distinct[w] for w in words])
        for start in range(0, len(rows), CHUNK):
            far[start : start + CHUNK] += table[rows[start : start + CHUNK, None], columns]
    return [int(at) for at in far.argmin(axis=1)]


def _distances(words: list[str], weight: float) -> np.ndarray:
    """How far words are from one another: (k, k)."""
    import numpy as np

    logs = np.array([_log(word) for word in words])
    with np.errstate(invalid="ignore"):
        close = np.nan_to_num(np.abs(logs[:, None] - logs), nan=100.0)
    far = weight + CLOSE * np.minimum(close, 100.0)
    np.fill_diagonal(far, 0.0)
    if UNKNOWN in words:
        far[words.index(UNKNOWN)] = far[:, words.index(UNKNOWN)] = 0.0
    return np.asarray(far, np.float32)


def _log(word: str) -> float:
    try:
        value = float(word)
    except ValueError:
        return math.nan
    return math.log(value) if value > 0 else math.nan
