"""`difgen note`: write a note or tags on a grid that was swept before."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from difgen_cli.cli import completion
from difgen_cli.cli.app import command, errors
from difgen_cli.cli.format import output
from difgen_cli.cli.options import Runs, Tag, annotation_of, existing


@command()
def note(
    grid: Annotated[str, typer.Argument(help="The grid's name.", metavar="GRID", autocompletion=completion.grids)],
    text: Annotated[
        str | None, typer.Argument(help="The note, one line of at most 500 characters.", metavar="TEXT")
    ] = None,
    tag: Tag = None,
    untag: Annotated[
        list[str] | None,
        typer.Option("--untag", help="Remove a tag.", metavar="TAG", autocompletion=completion.tags),
    ] = None,
    runs: Runs = Path("runs"),
) -> None:
    """Write a note or tags on a grid that was swept before.

    Nothing runs, and no key changes. Of several grids of one name it is the newest; its folder's name means it alone.

    Example: difgen note size "the learning rate was wrong before" --tag paper --untag draft
    """
    with errors():
        from difgen_cli.engine import select
        from difgen_cli.engine.grid.document import GridError
        from difgen_cli.engine.store import Store, notes

        annotation, store = annotation_of(text, tag, untag), Store(existing(runs))
        folder = select.folder_of(store, grid)
        if not annotation:
            raise GridError(f"note {grid}: write a note, or name a tag with --tag or --untag")
        tags = notes.read(folder).tags
        for word in annotation.removed:
            if word not in tags:
                raise GridError(f"--untag {word}: {folder.name} has no such tag ({', '.join(tags) or 'it has none'})")
        notes.add(folder, annotation)
        for sentence in notes.read(folder).sentences:
            output().print(f"{folder.name}: {sentence}", soft_wrap=True)
