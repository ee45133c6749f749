"""From a grid to its results: sweep, plan."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from difgen_cli.cli.common import (
    FLAGS,
    GridFile,
    Json,
    Only,
    Runs,
    Set,
    choice,
    command,
    errors,
    output,
    settings,
    words,
    write,
)

if TYPE_CHECKING:
    from rich.console import Console

    from difgen_cli.sweep import Planned

CLUSTERS = ("auto", "local", "slurm", "inline")
Cluster = Annotated[str, typer.Option(help="Where to run: auto, local, slurm or inline.", metavar="WHERE")]
Workers = Annotated[
    int | None, typer.Option(min=1, help="How many workers; default: one per GPU or core.", metavar="N")
]
JobsPerGpu = Annotated[str, typer.Option(help="Workers that share one GPU: a number, or auto.", metavar="N")]
Profile = Annotated[str | None, typer.Option(help="A profile of difgen.toml.", metavar="NAME")]


@command()
def sweep(
    grid: GridFile,
    runs: Runs = Path("runs"),
    cluster: Cluster = "auto",
    workers: Workers = None,
    jobs_per_gpu: JobsPerGpu = "1",
    detach: Annotated[bool, typer.Option("--detach", help="Leave the workers to it.")] = False,
    profile: Profile = None,
    only: Only = None,
    retry: Annotated[str | None, typer.Option(help="`failed`: try failed units again.", metavar="WHAT")] = None,
    set_: Set = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Show the plan; run nothing.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors and results.")] = False,
) -> None:
    """Run what is missing of a grid, and end with a table of results.

    Example: difgen sweep grids/size.yaml
    """
    FLAGS["quiet"] |= quiet
    with errors():
        choice("--cluster", cluster, CLUSTERS)
        choice("--retry", retry, (None, "failed"))
        jobs = _jobs_per_gpu(jobs_per_gpu)
        from difgen_cli import sweep as sweeping
        from difgen_cli.cli import plan as plans

        planned = sweeping.prepare(grid, runs, settings(set_), only or ())
        if retry:
            planned = sweeping.retry_failed(planned, only or (), release=not dry_run)
        say = words()
        plans.brief(planned, say)
        if dry_run:
            return
        if not planned.state.work:
            _nothing_to_do(planned, say)
            return
        options = sweeping.Options(cluster, workers, jobs, detach, profile, anew=retry is not None)
        ended = sweeping.run(planned, options, say)
        if ended == "detached":
            return
        _say_results(planned, say)
        if ended == "failed":
            plans.failures(planned, sweeping.failures(planned), say)
        if ended == "interrupted":
            say.print("interrupted: everything so far is kept; the same command goes on")
        raise typer.Exit(sweeping.ENDED[ended])


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
    """Show what would run and what it takes; touches nothing.

    New, done, stale and failed cells, trajectories, and the time that they take.

    Example: difgen plan grids/size.yaml

    Example: difgen plan grids/size.yaml --workers 16
    """
    with errors():
        choice("--cluster", cluster, CLUSTERS)
        from difgen_cli import sweep as sweeping
        from difgen_cli.cli import plan as plans

        planned = sweeping.prepare(grid, runs, settings(set_), only or ())
        options = sweeping.Options(cluster, workers, _jobs_per_gpu(jobs_per_gpu), profile=profile)
        if note := sweeping.hidden(options):
            words().print(f"note: {note}", style="yellow")
        found = sweeping.foresee(planned, sweeping.pool_of(planned, options))
        if json_:
            write(plans.plan_json(planned, found) + "\n")
        else:
            plans.plan(planned, found, output())


def _jobs_per_gpu(said: str) -> int | None:
    """How many workers share one GPU; None: as many as a probe finds best."""
    from difgen_cli.engine.grid.document import GridError

    if said == "auto":
        return None
    if not (said.isascii() and said.isdigit() and int(said) >= 1):
        raise GridError(f"--jobs-per-gpu {said}: write a whole number of at least 1, or auto")
    return int(said)


def _nothing_to_do(planned: Planned, say: Console) -> None:
    from difgen_cli import sweep as sweeping

    if not (planned.folder / "plan.parquet").exists():
        sweeping.record(planned)
    if planned.state.causes:
        from difgen_cli.cli import plan as plans

        say.print("nothing to do but what has failed")
        plans.failures(planned, planned.state.causes, say)
        raise typer.Exit(1)
    say.print(f"nothing to do: every cell is done; look at it with: {_report(planned)}", soft_wrap=True)


def _report(planned: Planned) -> str:
    """The command that draws what was swept."""
    return shlex.join(["difgen", "report", str(planned.store.root)])


def _say_results(planned: Planned, say: Console) -> None:
    from difgen_cli import report as reporting
    from difgen_cli.report.study import loading

    for study in loading.gather(planned.store, planned.plan.grid.name, planned.folder):
        if ((study.rows["state"] == "done") & (study.rows["kind"] == "model")).any():
            reporting.show(study, output())
    say.print(f"figures and page: {_report(planned)}", soft_wrap=True)
