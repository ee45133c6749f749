"""What lies on this machine: data sets, weights, and what could go."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from difgen_cli.display import as_json
from difgen_cli.engine.grid.document import GridError, compose, scalar, suggest
from difgen_cli.engine.grid.values import Given
from difgen_cli.engine.plan.sections import resolve
from difgen_cli.engine.plugins import Library
from difgen_cli.engine.store.garbage import KINDS, Garbage

if TYPE_CHECKING:
    from rich.console import Console


def data(name: str | None, path: Path | None, given: Mapping[str, str], console: Console) -> None:
    """The data plug-ins, or the facts of one data set, read with the settings that are given."""
    library = Library()
    if name is None:
        for each in library.names("data"):
            console.print(f"{each}: {_described(library, each)}")
        return
    if name not in library.names("data"):
        known = library.names("data")
        raise GridError(f"data {name}: no such data plug-in ({', '.join(known)}){suggest(name, known)}")
    from difgen_cli import data as sets

    try:
        pool = library.module("data", name).load(**_settings(name, path, given, library))
    except sets.DataError as error:
        raise GridError(f"data {name}: {error}") from None
    shape = "×".join(map(str, pool.images.shape[1:]))
    console.print(f"{len(pool.images):,} images of {shape} {pool.images.dtype}")
    console.print(f"classes: {', '.join(pool.classes) or 'none'}")
    console.print(f"sigma_data {sets.sigma_data(pool.images):.4f}, content {sets.content(pool)[:16]}")
    for note in pool.notes:
        console.print(f"note: {note}")


def _settings(name: str, path: Path | None, given: Mapping[str, str], library: Library) -> dict[str, Any]:
    """What the plug-in is given, checked as a grid's settings are."""
    from difgen_cli.data import files

    said = {key.removeprefix("data."): Given(scalar(compose(value))) for key, value in given.items()}
    if path is not None:
        whole, split = files.meant(path)
        said["path"] = Given(str(whole.absolute()))
        if split is not None and "split" in library.signature("data", name).settings:
            said.setdefault("split", Given(split))
    return resolve("data", {"name": Given(name), **said}, library, alone=True).changed


def _described(library: Library, name: str) -> str:
    """What a data plug-in reads, in its own words, and its settings, those without a default marked."""
    signature = library.signature("data", name)
    first = (ast.get_docstring(ast.parse(signature.file.read_text(encoding="utf-8"))) or "").partition("\n")[0]
    settings = [f"{s.name} (needed)" if s.required else s.name for s in signature.settings.values()]
    return f"{first.rstrip('.')}; " * bool(first) + (f"settings: {', '.join(settings)}" if settings else "no settings")


def weights(action: str, name: str | None, folder: Path | None, console: Console) -> None:
    """The files of weights: where they are, fetched, or verified."""
    from difgen_cli import config, features

    folders = [folder] if folder else config.weights_folders()
    names = [name] if name else list(features.WEIGHTS)
    for each in names:
        try:
            if action == "fetch":
                console.print(f"{each}: {features.fetch(each, folders[0])}", soft_wrap=True)
                continue
            path = features.find(each, folders)
            said = "" if features.proved(path, each) else ", a file of your own"
            if action == "verify":
                found = features.verify(path, each)
                said = f"{said}, SHA-256 {found.sha256}" if said else " verified"
            console.print(f"{each}: {path}{said}", soft_wrap=True)
        except features.WeightsError as error:
            if action != "list" or name:
                raise GridError(str(error)) from None
            known = features.WEIGHTS[each]
            own = f"; a file of your own may be called {' or '.join(known.own)}" if known.own else ""
            console.print(
                f"{each}: not here; {known.size_bytes:,} bytes, SHA-256 {known.sha256}, {known.licence}; "
                f"{known.purpose}{own}",
            )


def waste(found: list[Garbage], chosen: list[Garbage], console: Console) -> None:
    """What `gc` would remove, by kind, and what more there is."""
    for kind in KINDS:
        mine = [w for w in found if w.kind == kind.name]
        if mine:
            more = "" if mine[0] in chosen else " (stays without --all)"
            console.print(f"{kind.name}: {_sum(mine)}: {kind.what}{more}")
    if not chosen:
        console.print("nothing to remove" + (" without --all" if found else ""))


def removal(removed: list[Garbage]) -> str:
    """What `gc` has done."""
    return f"removed {_sum(removed)}" if removed else "nothing was removed"


def _sum(items: list[Garbage]) -> str:
    """How many, and how large together."""
    size_bytes = sum(w.size_bytes for w in items)
    readable = f" ({size_bytes / (1 << 30):,.1f} GiB)" if size_bytes >= 1 << 30 else ""
    return f"{len(items):,} of {size_bytes:,} bytes{readable}"


def waste_json(chosen: list[Garbage], removed: list[Garbage]) -> str:
    """What `gc` would remove, and what it did, for machines."""
    gone_ = {w.path for w in removed}
    lines = [{"kind": w.kind, "path": str(w.path), "bytes": w.size_bytes, "removed": w.path in gone_} for w in chosen]
    return as_json({"bytes": sum(w.size_bytes for w in chosen), "waste": lines})
