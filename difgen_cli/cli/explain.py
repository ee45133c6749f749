"""`difgen explain`: what a section, a plug-in, a setting or a column means."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from difgen_cli.cli.app import command, errors
from difgen_cli.cli.completion import explained
from difgen_cli.cli.format import output, print_json
from difgen_cli.cli.options import Json

if TYPE_CHECKING:
    from difgen_cli.engine.explain import Explanation

WIDTH = 100  # columns of text, where the terminal has them


@command()
def explain(
    name: Annotated[
        str,
        typer.Argument(help="Such as data.size, model.mlp, score, mem_frac.", metavar="NAME", autocompletion=explained),
    ] = "",
    json_: Json = False,
) -> None:
    """Explain a part or a section of a grid, a plug-in, a setting, or a column of the results.

    Plug-ins in ./plugins or ./grids/plugins are explained too.

    Example: difgen explain data.size
    """
    with errors():
        from difgen_cli.engine import explain as explaining
        from difgen_cli.engine.grid.document import GridError, suggest
        from difgen_cli.engine.plugins import SECTIONS, Library

        folders = (Path("plugins"), Path("grids") / "plugins")
        library = Library(next((folder.absolute() for folder in folders if folder.is_dir()), None))
        meanings = explaining.explained(name, library)
        if not meanings:
            names = [one.name for one in explaining.every(library)]
            hint = suggest(name, names) or f"; sections are {', '.join(SECTIONS)}"
            raise GridError(f"explain {name or 'nothing'}: no section, plug-in, setting or column is called so{hint}")
        if json_:
            print_json({"meanings": [asdict(one) for one in meanings]})
            return
        console = output()
        width = min(WIDTH, console.width) if console.is_terminal else WIDTH
        console.print("\n\n".join("\n".join(_lines(one, width)) for one in meanings), soft_wrap=True)


def _lines(one: Explanation, width: int) -> Iterator[str]:
    """One meaning, wrapped and indented."""
    yield from textwrap.wrap(f"{one.name}: {one.summary or one.what}", width, subsequent_indent="  ")
    about = [one.what] if one.summary else []
    parts = f"See also: {', '.join(one.parts)}." if one.parts else ""
    for text in (*one.text.splitlines(), *(f"{about[0][0].upper()}{about[0][1:]}." for _ in about), one.cost, parts):
        yield from textwrap.wrap(text, width, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)
