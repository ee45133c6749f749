"""`difgen sweep`: run the missing cells of a grid, and print a table of results."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from difgen_cli.cli.app import FLAGS, command, errors
from difgen_cli.cli.format import messages, output
from difgen_cli.cli.options import (
    CLUSTERS,
    Cluster,
    GridFile,
    JobsPerGpu,
    Note,
    Only,
    Profile,
    Runs,
    Set,
    Tag,
    Workers,
    annotation_of,
    check_choice,
    jobs_per_gpu_of,
    settings_of,
)
from difgen_cli.format import counted

if TYPE_CHECKING:
    from rich.console import Console

    from difgen_cli.engine.store.notes import Annotation
    from difgen_cli.sweep import Planned

CAUSES_MAX = 5  # of failures that are named
FINDINGS = 3  # sentences at the end of a sweep


@command()
def sweep(
    grid: GridFile,
    runs: Runs = Path("runs"),
    cluster: Cluster = "auto",
    workers: Workers = None,
    jobs_per_gpu: JobsPerGpu = "1",
    detach: Annotated[bool, typer.Option("--detach", help="Start the workers and return at once.")] = False,
    profile: Profile = None,
    only: Only = None,
    retry: Annotated[str | None, typer.Option(help="`failed`: try failed units again.", metavar="WHAT")] = None,
    set_: Set = None,
    note: Note = None,
    tag: Tag = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Show the plan; run nothing.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only errors and results.")] = False,
) -> None:
    """Run the missing cells of a grid, and print a table of results.

    Example: difgen sweep grids/size.yaml
    """
    FLAGS["quiet"] |= quiet
    with errors():
        check_choice("--cluster", cluster, CLUSTERS)
        check_choice("--retry", retry, (None, "failed"))
        jobs, annotation = jobs_per_gpu_of(jobs_per_gpu), annotation_of(note, tag)
        from difgen_cli import sweep as sweeping
        from difgen_cli.cli import progress
        from difgen_cli.cli.plan import print_brief  # here, so that the help lists sweep before plan

        planned = sweeping.prepare(grid, runs, settings_of(set_), only or ())
        if retry:
            planned = sweeping.retry_failed(planned, only or (), release=not dry_run)
        console = messages()
        print_brief(planned, console)
        if dry_run:
            return
        if not planned.state.work:
            _nothing_to_do(planned, annotation, console)
            return
        options = sweeping.Options(cluster, workers, jobs, detach, profile, retry is not None, annotation)
        ended = sweeping.run(planned, options, console, partial(progress.watch, console))
        if ended == "detached":
            return
        _print_results(planned, console)
        if ended == "failed":
            _print_failures(planned, sweeping.failures(planned), console)
        if ended == "interrupted":
            console.print("interrupted: everything so far is kept; run the same command again to resume")
        raise typer.Exit(sweeping.ENDED[ended])


def _nothing_to_do(planned: Planned, annotation: Annotation, console: Console) -> None:
    from difgen_cli import sweep as sweeping
    from difgen_cli.engine.store import notes
    from difgen_cli.engine.store.access import exists

    if not exists(planned.folder / "plan.parquet"):
        sweeping.record(planned)
    notes.add(planned.folder, annotation)
    if planned.state.causes:
        console.print("nothing to do: every cell is done or has failed")
        _print_failures(planned, planned.state.causes, console)
        raise typer.Exit(1)
    needed = " that is needed" if planned.state.counts["not needed"] else ""
    console.print(f"nothing to do: every cell{needed} is done; to see the results: {_report(planned)}", soft_wrap=True)


def _report(planned: Planned) -> str:
    """The command that draws what was swept."""
    return shlex.join(["difgen", "report", str(planned.store.root)])


def _print_results(planned: Planned, console: Console) -> None:
    from difgen_cli import report
    from difgen_cli.report.study import loading

    for study in loading.gather(planned.store, planned.plan.grid.name, planned.folder):
        if ((study.rows["state"] == "done") & (study.rows["kind"] == "model")).any():
            report.show(study, output(), first=FINDINGS)
            console.print(f"figures and page: {_report(planned)}", soft_wrap=True)


def _print_failures(planned: Planned, causes: Mapping[int, str], console: Console) -> None:
    """Why cells have failed, each cause once; which command prints more, and which tries them again."""
    cells: dict[str, list[int]] = {}
    for index, cause in causes.items():
        cells.setdefault(cause, []).append(index)
    for cause, indices in list(cells.items())[:CAUSES_MAX]:
        console.print(f"! {counted(len(indices), 'cell')} failed, the first with index {indices[0]}: {cause}")
    if len(cells) > CAUSES_MAX:
        console.print(f"! and {counted(len(cells) - CAUSES_MAX, 'more cause')}: difgen status {planned.store.root}")
    cell = ["difgen", "logs", str(next(iter(causes)))]
    logs = shlex.join([*cell, "--runs", str(planned.store.root), "--grid", planned.plan.grid.name])
    console.print(f"the log of the worker: {logs}", soft_wrap=True)
    console.print("run the same command with --retry failed to try them again")
