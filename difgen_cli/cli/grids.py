"""`difgen grids`: the studies that come with difgen, and a copy of one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from difgen_cli.cli import completion
from difgen_cli.cli.app import command, errors
from difgen_cli.cli.format import output
from difgen_cli.cli.options import Force, check_free


@command()
def grids(
    name: Annotated[
        str | None,
        typer.Argument(help="The grid to copy; default: list them.", metavar="NAME", autocompletion=completion.shipped),
    ] = None,
    out: Annotated[Path | None, typer.Argument(help="The file to write; default: NAME.yaml.", metavar="FILE")] = None,
    force: Force = False,
) -> None:
    """List the grids that come with difgen, each with its question; or copy one.

    Example: difgen grids size my_size.yaml
    """
    with errors():
        from difgen_cli.engine.grid import question, shipped
        from difgen_cli.engine.grid.document import GridError, suggest
        from difgen_cli.engine.store.files import replace_text

        files, console = shipped.grids(), output()
        if name is None:
            wide = max(map(len, files), default=0)
            for each, file in files.items():
                asked, mark, _ = question(file.read_text(encoding="utf-8")).partition("?")
                console.print(f"{each.ljust(wide)}  {asked}{mark}")
            return
        if name not in files:
            raise GridError(f"grids {name}: no such grid ({', '.join(files)}){suggest(name, files)}")
        target = out or Path(f"{name}.yaml")
        check_free(target, force=force)
        target.parent.mkdir(parents=True, exist_ok=True)
        replace_text(target, files[name].read_text(encoding="utf-8"))
        console.print(f"{target}: written. What it costs: difgen plan {target}", soft_wrap=True)
