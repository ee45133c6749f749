"""`difgen data`: list the available data plug-ins, or check a data set."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from difgen_cli.cli.app import command, errors
from difgen_cli.cli.completion import data_sets
from difgen_cli.cli.format import output
from difgen_cli.cli.options import settings_of

if TYPE_CHECKING:
    from rich.console import Console

    from difgen_cli.engine.plugins import Library


@command()
def data(
    name: Annotated[
        str | None, typer.Argument(help="A data plug-in; default: list them.", metavar="NAME", autocompletion=data_sets)
    ] = None,
    path: Annotated[Path | None, typer.Argument(help="The file or folder to check.", metavar="PATH")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="A setting of the plug-in.", metavar="KEY=VALUE")
    ] = None,
) -> None:
    """List the available data plug-ins, or check a data set.

    Prints what is read and what is skipped.

    Example: difgen data parquet fashion_mnist/train
    """
    with errors():
        from difgen_cli.engine.grid.document import GridError, suggest
        from difgen_cli.engine.plugins import Library

        values, library, console = settings_of(set_), Library(), output()
        names = library.names("data")
        if name is None:
            for each in names:
                console.print(f"{each}: {_description(library, each)}")
        elif name not in names:
            raise GridError(f"data {name}: no such data plug-in ({', '.join(names)}){suggest(name, names)}")
        else:
            _check(name, _settings(name, path, values, library), library, console)


def _check(name: str, settings: Mapping[str, Any], library: Library, console: Console) -> None:
    """Read a data set and print its facts."""
    from difgen_cli import data as sets
    from difgen_cli.engine.grid.document import GridError

    try:
        pool = library.module("data", name).load(**settings)
    except sets.DataError as error:
        raise GridError(f"data {name}: {error}") from None
    shape = "×".join(map(str, pool.images.shape[1:]))
    console.print(f"{len(pool.images):,} images of {shape} {pool.images.dtype}")
    console.print(f"classes: {', '.join(pool.classes) or 'none'}")
    console.print(f"sigma_data {sets.sigma_data(pool.images):.4f}, content {sets.content(pool)[:16]}")
    for note in pool.notes:
        console.print(f"note: {note}")


def _settings(name: str, path: Path | None, values: Mapping[str, str], library: Library) -> dict[str, Any]:
    """What the plug-in is given, checked as a grid's settings are."""
    from difgen_cli.data import files
    from difgen_cli.engine.grid.document import compose, scalar
    from difgen_cli.engine.grid.values import Given
    from difgen_cli.engine.plan.sections import resolve

    given = {key.removeprefix("data."): Given(scalar(compose(value))) for key, value in values.items()}
    if path is not None:
        whole, split = files.meant(path)
        given["path"] = Given(str(whole.absolute()))
        if split is not None and "split" in library.signature("data", name).settings:
            given.setdefault("split", Given(split))
    return resolve("data", {"name": Given(name), **given}, library, alone=True).changed


def _description(library: Library, name: str) -> str:
    """What a data plug-in reads, in its own words, and its settings, those without a default marked."""
    signature = library.signature("data", name)
    first = (ast.get_docstring(ast.parse(signature.file.read_text(encoding="utf-8"))) or "").partition("\n")[0]
    settings = [f"{s.name} (needed)" if s.required else s.name for s in signature.settings.values()]
    return f"{first.rstrip('.')}; " * bool(first) + (f"settings: {', '.join(settings)}" if settings else "no settings")
