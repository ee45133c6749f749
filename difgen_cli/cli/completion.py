"""What a shell offers when a person presses Tab: grids, cells, columns, plug-ins and settings by their names.

A completion that fails offers nothing: it never prints an error into a command that is being typed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path

import typer

VALUES_MOST = 50  # of a setting, that are offered

Complete = Callable[[typer.Context, str], list[str]]


def _completed(names: Callable[[typer.Context, str], Iterable[str]]) -> Complete:
    """What of these names begins with what was typed, nothing where they cannot be read."""

    @wraps(names)
    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        try:
            return [name for name in names(ctx, incomplete) if name.startswith(incomplete)]
        except Exception:  # whatever it is, a prompt is no place to tell it
            return []

    return complete


def _runs(ctx: typer.Context) -> Path:
    """The run directory of the command that is being typed."""
    given = ctx.params.get("runs") or ctx.params.get("runs_") or next(iter(ctx.params.get("words") or ()), None)
    return Path(given or os.environ.get("DIFGEN_RUNS") or "runs")


@_completed
def grids(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    """The names of the grids of a run directory."""
    from difgen_cli.engine.store import Store

    return sorted({folder.name.rpartition("-")[0] for folder in Store(_runs(ctx)).grids()})


@_completed
def tags(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    """The tags of the grids of a run directory."""
    from difgen_cli.engine.store import Store, notes

    return sorted({tag for folder in Store(_runs(ctx)).grids() for tag in notes.read(folder).tags})


@_completed
def cells(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    """The filters KEY=VALUE of a grid's cells: the settings that vary first, then, after `=`, the values."""
    from difgen_cli.engine import select
    from difgen_cli.engine.plan.filters import shown
    from difgen_cli.engine.store import Store

    lines = select.Lines.read(Store(_runs(ctx)), ctx.params.get("grid"))
    path, equals, _ = incomplete.partition("=")
    if not equals:
        return [f"{name}=" for name in lines.settings()]
    values = dict.fromkeys(shown(value) for value in lines.values(path) if value is not None)
    return [f"{path}={value}" for value in list(values)[:VALUES_MOST]]


@_completed
def numbers(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    """The settings of a grid that vary and are numbers, then, after `=`, the values that there are."""
    from difgen_cli.engine import select
    from difgen_cli.engine.plan.filters import shown
    from difgen_cli.engine.store import Store

    lines = select.Lines.read(Store(_runs(ctx)), ctx.params.get("grid"))
    distinct = {path: {v for v in lines.values(path) if v is not None} for path in lines.settings() if "." in path}
    varying = {
        path: sorted(values)
        for path, values in distinct.items()
        if len(values) > 1 and path != "train.steps" and all(type(value) in (int, float) for value in values)
    }
    path, equals, _ = incomplete.partition("=")
    if not equals:
        return [f"{name}=" for name in varying]
    return [f"{path}={shown(value)}" for value in varying.get(path, ())[:VALUES_MOST]]


@_completed
def columns(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    """The columns of the rows of a run directory."""
    from difgen_cli.engine.store import Store
    from difgen_cli.engine.store.tables import read_rows

    rows = read_rows(Store(_runs(ctx)))
    return [] if rows is None else sorted(rows.column_names)


@_completed
def metrics(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    """The names of metrics, one after another with commas."""
    from difgen_cli.engine.plugins import Library

    before, comma, _ = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in Library().names("score")]


@_completed
def data_sets(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    """The names of data plug-ins."""
    from difgen_cli.engine.plugins import Library

    return Library().names("data")


@_completed
def explained(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    """The names that `difgen explain` explains."""
    from difgen_cli.engine.explain import every
    from difgen_cli.engine.plugins import Library

    return sorted({one.name for one in every(Library())})


@_completed
def shipped(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    """The grids that come with difgen."""
    from difgen_cli.engine.grid import shipped

    return shipped.grids()


@_completed
def states(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    """The states of a trajectory, one after another with commas."""
    from difgen_cli.engine.status import STATES

    before, comma, _ = incomplete.rpartition(",")
    return [f"{before}{comma}{state}" for state in STATES]


@_completed
def clusters(ctx: typer.Context, incomplete: str) -> Iterable[str]:
    """Where work runs."""
    from difgen_cli.cli.options import CLUSTERS

    return CLUSTERS
