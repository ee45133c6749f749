"""`difgen logs`: print what the workers of a cell wrote."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from difgen_cli.cli.app import command, errors
from difgen_cli.cli.format import write
from difgen_cli.cli.options import CellWords, GridName, Runs, existing

if TYPE_CHECKING:
    from difgen_cli.engine.logs import LogExcerpt, Lost
    from difgen_cli.engine.select import SelectedCell
    from difgen_cli.engine.store import Store


@command()
def logs(
    cell: CellWords,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Follow the log until the attempt ends.")] = False,
    runs: Runs = Path("runs"),
    grid: GridName = None,
) -> None:
    """Print the log of the workers of a cell.

    The log of the newest training and of the newest scoring.

    Example: difgen logs data.size=64 train.steps=4000 -f
    """
    with errors():
        from difgen_cli.engine import select, status
        from difgen_cli.engine.store import Store

        store = Store(existing(runs))
        print_logs(store, select.one(store, cell, grid), write, status.lost(store), follow=follow)


def print_logs(
    store: Store, cell: SelectedCell, write: Callable[[str], Any], lost: Callable[[], Lost] = dict, *, follow: bool
) -> None:
    """Write the newest training and the newest scoring of a cell, and follow the one that runs."""
    from difgen_cli.engine import logs

    excerpts = logs.excerpts(store, cell, lost)
    if not excerpts:
        write(f"nothing has run for cell {cell.index} of {cell.grid} yet\n")
    followed = next((e for e in reversed(excerpts) if e.running), None) if follow else None
    for excerpt in excerpts:
        write(heading(excerpt) + "\n")
        for text in logs.follow(excerpt, lost) if excerpt is followed else logs.text(excerpt):
            write(text)
    if followed is not None:
        write(heading(followed.refreshed(lost())) + "\n")


def heading(excerpt: LogExcerpt) -> str:
    """One line: unit, attempt, state, how it ended, host and job."""
    record, owner = excerpt.record, excerpt.record.get("owner", {})
    job = owner.get("job")
    parts = [
        f"{excerpt.unit} of {excerpt.folder.path.name}",
        f"attempt {excerpt.number}",
        "lost" if record["state"] == "running" and not excerpt.running else record["state"],
        str(record.get("cause") or record.get("ending") or ""),
        f"on {owner['host']}" if owner.get("host") else "",
        f"job {job}" + (f"_{owner['task']}" if owner.get("task") is not None else "") if job else "",
    ]
    return "── " + ", ".join(part for part in parts if part)
