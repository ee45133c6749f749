"""Which cells `--only` names, by settings as they are used, whatever way they were written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from difgen_cli.engine.grid.document import GridError, suggest
from difgen_cli.engine.grid.values import filter_of
from difgen_cli.engine.plan import Cell, Plan

SHOWN = 8  # values that an error lists


def filter_by(plan: Plan, only: Sequence[str]) -> Callable[[Cell], bool]:
    """Whether a cell passes all filters: reference rows do where they do not have the setting.

    Raises GridError where no model passes, with the values that there are.
    """
    if not only:
        return lambda _: True
    left = [(cell, _values(cell)) for cell in plan.models]
    tests = []
    for text in only:
        path, holds = filter_of(text)
        present = [values[path] for _, values in left if path in values]
        if not present:
            settings = {name for _, values in left for name in values}
            raise GridError(f"--only {path}: no cell of this grid has this setting{suggest(path, settings)}")
        left = [(cell, values) for cell, values in left if path not in values or holds(values[path])]
        if not left:
            raise GridError(f"--only {text}: no cell of this grid matches; {path} is {listed(present)}")
        tests.append((path, holds))

    def passes(cell: Cell) -> bool:
        values = _values(cell)
        return all(path not in values or holds(values[path]) for path, holds in tests)

    return passes


def _values(cell: Cell) -> dict[str, Any]:
    return cell.settings() | cell.axis_values() | {"seed": cell.seed}


def shown(value: Any) -> str:
    """A value as errors show it, and as a filter may give it back."""
    return "nothing" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def listed(values: Iterable[Any], most: int = SHOWN) -> str:
    """Different values in the order in which they come, the first of them if there are many."""
    distinct = list(dict.fromkeys(map(shown, values)))
    return ", ".join(distinct[:most]) + (f" and {len(distinct) - most} more" if len(distinct) > most else "")
