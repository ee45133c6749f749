"""What this machine, its cluster and its disk offer: facts, each with a verdict and, where there is one, what to do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from rich.console import Console

Verdict = Literal["ok", "note", "bad"]
STYLES = {"ok": "", "note": "yellow", "bad": "bold red"}


@dataclass(frozen=True)
class Fact:
    """One thing that is known: `note` is worth knowing, `bad` stands in the way of a sweep."""

    name: str
    value: str
    verdict: Verdict = "ok"
    advice: str = ""


@dataclass(frozen=True)
class DoctorSection:
    """Facts of one kind."""

    title: str
    facts: list[Fact]


def gather(runs: Path, profile: str | None = None) -> list[DoctorSection]:
    """Ask everything. `runs`: the run directory, there or not; `profile`: the one whose submit limits are asked."""
    from difgen_cli.doctor import disk, machine, scheduler

    sections = [DoctorSection("versions", machine.versions()), DoctorSection("this machine", machine.machine())]
    settings, places = machine.places(profile)
    cluster = scheduler.facts(settings)
    shared = any(fact.name == "cluster" for fact in cluster)
    directory = DoctorSection(f"run directory {runs}", disk.facts(runs, shared))
    return [*sections, DoctorSection("SLURM", cluster), directory, DoctorSection("places", places)]


def worst(sections: list[DoctorSection]) -> Verdict:
    """The gravest verdict of all."""
    found = {fact.verdict for section in sections for fact in section.facts}
    return "bad" if "bad" in found else "note" if "note" in found else "ok"


def content(sections: list[DoctorSection]) -> dict[str, Any]:
    """The sections for machines."""
    return {
        "verdict": worst(sections),
        "sections": [{"title": s.title, "facts": [vars(fact) for fact in s.facts]} for s in sections],
    }


def show(sections: list[DoctorSection], console: Console) -> None:
    """The sections for people."""
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
