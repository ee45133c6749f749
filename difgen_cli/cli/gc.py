"""`difgen gc`: remove files that no row needs any more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from difgen_cli.cli.app import command, confirmed, errors
from difgen_cli.cli.format import messages, output, print_json
from difgen_cli.cli.options import Json, RunsArgument, RunsOption, existing, run_directory

if TYPE_CHECKING:
    from rich.console import Console

    from difgen_cli.engine.store.garbage import Garbage


@command()
def gc(
    runs: RunsArgument = None,
    runs_: RunsOption = None,
    all_: Annotated[bool, typer.Option("--all", help="Also what only more training or new metrics need.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Show what would be removed.")] = False,
    json_: Json = False,
) -> None:
    """Remove files that no row needs any more; ask first.

    Prints how many bytes this frees. Results and tables stay.

    Example: difgen gc runs/ --dry-run
    """
    with errors():
        from difgen_cli.engine import status
        from difgen_cli.engine.store import Store, garbage

        store = Store(existing(run_directory(runs, runs_)))
        ended = status.over(store, writes=not dry_run)
        removable = garbage.find(store, ended)
        chosen = garbage.chosen(removable, everything=all_)
        if not json_:
            _print_kinds(removable, chosen, output())
        wanted = bool(chosen) and not dry_run and (yes or (not json_ and confirmed("remove them?")))
        removed = garbage.remove(store, chosen, ended) if wanted else []
        if json_:
            print_json(content(chosen, removed))
        elif chosen and not dry_run:
            messages().print(f"removed {_sum(removed)}" if removed else "nothing was removed")


def _print_kinds(removable: Sequence[Garbage], chosen: Sequence[Garbage], console: Console) -> None:
    """What would be removed, by kind, and what --all would add."""
    from difgen_cli.engine.store.garbage import KINDS

    for kind, what in KINDS.items():
        items = [item for item in removable if item.kind == kind]
        if items:
            more = "" if items[0] in chosen else " (stays without --all)"
            console.print(f"{kind}: {_sum(items)}: {what}{more}")
    if not chosen:
        console.print("nothing to remove" + (" without --all" if removable else ""))


def _sum(items: Sequence[Garbage]) -> str:
    """How many, and how large together."""
    size_bytes = sum(item.size_bytes for item in items)
    readable = f" ({size_bytes / (1 << 30):,.1f} GiB)" if size_bytes >= 1 << 30 else ""
    return f"{len(items):,} of {size_bytes:,} bytes{readable}"


def content(chosen: Sequence[Garbage], removed: Sequence[Garbage]) -> dict[str, Any]:
    """What would be removed, and what was, for machines."""
    paths = {item.path for item in removed}
    lines = [
        {"kind": item.kind, "path": str(item.path), "bytes": item.size_bytes, "removed": item.path in paths}
        for item in chosen
    ]
    return {"bytes": sum(item.size_bytes for item in chosen), "waste": lines}
