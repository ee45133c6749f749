"""`difgen status`: the state of the submissions, and one line for each trajectory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from difgen_cli.cli.app import command, errors
from difgen_cli.cli.completion import states
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

    from difgen_cli.engine.status import Status, TrajectoryStatus
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
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show progress until no worker is running.")] = False,
    json_: Json = False,
) -> None:
    """Show which workers are running, and the state of each trajectory.

    One line for each trajectory: its state, what its worker does, step, images per second, time left, last metrics.

    Example: difgen status runs/ --state failed,lost
    """
    with errors():
        from difgen_cli.cli import progress
        from difgen_cli.engine import status as looking
        from difgen_cli.engine.store import Store

        store = Store(existing(run_directory(runs, runs_)))
        kept = _filter(store, state, grid, only)
        reconciler = looking.reconciler(store, writes=False)
        if watch:
            progress.watch(messages(), store, lambda: [s for s in reconciler.poll() if s.is_known and s.alive])
        if json_:
            print_json(content(kept(looking.look(store, reconciler))))
        else:
            print_status(kept(looking.look(store, reconciler)), output())


def _filter(store: Store, state: str | None, grid: str | None, only: list[str] | None) -> Callable[[Status], Status]:
    """What leaves the trajectories that are asked for. GridError for a state, grid or setting that does not exist."""
    from difgen_cli.engine import select, status

    wanted = None if state is None else [word.strip() for word in state.split(",")]
    for word in wanted or ():
        check_choice("--state", word, status.STATES)
    keys = {cell.trajectory for cell in select.find(store, only or [], grid)} if grid or only else None

    def kept(now: Status) -> Status:
        lines = [line for line in now.lines if keys is None or line.key in keys]
        return replace(now, lines=[line for line in lines if wanted is None or line.state in wanted])

    return kept


def content(now: Status) -> dict[str, Any]:
    """The status for machines."""
    submissions = [
        {"submission": s.submission.name, "launcher": s.submission.launcher, "known": s.is_known, "running": s.running,
         "pending": s.pending, "reasons": s.reasons, "job": (s.submission.receipt or {}).get("job")}
        for s in now.submissions
    ]  # fmt: skip
    return {"trajectories": [asdict(line) for line in now.lines], "submissions": submissions}


def summary(now: Status) -> str:
    """A run directory in a line."""
    from difgen_cli.engine.status import STATES

    counts = now.counts
    states = ", ".join(f"{counts[s]:,} {s}" for s in reversed(STATES) if counts[s])
    return counted(len(now.lines), "trajectory", "trajectories") + (f": {states}" if states else "")


def print_status(now: Status, console: Console) -> None:
    """Print the state of the submissions, and one line for each trajectory, as plain text: there may be thousands."""
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
