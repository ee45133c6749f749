"""From a grid to its curves: sweep, plan, report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from difgen_cli.cli.common import (
    FLAGS,
    CellWords,
    GridFile,
    Json,
    Only,
    Runs,
    Set,
    app,
    choice,
    errors,
    existing,
    fail,
    output,
    settings,
    words,
    write,
)

if TYPE_CHECKING:
    from rich.console import Console

    from difgen_cli.report.chosen import Choice
    from difgen_cli.sweep import Planned

CLUSTERS = ("auto", "local", "slurm", "inline")
Cluster = Annotated[str, typer.Option(help="Where to run: auto, local, slurm or inline.")]
Workers = Annotated[int | None, typer.Option(min=1, help="How many workers; default: one per GPU or core.")]
JobsPerGpu = Annotated[str, typer.Option(help="Workers that share one GPU: a number, or auto.")]
Profile = Annotated[str | None, typer.Option(help="A profile of difgen.toml.")]


@app.command()
def sweep(
    grid: GridFile,
    runs: Runs = Path("runs"),
    cluster: Cluster = "auto",
    workers: Workers = None,
    jobs_per_gpu: JobsPerGpu = "1",
    detach: Annotated[bool, typer.Option("--detach", help="Leave the workers to it.")] = False,
    profile: Profile = None,
    only: Only = None,
    retry: Annotated[str | None, typer.Option(help="`failed`: try failed units again.")] = None,
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
        from difgen_cli.display import plans

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
        if ended == "interrupted":
            say.print("interrupted: everything so far is kept; the same command goes on", highlight=False)
        raise typer.Exit(sweeping.ENDED[ended])


@app.command()
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
    """Show what would run: new, done, stale and failed cells, trajectories and what it takes; touches nothing.

    Example: difgen plan grids/size.yaml
    Example: difgen plan grids/size.yaml --workers 16
    """
    with errors():
        choice("--cluster", cluster, CLUSTERS)
        from difgen_cli import sweep as sweeping
        from difgen_cli.display import plans

        planned = sweeping.prepare(grid, runs, settings(set_), only or ())
        options = sweeping.Options(cluster, workers, _jobs_per_gpu(jobs_per_gpu), profile=profile)
        found = sweeping.foresee(planned, sweeping.crew_of(planned, options))
        if json_:
            write(plans.plan_json(planned, found) + "\n")
        else:
            plans.plan(planned, found, output())


@app.command()
def report(
    runs: Annotated[Path, typer.Argument(help="The run directory.")] = Path("runs"),
    grid: Annotated[str | None, typer.Option(help="One grid's name; default: every grid of the run directory.")] = None,
    out: Annotated[Path, typer.Option(help="The folder of the report.")] = Path("report"),
    paper: Annotated[bool, typer.Option("--paper", help="Also figures at a paper's widths: PNG, SVG, PDF.")] = False,
    x: Annotated[str | None, typer.Option("--x", help="One figure alone: the column across.")] = None,
    y: Annotated[str | None, typer.Option("--y", help="The column up.")] = None,
    by: Annotated[str | None, typer.Option("--by", help="The column that is coloured.")] = None,
    compare: Annotated[tuple[Path, Path] | None, typer.Option(help="Two run directories, side by side.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse what should not be compared.")] = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Write again as rows arrive.")] = False,
    json_: Json = False,
) -> None:
    """Draw the curves: figures with the numbers behind them, a table, and one HTML page.

    Example: difgen report runs/
    Example: difgen report runs/ --x data.size --y mem_frac --by model.width
    """
    with errors():
        _apart({"--x with --y": x or y or by, "--compare": compare, "--watch": watch})
        from difgen_cli.display import reports
        from difgen_cli.report import studies
        from difgen_cli.store import Store

        for path in compare or (runs,):
            existing(path)
        say, out_ = words(), None if json_ else output()
        if compare:
            content = reports.compared(compare, grid, out, out_, say)
        elif watch:
            reports.watched(Store(runs), grid, out, say)
            return
        else:
            choice_ = _choice(x, y, by)
            found = studies.gather(Store(runs), grid)
            for sentence in reports.stale(found):
                say.print(f"note: {sentence}", highlight=False, markup=False, soft_wrap=True)
            for sentence in (incomparable := reports.incomparable(found, choice_)):
                say.print(f"{'refused' if strict else 'note'}: {sentence}", highlight=False, soft_wrap=True)
            if strict and incomparable:
                raise typer.Exit(1)
            if choice_:
                content = reports.chosen(found, choice_, out, say)
            else:
                content = reports.pages(found, out, out_, say, paper=paper)
        if json_:
            write(content + "\n")


@app.command()
def score(
    samples: Annotated[Path, typer.Argument(help="Images of any model: a folder, Parquet or .npz.", metavar="SAMPLES")],
    against: Annotated[Path, typer.Option(help="What the model was trained on: a folder, Parquet, .npz, or digits.")],
    held_out: Annotated[Path | None, typer.Option(help="Images of the same kind, never trained on.")] = None,
    hold_out: Annotated[int | None, typer.Option(min=1, help="Draw so many held-out images from --against.")] = None,
    metrics: Annotated[str | None, typer.Option(help="Names with commas; default: a sweep's and aligned.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="A metric's setting: METRIC.KEY=VALUE.")] = None,
    features: Annotated[str | None, typer.Option(help="The feature space of every metric that uses one.")] = None,
    count: Annotated[int | None, typer.Option(min=1, help="Score so many of the samples; default: all.")] = None,
    group: Annotated[str | None, typer.Option(help="What is drawn together: folder, label, or a file.")] = None,
    mirrored: Annotated[bool, typer.Option("--mirrored", help="Training showed mirror images too.")] = False,
    out: Annotated[Path | None, typer.Option(help="The folder of the report; default: report/NAME.")] = None,
    runs: Annotated[Path, typer.Option("--runs", help="Where results are kept.")] = Path("scores"),
    json_: Json = False,
) -> None:
    """Measure the copies among images that came from any model, beside real images and resampled training images.

    Copies in every value, nearly so, by parts, and moved by a pixel, mirrored, toned or smoothed. Repeats among the
    training images count as one image.

    Example: difgen score generated/ --against train/ --held-out test/
    """
    with errors():
        from difgen_cli import score as scoring
        from difgen_cli.display import scores

        named = tuple(name.strip() for name in metrics.split(",")) if metrics else ()
        request = scoring.Request(
            samples, against, held_out, hold_out, named, settings(set_), features, count, group, mirrored
        )
        prepared = scoring.prepare(request, runs)
        ended = scoring.run(prepared, words())
        if ended == "interrupted":
            fail("interrupted: everything so far is kept; the same command goes on", 130)
        found = scores.gather(prepared)
        written = scores.write(found, out)
        if json_:
            write(scores.content(found, written, prepared.planned.store.tables) + "\n")
        else:
            scores.show(found, written, output(), words())
        raise typer.Exit(scoring.ENDED[ended])


@app.command()
def show(
    cell: CellWords,
    runs: Runs = Path("runs"),
    grid: Annotated[str | None, typer.Option(help="The grid that is meant; default: the newest.")] = None,
    out: Annotated[Path, typer.Option(help="The folder of the picture.")] = Path("report/cells"),
    json_: Json = False,
) -> None:
    """Show one cell: its settings, its metrics beside the references, its loss, and its samples as a picture.

    Example: difgen show data.size=64 train.steps=4000 seed=0
    """
    with errors():
        from difgen_cli import cells
        from difgen_cli import show as showing
        from difgen_cli.display import cells as displayed
        from difgen_cli.store import Store

        existing(runs)
        store = Store(runs)
        shown = showing.look(store, cells.one(store, cell, grid))
        picture = showing.picture(store, shown, out)
        if json_:
            write(displayed.content(shown, picture) + "\n")
        else:
            displayed.show(shown, picture, output())


def _jobs_per_gpu(said: str) -> int | None:
    """How many workers share one GPU; None: as many as a probe finds best."""
    from difgen_cli.grid.document import GridError

    if said == "auto":
        return None
    if not (said.isascii() and said.isdigit() and int(said) >= 1):
        raise GridError(f"--jobs-per-gpu {said}: write a whole number of at least 1, or auto")
    return int(said)


def _choice(x: str | None, y: str | None, by: str | None) -> Choice | None:
    from difgen_cli.grid.document import GridError
    from difgen_cli.report.chosen import Choice

    if not (x or y or by):
        return None
    if not (x and y):
        raise GridError("--x and --y: name both, such as --x data.size --y mem_frac")
    return Choice(x, y, by)


def _apart(asked: dict[str, Any]) -> None:
    """Options of which one alone makes sense."""
    from difgen_cli.grid.document import GridError

    given = [name for name, value in asked.items() if value]
    if len(given) > 1:
        raise GridError(f"{' and '.join(given)}: choose one of them")


def _nothing_to_do(planned: Planned, say: Console) -> None:
    from difgen_cli import sweep as sweeping

    if not (planned.folder / "plan.parquet").exists():
        sweeping.record(planned)
    failed = planned.state.counts["failed"]
    if failed:
        say.print(f"nothing to do but {failed} failed cells: difgen sweep … --retry failed", highlight=False)
        raise typer.Exit(1)
    say.print("nothing to do: every cell is done; look at it with: difgen report", highlight=False)


def _say_results(planned: Planned, say: Console) -> None:
    from difgen_cli import report as reporting
    from difgen_cli.report import studies

    for study in studies.gather(planned.store, planned.plan.grid.name, planned.folder):
        if (study.rows["state"] == "done").any():
            reporting.show(study, output())
    say.print("figures and page: difgen report " + str(planned.store.root), highlight=False, soft_wrap=True)
