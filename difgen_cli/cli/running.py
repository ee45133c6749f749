"""What a run directory is doing, and an end to it: status, logs, cancel, gc."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from difgen_cli.cli.common import (
    CellWords,
    GridName,
    Json,
    Runs,
    RunsNamed,
    RunsToo,
    agreed,
    command,
    either,
    errors,
    existing,
    output,
    words,
    write,
)


@command()
def status(
    runs: RunsNamed = None,
    runs_: RunsToo = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Look on until no worker is left.")] = False,
    json_: Json = False,
) -> None:
    """Show how submissions stand, and how each trajectory does.

    One line a trajectory: its state, step, images per second, time left and last metrics.

    Example: difgen status runs/ --watch
    """
    with errors():
        from difgen_cli.display import states as shown
        from difgen_cli.engine import status as states
        from difgen_cli.engine.store import Store

        store = Store(existing(either(runs, runs_)))
        reconciler = states.reconciler(store, writes=False)
        if watch:
            shown.watch(lambda: states.look(store, reconciler), output())
        elif json_:
            write(shown.status_json(states.look(store, reconciler)) + "\n")
        else:
            shown.status(states.look(store, reconciler), output())


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
        from difgen_cli import logs as logging
        from difgen_cli.engine import select
        from difgen_cli.engine import status as states
        from difgen_cli.engine.store import Store

        store = Store(existing(runs))
        logging.show(store, select.one(store, cell, grid), follow, write, states.lost(store))


@command()
def cancel(
    runs: RunsNamed = None,
    runs_: RunsToo = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """End the workers of a run directory; they save first.

    The same sweep goes on later.

    Example: difgen cancel runs/ --yes
    """
    with errors():
        from difgen_cli.engine import status as states
        from difgen_cli.engine.launch import reconciler
        from difgen_cli.engine.store import Store

        store, say = Store(existing(either(runs, runs_))), words()
        alive = [s for s in states.reconciler(store).look() if s.alive]
        if not alive:
            say.print("nothing to cancel: no worker is at it")
            return
        for standing in alive:
            say.print(f"{standing.submission.name}: {standing.words}")
        if not (yes or agreed("end them?")):
            raise typer.Exit(1)
        for line in reconciler.cancel(alive):
            say.print(line)


@command()
def gc(
    runs: RunsNamed = None,
    runs_: RunsToo = None,
    all_: Annotated[bool, typer.Option("--all", help="Also what only further training or new metrics need.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Show what would go; remove nothing.")] = False,
    json_: Json = False,
) -> None:
    """Remove what no row needs any more; asks first.

    Says how many bytes it would free. Results and tables stay.

    Example: difgen gc runs/ --dry-run
    """
    with errors():
        from difgen_cli.display import shelves
        from difgen_cli.engine import status as states
        from difgen_cli.engine.store import Store, garbage

        store = Store(existing(either(runs, runs_)))
        over = states.over(store, writes=not dry_run)
        found = garbage.find(store, over)
        chosen = garbage.chosen(found, everything=all_)
        if not json_:
            shelves.waste(found, chosen, output())
        wanted = bool(chosen) and not dry_run and (yes or (not json_ and agreed("remove them?")))
        removed = garbage.remove(store, chosen, over) if wanted else []
        if json_:
            write(shelves.waste_json(chosen, removed) + "\n")
        elif chosen and not dry_run:
            words().print(shelves.removal(removed))
