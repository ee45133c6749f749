"""Checks of this machine, its cluster and its disk: facts, each with a verdict and, where needed, a remedy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Verdict = Literal["ok", "note", "bad"]


@dataclass(frozen=True)
class Fact:
    """One result of a check: `note` is worth knowing, `bad` prevents a sweep."""

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
    """Run all checks. `runs`: a run directory that may not exist yet; `profile`: whose partition is checked."""
    from difgen_cli.engine.doctor import disk, machine, scheduler

    sections = [DoctorSection("versions", machine.versions()), DoctorSection("this machine", machine.machine())]
    settings, places = machine.places(profile)
    cluster = scheduler.facts(settings)
    shared = any(fact.name == "cluster" for fact in cluster)
    directory = DoctorSection(f"run directory {runs}", disk.facts(runs, shared))
    return [*sections, DoctorSection("SLURM", cluster), directory, DoctorSection("places", places)]


def worst(sections: list[DoctorSection]) -> Verdict:
    """The gravest verdict of all."""
    verdicts = {fact.verdict for section in sections for fact in section.facts}
    return "bad" if "bad" in verdicts else "note" if "note" in verdicts else "ok"
