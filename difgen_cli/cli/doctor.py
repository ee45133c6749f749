"""`difgen doctor`: check this machine, its cluster and its disk, and name problems with their remedies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from difgen_cli.cli.app import command, errors
from difgen_cli.cli.format import output, print_json
from difgen_cli.cli.options import Json, Runs

if TYPE_CHECKING:
    from rich.console import Console

    from difgen_cli.engine.doctor import DoctorSection

STYLES = {"ok": "", "note": "yellow", "bad": "bold red"}


@command()
def doctor(
    runs: Runs = Path("runs"),
    profile: Annotated[
        str | None, typer.Option(help="A profile of difgen.toml, for SLURM's limits.", metavar="NAME")
    ] = None,
    json_: Json = False,
) -> None:
    """Check this machine, and name problems with their remedies.

    Versions, GPUs, SLURM, the run directory's disk, weights and profiles.

    Example: difgen doctor --runs runs/
    """
    with errors():
        from difgen_cli.engine.doctor import gather, worst

        sections = gather(runs, profile)
        if json_:
            print_json(content(sections))
        else:
            _print(sections, output())
        raise typer.Exit(1 if worst(sections) == "bad" else 0)


def content(sections: list[DoctorSection]) -> dict[str, Any]:
    """The sections for machines."""
    from difgen_cli.engine.doctor import worst

    return {
        "verdict": worst(sections),
        "sections": [{"title": s.title, "facts": [vars(fact) for fact in s.facts]} for s in sections],
    }


def _print(sections: list[DoctorSection], console: Console) -> None:
    from rich.text import Text

    width = max(len(fact.name) for section in sections for fact in section.facts)
    for section in sections:
        console.print(Text(section.title, style="bold"), soft_wrap=True)
        for fact in section.facts:
            line = Text(f"  {fact.name:<{width}}  ") + Text(fact.value, style=STYLES[fact.verdict])
            if fact.verdict != "ok":
                line.append(f"  [{fact.verdict}]", style=STYLES[fact.verdict])
            console.print(line, soft_wrap=True)
            if fact.advice:
                console.print(Text(f"  {'':<{width}}  → {fact.advice}"), soft_wrap=True)
