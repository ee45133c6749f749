"""`difgen plan`: what would run, and how long it would take."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from difgen_cli.cli import why
from difgen_cli.cli.app import command, errors
from difgen_cli.cli.format import messages, output, print_json
from difgen_cli.cli.options import (
    CLUSTERS,
    Cluster,
    GridFile,
    JobsPerGpu,
    Json,
    Only,
    Profile,
    Runs,
    Set,
    Workers,
    check_choice,
    jobs_per_gpu_of,
    settings_of,
)
from difgen_cli.format import counted, duration

if TYPE_CHECKING:
    from rich.console import Console

    from difgen_cli.engine.cost.forecast import Forecast
    from difgen_cli.engine.plan.why import ReasonGroup
    from difgen_cli.sweep import Planned

REASONS = 12  # that are printed
MARKS = {"new": "+", "done": "=", "stale": "~", "failed": "!", "not needed": "·"}


@command()
def plan(
    grid: GridFile,
    runs: Runs = Path("runs"),
    cluster: Cluster = "auto",
    workers: Workers = None,
    jobs_per_gpu: JobsPerGpu = "1",
    profile: Profile = None,
    only: Only = None,
    set_: Set = None,
    json_: Json = False,
) -> None:
    """Show what would run, and how long it would take.

    New, done, stale and failed cells, trajectories, and their expected time. Nothing is written.

    Example: difgen plan grids/size.yaml

    Example: difgen plan grids/size.yaml --workers 16
    """
    with errors():
        check_choice("--cluster", cluster, CLUSTERS)
        from difgen_cli import sweep as sweeping
        from difgen_cli.engine.plan.why import explain

        planned = sweeping.prepare(grid, runs, settings_of(set_), only or ())
        options = sweeping.Options(cluster, workers, jobs_per_gpu_of(jobs_per_gpu), profile=profile)
        if note := sweeping.hidden(options):
            messages().print(f"note: {note}", style="yellow")
        forecast = sweeping.foresee(planned, sweeping.pool_of(planned, options))
        reasons = explain(planned.plan, planned.state, planned.store)
        if json_:
            print_json(content(planned, forecast) | {"why": [why.as_dict(group) for group in reasons]})
        else:
            print_plan(planned, forecast, output())
            print_reasons(reasons, output())


def print_brief(planned: Planned, console: Console) -> None:
    """The plan in a line or two, and what confounds the study."""
    plan, counts = planned.plan, planned.state.counts
    states = ", ".join(f"{counts[s]} {s}" for s in MARKS if counts[s])
    console.print(
        f"{plan.grid.name}: {counted(len(plan.models), 'cell')} and "
        f"{counted(len(plan.cells) - len(plan.models), 'reference row')} ({states}) in "
        f"{counted(len(plan.trajectories), 'trajectory', 'trajectories')}",
    )
    if planned.state.rounds:
        console.print("\n".join(planned.state.rounds.sentences()))
    missing = counts["new"] + counts["stale"]
    if len(planned.state.wanted) < missing:
        work = planned.state.work
        console.print(
            f"to run now: {counted(len(planned.state.wanted), 'row')} in {counted(len(work.trainings), 'training')}"
        )
    for note in plan.warnings:
        console.print(f"note: {note}", style="yellow")
    if sentence := planned.state.distrusted.sentence(plan.trajectories):
        console.print(f"note: {sentence}", style="yellow")
    for sentence in planned.state.retrained[:5]:
        console.print(f"note: {sentence}", style="yellow")


def print_plan(planned: Planned, forecast: Forecast, console: Console) -> None:
    """The whole plan: one line a trajectory with its snapshots' marks, then cost."""
    from rich.table import Table

    print_brief(planned, console)
    marks: dict[str, list[str]] = {}
    for cell, mark in zip(planned.plan.cells, planned.state.marks, strict=True):
        marks.setdefault(cell.run_key, []).append(MARKS[mark])
    table = Table(box=None, pad_edge=False)
    for name in ("trajectory", "steps", "cells", "images"):
        table.add_column(
            name, no_wrap=name != "steps", overflow="ellipsis", justify="right" if name == "images" else "left"
        )
    for key, trajectory in planned.plan.trajectories.items():
        forks = f"fork at {','.join(map(str, trajectory.states))}" if trajectory.states else ""
        steps = "; ".join(filter(None, [",".join(map(str, trajectory.steps)), forks]))
        table.add_row(trajectory.slug, steps, _tally(marks.get(key, [])), f"{trajectory.images:,}")
    console.print(table)
    console.print(f"{' '.join(f'{v} {k}' for k, v in MARKS.items())}")
    share = planned.plan.images_planned / max(planned.plan.images_one_by_one, 1)
    console.print(
        f"{planned.plan.images_planned:,} training images, {share:.2f} of what the cells would take one by one",
    )
    _print_cost(forecast, console)
    for index, cause in list(planned.state.causes.items())[:10]:
        console.print(f"! cell {index}: {cause}")


def print_reasons(reasons: list[ReasonGroup], console: Console) -> None:
    """Why cells are not done, where there is anything that they could be compared with."""
    if all(change.kind == "empty" for group in reasons for change in group.changes):
        return
    for group in reasons[:REASONS]:
        console.print(why.sentence(group), soft_wrap=True)
    if len(reasons) > REASONS:
        console.print(f"… and {len(reasons) - REASONS} more: --json has them all")


def _tally(marks: list[str]) -> str:
    return "".join(marks) if len(marks) <= 12 else " ".join(f"{marks.count(m)}{m}" for m in dict.fromkeys(marks))


def _print_cost(forecast: Forecast, console: Console) -> None:
    """What is left to do, in workers' time by kind of work, and how long it takes."""
    from rich.table import Table

    from difgen_cli.engine.cost import sentences

    if not forecast.todo:
        return
    table = Table(box=None, pad_edge=False)
    for name in ("to do", "units", "expected", "95 %", "how"):
        table.add_column(name, no_wrap=name != "how", justify="right" if name in ("units", "expected") else "left")
    for part in forecast.parts:
        seconds, estimated = part.seconds, part.seconds.how != "unknown"
        value = duration(seconds.value) if estimated else "?"
        interval = f"{duration(seconds.low)} to {duration(seconds.high)}" if estimated else ""
        table.add_row(part.name, f"{part.units:,}", value, interval, sentences.obtained(seconds))
    console.print(table)
    console.print(sentences.expected(forecast))


def content(planned: Planned, forecast: Forecast) -> dict[str, Any]:
    """The plan for machines: every cell with its settings, keys and mark."""
    from difgen_cli.engine.cost.sentences import as_dict

    cells = [
        {"index": c.index, "kind": c.kind, "seed": c.seed, "step": c.at, "mark": mark, "trajectory": c.run_key,
         "cell": c.samples, "settings": c.settings(), "axes": c.axis_values(), "results": c.metrics}
        for c, mark in zip(planned.plan.cells, planned.state.marks, strict=True)
    ]  # fmt: skip
    trajectories = {
        k: {"slug": t.slug, "steps": t.steps, "images": t.images} | ({"forks_at": t.states} if t.states else {})
        for k, t in planned.plan.trajectories.items()
    }
    return {
        "grid": planned.plan.grid.name,
        "cells": cells,
        "trajectories": trajectories,
        "images": planned.plan.images_planned,
        "images_one_by_one": planned.plan.images_one_by_one,
        "warnings": planned.plan.warnings,
        "stale": planned.state.distrusted.sentence(planned.plan.trajectories),
        "to_do": as_dict(forecast),
    }
