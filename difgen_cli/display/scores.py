"""What `difgen score` found: as a report, for a terminal, or as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from difgen_cli import score
from difgen_cli.display import as_json
from difgen_cli.report import Written, scored
from difgen_cli.report.scored import Scored
from difgen_cli.report.study import loading

if TYPE_CHECKING:
    from rich.console import Console

PAIRS = 20  # pairs that JSON names


def gather(prepared: score.Prepared) -> Scored:
    """The rows, the pairs and the words of a request that was run."""
    planned = prepared.planned
    study = loading.gather(planned.store, planned.plan.grid.name, planned.folder)[0]
    return Scored(study, score.pairs(prepared), score.ratios(prepared), prepared.notes, prepared.left_out)


def write(found: Scored, out: Path | None) -> Written:
    """Write the report; by default into a folder of the samples' name."""
    return scored.write(found, out or Path("report") / found.study.name)


def show(found: Scored, written: Written, console: Console, words: Console) -> None:
    """Print the table, and say where the rest is."""
    scored.show(found, console)
    words.print(f"report: {written.page}", soft_wrap=True)


def content(found: Scored, written: Written, tables: Path) -> str:
    """The same for machines: every value of every row, the most copied pairs, what is left out and why."""
    rows = {kind: _values(found.row(kind), found) for kind in scored.KINDS if found.row(kind)}
    return as_json(
        {
            "question": found.study.question, "findings": scored.sentences(found), "rows": rows,
            "pairs": found.pairs.head(PAIRS).to_dict("records"), "notes": found.notes, "left_out": found.left_out,
            "report": str(written.page), "tables": str(tables),
        }
    )  # fmt: skip


def _values(row: dict[str, Any], found: Scored) -> dict[str, Any]:
    """The metrics of a row; what does not exist is null."""
    measured = [name for name, (_, meaning) in found.study.units.items() if meaning and name in row]
    return {name: None if row[name] != row[name] else row[name] for name in measured}
