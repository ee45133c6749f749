"""The head of a page: the question, what was found, what a reader must know, what ran, and what was varied."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from difgen_cli.report.page import opening
from difgen_cli.report.page.parts import note
from difgen_cli.report.plotting import captions, labels
from difgen_cli.report.study.curves import Curves, absent_by_state

if TYPE_CHECKING:
    from difgen_cli.report import Study


def header(study: Study, curves: Curves, sentences: Sequence[str]) -> str:
    """What a reader sees first: the question and its answers, then warnings; beside them counts and axes."""
    lead = [
        f'<h1>{escape(study.name)}</h1><p class="question">{escape(study.question)}</p>{opening.block(sentences)}',
        *map(note, study.notes),
        *(note(text, "warning") for text in _warnings(study, curves)),
    ]
    about = f'<div class="about">{_counts(curves)}{_varied(study)}</div>'
    return f'<header><div class="lead">{"".join(lead)}</div>{about}</header>'


def _counts(curves: Curves) -> str:
    """How many cells are done; of other states those that occur."""
    counts = {"done": len(curves.done), **absent_by_state(curves.cells)}
    lines = "".join(f'<li class="{word}"><b>{count}</b> {word}</li>' for word, count in counts.items())
    return f'<ul class="counts" aria-label="Cells">{lines}</ul>'


def _varied(study: Study) -> str:
    axes = "".join(
        f"<tr><th scope=row>{escape(path)}</th><td>{escape(', '.join(map(labels.text, values)))}</td></tr>"
        for path, values in study.axes.items()
    )
    seeds = f"<tr><th scope=row>seeds</th><td>{study.seeds}</td></tr>"
    table = f'<table class="plain"><caption>What was varied</caption>{axes}{seeds}</table>'
    return f'<div class="scroll" tabindex="0">{table}</div>'


def _warnings(study: Study, curves: Curves) -> list[str]:
    """What a reader must know before believing a curve."""
    warnings = [study.stale] if study.stale else []
    if curves.seeds == 1:
        warnings.append("One seed: it is not known how much another subset or initialisation would differ.")
    elif 1 < curves.seeds < study.seeds:
        warnings.append(f"At most {curves.seeds} of {study.seeds} seeds are finished.")
    if "differing counts" in captions.counts(curves):
        warnings.append("Sample or reference counts differ between cells: their Fréchet distances cannot be compared.")
    if " / " in curves.features:
        warnings.append(f"Several feature spaces ({curves.features}): their distances cannot be compared.")
    return [*warnings, *captions.moving(curves)]
