"""`difgen logs`: print what the workers of a cell wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from difgen_cli.cli.app import command, errors
from difgen_cli.cli.format import write
from difgen_cli.cli.options import CellWords, GridName, Runs, existing


@command()
def logs(
    cell: CellWords,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the running attempt ends.")] = False,
    runs: Runs = Path("runs"),
    grid: GridName = None,
) -> None:
    """Print what the workers of a cell wrote.

    The newest attempts at its training and at its scoring.

    Example: difgen logs data.size=64 train.steps=4000 -f
    """
    with errors():
        from difgen_cli import logs as passages
        from difgen_cli.engine import select, status
        from difgen_cli.engine.store import Store

        store = Store(existing(runs))
        passages.show(store, select.one(store, cell, grid), follow, write, status.lost(store))
