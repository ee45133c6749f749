"""`difgen report --settle FILE`: the cells that would settle what a study leaves open, as a grid to run."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from difgen_cli.cli.options import check_free

if TYPE_CHECKING:
    from rich.console import Console

    from difgen_cli.engine.grid.extended import Changes
    from difgen_cli.engine.store import Store
    from difgen_cli.report import Study
    from difgen_cli.report.study.curves import Curves
    from difgen_cli.report.study.extension import Extension
    from difgen_cli.sweep import Planned


def settle(store: Store, name: str | None, out: Path, table: Console | None, console: Console) -> dict[str, Any]:
    """Write the grid, planned first, and print what it costs; nothing where no such cells settle anything.

    What is stored of the old grid counts in the new one: the cells keep their keys. GridError where the file exists,
    where the run directory has several grids and none is named, and where the stored grid does not plan its own cells.
    Returns the same for machines.
    """
    from difgen_cli.cli.plan import print_brief
    from difgen_cli.engine.grid.document import GridError
    from difgen_cli.report.findings import undecided
    from difgen_cli.report.study import loading

    check_free(out, force=False, may_force=False)
    studies = loading.gather(store, name)
    if len(studies) != 1:
        names = ", ".join(study.name for study in studies) or "none"
        raise GridError(f"--settle {out}: {store.root} has several grids ({names}); choose one with --grid")
    study = studies[0]
    asked, wanted = undecided.questions(study.curves), undecided.wanted(study.curves)
    questions = [{"question": one.words, "why": one.why, "settled": bool(one.extension)} for one in asked]
    if not wanted:
        console.print(f"nothing is written: no further cells of the grid {study.name} would settle what is open")
        return {"grid": study.name, "questions": questions, "file": None}
    planned = written_grid(store, study, wanted, out)
    for rule in (undecided.undecided, undecided.settle):
        if table is not None and (sentence := rule(study.curves, study.curves.last)):
            table.print(sentence, soft_wrap=True, markup=False, highlight=False)
    print_brief(planned, console)
    command = shlex.join([str(out), "--runs", str(store.root)])
    console.print(
        f"{out}: written. What it costs: difgen plan {command}. Run it: difgen sweep {command}", soft_wrap=True
    )
    work = planned.state.work
    return {
        "grid": study.name, "questions": questions, "file": str(out),
        "cells": sum(mark != "done" for mark, cell in zip(planned.state.marks, planned.plan.cells, strict=True)
                     if cell.kind == "model"), "trainings": len(work.trainings),
    }  # fmt: skip


def written_grid(store: Store, study: Study, wanted: Extension, out: Path) -> Planned:
    """The grid in its file, and its plan; where that is refused, no file is left."""
    from difgen_cli import sweep as sweeping
    from difgen_cli.engine.grid.document import GridError
    from difgen_cli.engine.grid.extended import extended
    from difgen_cli.engine.store.files import replace_text
    from difgen_cli.report.findings.undecided import described
    from difgen_cli.report.study import loading

    text = (loading.newest(store)[study.name] / "grid.yaml").read_text(encoding="utf-8")
    text = extended(text, changes(study.curves, wanted))
    out.parent.mkdir(parents=True, exist_ok=True)
    replace_text(out, text)
    try:
        planned = sweeping.prepare(out, store.root, {})
        swept = set(study.rows.loc[study.rows["kind"] == "model", "cell"])
        if not wanted.samples and not swept <= {cell.samples for cell in planned.plan.cells}:
            raise GridError(
                f"--settle {out}: the stored grid does not plan the cells that were swept, as after --set or with "
                f"other data; write the grid by hand: {described(wanted)}"
            )
    except BaseException:
        out.unlink()
        raise
    return planned


def changes(curves: Curves, wanted: Extension) -> Changes:
    """What an extension changes in a grid's file."""
    from difgen_cli.engine.grid.extended import Changes
    from difgen_cli.report.study.curves import SIZE, STEPS
    from difgen_cli.report.study.extension import COUNT, further_seeds

    axes: dict[str, list[int]] = {}
    skip: list[dict[str, str]] = []
    if wanted.sizes:
        axes[SIZE] = sorted({*map(int, curves.axis(SIZE).values), *wanted.sizes})
    if wanted.later or wanted.earlier:
        present = [int(step) for step in curves.axis(STEPS).values]
        axes[STEPS] = sorted({*present, *wanted.later, *wanted.earlier})
        longer, shorter = f'"> {max(present)}"', f'"< {min(present)}"'
        bounds = [(wanted.later, f'"< {wanted.later_from:.0f}"', wanted.later_from, longer),
                  (wanted.later, f'"> {wanted.later_to:.0f}"', wanted.later_to, longer),
                  (wanted.earlier, f'"> {wanted.earlier_to:.0f}"', wanted.earlier_to, shorter)]  # fmt: skip
        skip = [{SIZE: sizes, STEPS: steps} for new, sizes, end, steps in bounds if new and math.isfinite(end)]
        skip = [line for line in skip if _drops(line[SIZE], [*curves.axis(SIZE).values, *wanted.sizes])]
    seeds = further_seeds(curves.cells["seed"].unique(), wanted.seeds) if wanted.seeds else ()
    return Changes(axes, seeds, {COUNT: wanted.samples} if wanted.samples else None, skip)


def _drops(test: str, sizes: Sequence[float]) -> bool:
    """Whether a line of `skip` names any size: one that drops nothing is not written."""
    sign, bound = test.strip('"').split()
    return any(size < float(bound) if sign == "<" else size > float(bound) for size in sizes)
