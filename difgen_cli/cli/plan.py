"""Plans: what would run, and what it costs."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING

from difgen_cli.display import as_json
from difgen_cli.engine.cost import sentences
from difgen_cli.engine.cost.forecast import as_dict
from difgen_cli.format import counted, duration

if TYPE_CHECKING:
    from rich.console import Console

    from difgen_cli.engine.cost.forecast import Forecast
    from difgen_cli.sweep import Planned

CAUSES = 5  # of failures that are named
MARKS = {"new": "+", "done": "=", "stale": "~", "failed": "!"}


def brief(planned: Planned, console: Console) -> None:
    """The plan in a line or two, and what confounds the study."""
    plan, counts = planned.plan, planned.state.counts
    states = ", ".join(f"{counts[s]} {s}" for s in MARKS if counts[s])
    console.print(
        f"{plan.grid.name}: {counted(len(plan.models), 'cell')} and "
        f"{counted(len(plan.cells) - len(plan.models), 'reference row')} ({states}) in "
        f"{counted(len(plan.trajectories), 'trajectory', 'trajectories')}",
    )
    missing = counts["new"] + counts["stale"]
    if len(planned.state.wanted) < missing:
        work = planned.state.work
        console.print(
            f"of these, {counted(len(planned.state.wanted), 'row')} in "
            f"{counted(len(work.trainings), 'training')} to run now"
        )
    for note in plan.warnings:
        console.print(f"note: {note}", style="yellow")
    if said := planned.state.distrusted.sentence(plan.trajectories):
        console.print(f"note: {said}", style="yellow")
    for slug in planned.state.retrained[:5]:
        console.print(f"note: {slug}: an earlier snapshot was not kept; trained again to it", style="yellow")


def plan(planned: Planned, found: Forecast, console: Console) -> None:
    """The whole plan: one line a trajectory with its snapshots' marks, then cost."""
    from rich.table import Table

    brief(planned, console)
    marks: dict[str, list[str]] = {}
    for cell, mark in zip(planned.plan.cells, planned.state.marks, strict=True):
        marks.setdefault(cell.home, []).append(MARKS[mark])
    table = Table(box=None, pad_edge=False)
    for name in ("trajectory", "steps", "cells", "images"):
        table.add_column(
            name, no_wrap=name != "steps", overflow="ellipsis", justify="right" if name == "images" else "left"
        )
    for key, trajectory in planned.plan.trajectories.items():
        steps = ",".join(map(str, trajectory.steps))
        table.add_row(trajectory.slug, steps, _tally(marks.get(key, [])), f"{trajectory.images:,}")
    console.print(table)
    console.print(f"{' '.join(f'{v} {k}' for k, v in MARKS.items())}")
    share = planned.plan.images_planned / max(planned.plan.images_one_by_one, 1)
    console.print(
        f"{planned.plan.images_planned:,} training images, {share:.2f} of what the cells would take one by one",
    )
    _cost(found, console)
    for index, cause in list(planned.state.causes.items())[:10]:
        console.print(f"! cell {index}: {cause}")


def failures(planned: Planned, causes: Mapping[int, str], console: Console) -> None:
    """Why cells have failed, each cause once; where more is said, and how they are tried again."""
    cells: dict[str, list[int]] = {}
    for index, cause in causes.items():
        cells.setdefault(cause, []).append(index)
    for cause, some in list(cells.items())[:CAUSES]:
        console.print(f"! {counted(len(some), 'cell')} failed, the first with index {some[0]}: {cause}")
    if len(cells) > CAUSES:
        console.print(f"! and {counted(len(cells) - CAUSES, 'more cause')}: difgen status {planned.store.root}")
    logs = [
        "difgen",
        "logs",
        str(next(iter(causes))),
        "--runs",
        str(planned.store.root),
        "--grid",
        planned.plan.grid.name,
    ]
    console.print(f"what the worker wrote: {shlex.join(logs)}", soft_wrap=True)
    console.print("the same command with --retry failed tries again")


def _tally(marks: list[str]) -> str:
    return "".join(marks) if len(marks) <= 12 else " ".join(f"{marks.count(m)}{m}" for m in dict.fromkeys(marks))


def _cost(found: Forecast, console: Console) -> None:
    """What is left to do, in workers' time by kind of work, and how long it takes."""
    from rich.table import Table

    if not found.todo:
        return
    table = Table(box=None, pad_edge=False)
    for name in ("to do", "units", "expected", "95 %", "how"):
        table.add_column(name, no_wrap=name != "how", justify="right" if name in ("units", "expected") else "left")
    for part in found.parts:
        said, known = part.seconds, part.seconds.how != "unknown"
        range_ = f"{duration(said.low)} to {duration(said.high)}" if known else ""
        table.add_row(
            part.name, f"{part.units:,}", duration(said.value) if known else "?", range_, sentences.obtained(said)
        )
    console.print(table)
    console.print(sentences.expected(found))


def plan_json(planned: Planned, found: Forecast) -> str:
    """The plan for machines: every cell with its settings, keys and mark."""
    cells = [
        {"index": c.index, "kind": c.kind, "seed": c.seed, "step": c.step, "mark": mark, "trajectory": c.home,
         "cell": c.samples, "settings": c.settings(), "axes": c.axis_values(), "results": c.metrics}
        for c, mark in zip(planned.plan.cells, planned.state.marks, strict=True)
    ]  # fmt: skip
    trajectories = {
        k: {"slug": t.slug, "steps": t.steps, "images": t.images} for k, t in planned.plan.trajectories.items()
    }
    return as_json({"grid": planned.plan.grid.name, "cells": cells, "trajectories": trajectories,
                    "images": planned.plan.images_planned, "images_one_by_one": planned.plan.images_one_by_one,
                    "warnings": planned.plan.warnings,
                    "stale": planned.state.distrusted.sentence(planned.plan.trajectories),
                    "to_do": as_dict(found)})  # fmt: skip
