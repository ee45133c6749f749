"""What lies on this machine, and what it offers: data, weights, doctor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from difgen_cli.cli.common import Json, Runs, app, choice, errors, output, write


@app.command()
def data(
    name: Annotated[str | None, typer.Argument(help="A data plug-in; default: list them.")] = None,
    path: Annotated[Path | None, typer.Argument(help="A file or folder for it to check.")] = None,
) -> None:
    """List the data sets at hand, or check one.

    Example: difgen data parquet fashion_mnist/
    """
    with errors():
        from difgen_cli.display import shelves

        shelves.data(name, path, output())


@app.command()
def weights(
    action: Annotated[str, typer.Argument(help="list, fetch or verify.")] = "list",
    name: Annotated[str | None, typer.Argument(help="Which weights.")] = None,
    folder: Annotated[Path | None, typer.Option(help="Where to fetch to; default: $DIFGEN_WEIGHTS.")] = None,
) -> None:
    """Show, fetch or verify the files of weights that feature spaces need.

    Example: difgen weights fetch inception
    """
    with errors():
        from difgen_cli.display import shelves

        choice("weights", action, ("list", "fetch", "verify"))
        shelves.weights(action, name, folder, output())


@app.command()
def doctor(
    runs: Runs = Path("runs"),
    profile: Annotated[str | None, typer.Option(help="A profile of difgen.toml, for SLURM's limits.")] = None,
    json_: Json = False,
) -> None:
    """Show what this machine offers: versions, GPUs, SLURM, the run directory's disk, weights and profiles.

    Example: difgen doctor --runs runs/
    """
    with errors():
        from difgen_cli import display
        from difgen_cli import doctor as examining

        found = examining.gather(runs, profile)
        if json_:
            write(display.as_json(examining.content(found)) + "\n")
        else:
            examining.show(found, output())
        raise typer.Exit(1 if examining.worst(found) == "bad" else 0)
