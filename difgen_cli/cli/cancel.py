"""`difgen cancel`: end the workers of a run directory."""

from __future__ import annotations

from typing import Annotated

import typer

from difgen_cli.cli.app import command, confirmed, errors
from difgen_cli.cli.format import messages
from difgen_cli.cli.options import RunsArgument, RunsOption, existing, run_directory


@command()
def cancel(
    runs: RunsArgument = None,
    runs_: RunsOption = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """End the workers of a run directory; they save first.

    Run the same sweep again to resume.

    Example: difgen cancel runs/ --yes
    """
    with errors():
        from difgen_cli.engine import status
        from difgen_cli.engine.launch import reconciler
        from difgen_cli.engine.store import Store

        store, console = Store(existing(run_directory(runs, runs_))), messages()
        alive = [submission for submission in status.reconciler(store).poll() if submission.alive]
        if not alive:
            console.print("nothing to cancel: no worker is running")
            return
        for submission in alive:
            console.print(f"{submission.submission.name}: {submission.words}")
        if not (yes or confirmed("end them?")):
            raise typer.Exit(1)
        for line in reconciler.cancel(alive):
            console.print(line)
