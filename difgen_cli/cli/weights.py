"""`difgen weights`: show, fetch or verify the weights that feature spaces need."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from difgen_cli.cli.app import command, errors
from difgen_cli.cli.format import output
from difgen_cli.cli.options import check_choice


@command()
def weights(
    action: Annotated[str, typer.Argument(help="list, fetch or verify.", metavar="ACTION")] = "list",
    name: Annotated[str | None, typer.Argument(help="The name of the weights; default: all.", metavar="NAME")] = None,
    folder: Annotated[
        Path | None, typer.Option(help="Where to store them; default: $DIFGEN_WEIGHTS.", metavar="FOLDER")
    ] = None,
) -> None:
    """Show, fetch or verify the weights that feature spaces need.

    Example: difgen weights fetch inception
    """
    with errors():
        check_choice("weights", action, ("list", "fetch", "verify"))
        from difgen_cli import config, features
        from difgen_cli.engine.grid.document import GridError

        folders, console = [folder] if folder else config.weights_folders(), output()
        for each in [name] if name else list(features.WEIGHTS):
            try:
                console.print(f"{each}: {_result(action, each, folders)}", soft_wrap=True)
            except features.WeightsError as error:
                if action != "list" or name:
                    raise GridError(str(error)) from None
                console.print(f"{each}: {_missing(each)}")


def _result(action: str, name: str, folders: list[Path]) -> str:
    """Where weights lie, fetched or verified; WeightsError where that fails."""
    from difgen_cli import features

    if action == "fetch":
        return str(features.fetch(name, folders[0]))
    path = features.find(name, folders)
    own = not features.proved(path, name)
    if action == "verify":
        sha256 = features.verify(path, name).sha256
        return f"{path}, a file of your own, SHA-256 {sha256}" if own else f"{path} verified"
    return f"{path}, a file of your own" if own else str(path)


def _missing(name: str) -> str:
    """What weights are that are not on this machine."""
    from difgen_cli import features

    spec = features.WEIGHTS[name]
    own = f"; a file of your own may be called {' or '.join(spec.own)}" if spec.own else ""
    return f"not on this machine; {spec.size_bytes:,} bytes, SHA-256 {spec.sha256}, {spec.licence}; {spec.purpose}{own}"
