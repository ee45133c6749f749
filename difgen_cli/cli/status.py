"""`difgen status`: the state of the submissions, and one line for each trajectory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from difgen_cli.cli.app import command, errors
from difgen_cli.cli.completion import states, tags
from difgen_cli.cli.format import messages, output, print_json
from difgen_cli.cli.options import (
    EveryGrid,
    Json,
    Only,
    RunsArgument,
    RunsOption,
    check_choice,
    existing,
    run_directory,
)
from difgen_cli.format import counted, duration, shortened

if TYPE_CHECKING:
    from rich.console import Console

    from difgen_cli.engine.status import GridStatus, Status, TrajectoryStatus
    from difgen_cli.engine.store import Store


@command()
def status(
    runs: RunsArgument = None,
    runs_: RunsOption = None,
    state: Annotated[
        str | None,
        typer.Option(
            "--state", help="Only these states, such as failed,lost.", metavar="STATES", autocompletion=states
        ),
    ] = None,
    grid: EveryGrid = None,
    only: Only = None,
    tag: Annotated[
        str | None, typer.Option("--tag", help="Only grids with this tag.", metavar="TAG", autocompletion=tags)
    ] = None,
    grids: Annotated[bool, typer.Option("--grids", help="List the grids, and no trajectories.")] = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show progress until no worker is running.")] = False,
    json_: Json = False,
) -> None:
    """Show which workers are running, and the state of each trajectory.

    Tags and notes of the grids, then one line for each trajectory: its state, what its worker does, step, images per
    second, time left, last metrics.

    Example: difgen status runs/ --state failed,lost

    Example: difgen status --grids
    """
    with errors():
        from difgen_cli.cli import progress
        from difgen_cli.engine import status as looking
        from difgen_cli.engine.store import Store

        store = Store(existing(run_directory(runs, runs_)))
        kept = _filter(store, state, grid, only, tag)
        reconciler = looking.reconciler(store, writes=False)
        if watch:
            progress.watch(messages(), store, lambda: [s for s in reconciler.poll() if s.is_known and s.alive])
        if json_:
            print_json(content(kept(looking.look(store, reconciler))))
        elif grids:
            print_grids(kept(looking.Status([], [], looking.grids(store))).grids, output())
        else:
            print_status(kept(looking.look(store, reconciler)), output())


def _filter(
    store: Store, state: str | None, grid: str | None, only: list[str] | None, tag: str | None
) -> Callable[[Status], Status]:
    """What leaves the trajectories and grids that are asked for.

    GridError for a state, grid, setting or tag that does not exist.
    """
    from difgen_cli.engine import select, status

    wanted = None if state is None else [word.strip() for word in state.split(",")]
    for word in wanted or ():
        check_choice("--state", word, status.STATES)
    folders = select.tagged(store, tag, grid) if tag else None
    asked = [grid] if folders is None else [folder.name for folder in folders]
    filtered = bool(grid or only or tag)
    keys = {cell.trajectory for name in asked for cell in select.find(store, only or [], name)} if filtered else set()

    def kept(now: Status) -> Status:
        lines = [line for line in now.lines if not filtered or line.key in keys]
        shown = [one for one in now.grids if folders is None or one.folder in folders]
        return replace(
            now,
            lines=[line for line in lines if wanted is None or line.state in wanted],
            grids=[one for one in shown if grid is None or grid in (one.name, one.folder.name)],
        )

    return kept


def content(now: Status) -> dict[str, Any]:
    """The status for machines."""
    submissions = [
        {"submission": s.submission.name, "launcher": s.submission.launcher, "known": s.is_known, "running": s.running,
         "pending": s.pending, "reasons": s.reasons, "job": (s.submission.receipt or {}).get("job")}
        for s in now.submissions
    ]  # fmt: skip
    grids = [
        {"grid": one.name, "folder": one.folder.name, "planned": one.planned, "cells": one.cells,
         "tags": one.notes.tags,
         "notes": [{"written": each.written, "note": each.note} for each in one.notes.annotations if each.note]}
        | ({"refined": one.refined} if one.refined else {})
        for one in now.grids
    ]  # fmt: skip
    return {"trajectories": [asdict(line) for line in now.lines], "submissions": submissions, "grids": grids}


def summary(now: Status) -> str:
    """A run directory in a line."""
    from difgen_cli.engine.status import STATES

    counts = now.counts
    states = ", ".join(f"{counts[s]:,} {s}" for s in reversed(STATES) if counts[s])
    return counted(len(now.lines), "trajectory", "trajectories") + (f": {states}" if states else "")


def print_status(now: Status, console: Console) -> None:
    """Print notes of grids, the state of the submissions, and one line for each trajectory, as plain text: there may be
    thousands.
    """
    for grid in now.grids:
        for sentence in (*grid.notes.sentences, *grid.refined):
            console.print(f"{grid.name}: {sentence}", soft_wrap=not console.is_terminal)
    for status in now.submissions:
        job = (status.submission.receipt or {}).get("job")
        console.print(f"{status.submission.name}{f', job {job}' if job else ''}: {status.words}")
    console.print(summary(now))
    if now.lines:
        table = columns([_cells(line) for line in now.lines], console.width)
        console.print("\n".join(table), soft_wrap=True)
    for line in now.lines:
        if line.cause and line.state in ("failed", "lost"):
            console.print(f"! {line.trajectory}: {line.cause}")


def print_grids(grids: Sequence[GridStatus], console: Console) -> None:
    """Print one line for each grid, oldest first: the day of its plan, its cells, tags and last note."""
    rows = [
        {
            "grid": one.folder.name,
            "planned": one.planned[:10],
            "cells": f"{one.cells:,}",
            "tags": ", ".join(one.notes.tags),
            "last note": next((each.note for each in reversed(one.notes.annotations) if each.note), ""),
        }
        for one in grids
    ]
    console.print("\n".join(columns(rows, console.width)) if rows else "no grid", soft_wrap=True)


def _cells(line: TrajectoryStatus) -> dict[str, str]:
    """A trajectory's line by column."""
    rate, left = line.images_per_second, line.left_seconds
    metrics = " ".join(f"{name} {_measured(value)}" for name, value in line.metrics.items())
    return {
        "trajectory": line.trajectory,
        "state": line.state,
        "activity": "" if line.activity in (None, line.state) else line.activity,
        "step": "" if line.step is None else f"{line.step}/{line.target}" if line.target else str(line.step),
        "images/s": f"{rate:,.0f}" if rate else "",
        "roofline": f"{line.roofline:.0%}" if rate and line.roofline is not None else "",
        "left": duration(left) if left is not None else "",
        "snapshots": str(len(line.snapshots)),
        "worker": line.worker or "",
        "last metrics": metrics,
    }


def _measured(value: Any) -> str:
    return "–" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)


def columns(rows: Sequence[dict[str, str]], width: int) -> list[str]:
    """Rows as lines of text in columns, a heading first; the first column gives way where the terminal is narrow."""
    names = [n for n in rows[0] if any(row[n] for row in rows)]
    wide = {n: max(len(n), *(len(row[n]) for row in rows)) for n in names}
    spare = width - sum(wide.values()) - 2 * (len(names) - 1)
    wide[names[0]] = max(12, wide[names[0]] + min(0, spare))
    lines = [{n: n for n in names}, *rows]
    return ["  ".join(shortened(line[n], wide[n]).ljust(wide[n]) for n in names).rstrip()[:width] for line in lines]
