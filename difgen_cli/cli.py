"""The commands: parse, call, print; no logic. Heavy libraries are imported by the commands that need them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from difgen_cli.store import Store
    from difgen_cli.sweep import Planned

app = typer.Typer(
    name="difgen",
    help="When does a diffusion model copy its training set, and when does it generalise? YAML grids become training "
    "runs, on this machine or on SLURM; their results become memorization-versus-FID curves.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

GridFile = Annotated[Path, typer.Argument(help="A grid file, such as grids/size.yaml.", metavar="GRID")]
Runs = Annotated[Path, typer.Option("--runs", help="The run directory.", envvar="DIFGEN_RUNS")]
Set = Annotated[list[str] | None, typer.Option("--set", help="Replace a setting or an axis: KEY=VALUE.")]
Only = Annotated[list[str] | None, typer.Option("--only", help="Cells with this value only: KEY=VALUE.")]
CellWords = Annotated[
    list[str],
    typer.Argument(help="An index of `plan`, the beginning of a key, or KEY=VALUE filters.", metavar="CELL"),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
State = dict[str, bool]
_flags: State = {"debug": False, "quiet": False}


@app.callback()
def _common(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors and results.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
) -> None:
    _flags.update(debug=debug, quiet=quiet)
    if version:
        from difgen_cli import __version__

        typer.echo(__version__)
        raise typer.Exit(0)


def main() -> None:
    """Entry point of the console script."""
    app()


@app.command()
def sweep(
    grid: GridFile,
    runs: Runs = Path("runs"),
    cluster: Annotated[str, typer.Option(help="Where to run: auto, local, slurm or inline.")] = "auto",
    workers: Annotated[int | None, typer.Option(min=1, help="How many workers; default: one per GPU or core.")] = None,
    jobs_per_gpu: Annotated[int, typer.Option(min=1, help="Workers that share one GPU.")] = 1,
    detach: Annotated[bool, typer.Option("--detach", help="Leave the workers to it.")] = False,
    profile: Annotated[str | None, typer.Option(help="A profile of difgen.toml.")] = None,
    only: Only = None,
    retry: Annotated[str | None, typer.Option(help="`failed`: try failed units again.")] = None,
    set_: Set = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Show the plan; run nothing.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors and results.")] = False,
) -> None:
    """Run what is missing of a grid, and end with a table of results.

    Example: difgen sweep grids/size.yaml
    """
    _flags["quiet"] |= quiet
    with _errors():
        _choice("--cluster", cluster, ("auto", "local", "slurm", "inline"))
        _choice("--retry", retry, (None, "failed"))
        from difgen_cli import sweep as sweeping

        planned = sweeping.prepare(grid, runs, _pairs(set_), only or ())
        if retry:
            planned = sweeping.retry_failed(planned)
        console = _console()
        _say_plan(console, planned)
        if dry_run:
            return
        if not planned.state.work:
            _nothing_to_do(console, planned)
            return
        options = sweeping.Options(cluster, workers, jobs_per_gpu, detach, profile, anew=retry is not None)
        ended = sweeping.run(planned, options, console)
        if ended == "detached":
            return
        _say_results(console, planned)
        if ended == "interrupted":
            console.print("interrupted: everything so far is kept; the same command goes on", highlight=False)
        raise typer.Exit(sweeping.ENDED[ended])


@app.command()
def plan(grid: GridFile, runs: Runs = Path("runs"), only: Only = None, set_: Set = None, json_: Json = False) -> None:
    """Show what would run: new, done, stale and failed cells, trajectories and cost; touches nothing.

    Example: difgen plan grids/size.yaml
    """
    with _errors():
        from difgen_cli import display
        from difgen_cli import sweep as sweeping

        planned = sweeping.prepare(grid, runs, _pairs(set_), only or ())
        if json_:
            typer.echo(display.plan_json(planned))
        else:
            display.plan(planned, _console(stdout=True))


@app.command()
def status(
    runs: Annotated[Path, typer.Argument(help="The run directory.")] = Path("runs"),
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Look on until no worker is left.")] = False,
    json_: Json = False,
) -> None:
    """How submissions stand, and one line a trajectory: its state, step, images per second, time left, last metrics.

    Example: difgen status runs/ --watch
    """
    with _errors():
        from difgen_cli import display
        from difgen_cli import status as states
        from difgen_cli.store import Store

        _existing(runs)
        store = Store(runs)
        tending = states.tending(store)
        if watch:
            display.watch(lambda: states.look(store, tending), _console(stdout=True))
        elif json_:
            _write(display.status_json(states.look(store, tending)) + "\n")
        else:
            display.status(states.look(store, tending), _console(stdout=True))


@app.command()
def cancel(
    runs: Annotated[Path, typer.Argument(help="The run directory.")] = Path("runs"),
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """End the workers of a run directory; they save first, and the same sweep goes on later.

    Example: difgen cancel runs/ --yes
    """
    with _errors():
        from difgen_cli import status as states
        from difgen_cli.launch import tending
        from difgen_cli.store import Store

        _existing(runs)
        words = _console()
        alive = [s for s in states.tending(Store(runs)).look() if s.alive]
        if not alive:
            words.print("nothing to cancel: no worker is at it", highlight=False)
            return
        for standing in alive:
            words.print(f"{standing.submission.name}: {standing.words}", highlight=False, soft_wrap=True)
        if not (yes or _agreed("end them?")):
            raise typer.Exit(1)
        for line in tending.cancel(alive):
            words.print(line, highlight=False, soft_wrap=True)


@app.command()
def report(
    runs: Annotated[Path, typer.Argument(help="The run directory.")] = Path("runs"),
    grid: Annotated[str | None, typer.Option(help="One grid's name; default: every grid of the run directory.")] = None,
    out: Annotated[Path, typer.Option(help="The folder of the report.")] = Path("report"),
    json_: Json = False,
) -> None:
    """Draw the curves: figures with the numbers behind them, a table, and one HTML page.

    Example: difgen report runs/
    """
    with _errors():
        from difgen_cli import report as reporting
        from difgen_cli.report import studies
        from difgen_cli.store import Store

        _existing(runs)
        words, console = _console(), _console(stdout=True)
        found = studies.gather(Store(runs), grid)
        pages = []
        for study in found:
            written = reporting.write(study, out / study.name if len(found) > 1 else out)
            pages.append({"grid": study.name, "page": str(written.page), "figures": [str(f) for f in written.figures]})
            if not json_:
                reporting.show(study, console)
            words.print(f"report of {study.name}: {written.page}", highlight=False, soft_wrap=True)
        if json_:
            from difgen_cli import display

            typer.echo(display.as_json({"reports": pages}))


@app.command()
def data(
    name: Annotated[str | None, typer.Argument(help="A data plug-in; default: list them.")] = None,
    path: Annotated[Path | None, typer.Argument(help="A file or folder for it to check.")] = None,
) -> None:
    """List the data sets at hand, or check one.

    Example: difgen data parquet fashion_mnist/
    """
    with _errors():
        from difgen_cli import display

        display.data(name, path, _console(stdout=True))


@app.command()
def weights(
    action: Annotated[str, typer.Argument(help="list, fetch or verify.")] = "list",
    name: Annotated[str | None, typer.Argument(help="Which weights.")] = None,
    folder: Annotated[Path | None, typer.Option(help="Where to fetch to; default: $DIFGEN_WEIGHTS.")] = None,
) -> None:
    """Show, fetch or verify the files of weights that feature spaces need.

    Example: difgen weights fetch inception
    """
    with _errors():
        from difgen_cli import display

        _choice("weights", action, ("list", "fetch", "verify"))
        display.weights(action, name, folder, _console(stdout=True))


@app.command()
def logs(
    cell: CellWords,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the running attempt ends.")] = False,
    runs: Runs = Path("runs"),
    grid: Annotated[str | None, typer.Option(help="The grid that is meant; default: the newest.")] = None,
) -> None:
    """Print what the workers of a cell wrote: the newest attempts at its training and at its scoring.

    Example: difgen logs data.size=64 train.steps=4000 -f
    """
    with _errors():
        from difgen_cli import cells
        from difgen_cli import logs as logging
        from difgen_cli.store import Store

        _existing(runs)
        store = Store(runs)
        logging.show(store, cells.one(store, cell, grid), follow, _write, _tending(store))


@app.command()
def doctor(
    runs: Runs = Path("runs"),
    profile: Annotated[str | None, typer.Option(help="A profile of difgen.toml, for SLURM's limits.")] = None,
    json_: Json = False,
) -> None:
    """Show what this machine offers: versions, GPUs, SLURM, the run directory's disk, weights and profiles.

    Example: difgen doctor --runs runs/
    """
    with _errors():
        from difgen_cli import display
        from difgen_cli import doctor as examining

        found = examining.gather(runs, profile)
        if json_:
            typer.echo(display.as_json(examining.content(found)))
        else:
            examining.show(found, _console(stdout=True))
        raise typer.Exit(1 if examining.worst(found) == "bad" else 0)


@app.command()
def gc(
    runs: Annotated[Path, typer.Argument(help="The run directory.")] = Path("runs"),
    all_: Annotated[bool, typer.Option("--all", help="Also what only further training or new metrics need.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Show what would go; remove nothing.")] = False,
    json_: Json = False,
) -> None:
    """Remove what no row needs any more; says how many bytes, and asks first. Results and tables stay.

    Example: difgen gc runs/ --dry-run
    """
    with _errors():
        from difgen_cli import display
        from difgen_cli.store import Store, waste

        _existing(runs)
        store = Store(runs)
        _tending(store)()
        found = waste.find(store)
        chosen = waste.chosen(found, everything=all_)
        if not json_:
            display.waste(found, chosen, _console(stdout=True))
        wanted = bool(chosen) and not dry_run and (yes or (not json_ and _agreed("remove them?")))
        removed = waste.remove(store, chosen) if wanted else []
        if json_:
            typer.echo(display.waste_json(chosen, removed))
        elif chosen and not dry_run:
            _console().print(display.removal(removed), highlight=False)


@contextmanager
def _errors() -> Iterator[None]:
    """Known errors as one sentence and an exit code: 2 for the grid or command, 3 for the machine, 130 interrupted."""
    try:
        yield
    except KeyboardInterrupt:
        _fail("interrupted", 130)
    except (ValueError, RuntimeError) as error:
        from difgen_cli.grid.document import GridError
        from difgen_cli.launch import LaunchError
        from difgen_cli.places import PlaceError
        from difgen_cli.plugins import PluginError
        from difgen_cli.store import StoreError

        if _flags["debug"] or not isinstance(error, GridError | PlaceError | PluginError | StoreError | LaunchError):
            raise
        text = error.shown() if isinstance(error, GridError) else str(error)
        _fail(text, 3 if isinstance(error, StoreError | LaunchError) else 2)


def _agreed(question: str) -> bool:
    """Whether a person says yes; no answer is none."""
    try:
        return typer.confirm(question, err=True)
    except typer.Abort:
        typer.echo("", err=True)
        return False


def _tending(store: Store) -> Callable[[], None]:
    """A look after the submissions, as far as this person may write down what it finds."""
    from difgen_cli import status as states
    from difgen_cli.store import StoreError

    tending = states.tending(store)

    def look() -> None:
        with suppress(StoreError):
            tending.look()

    return look


def _write(text: str) -> None:
    """Standard output as it is, at once."""
    typer.echo(text, nl=False)


def _fail(text: str, code: int) -> None:
    typer.echo(text, err=True)
    raise typer.Exit(code)


def _console(*, stdout: bool = False) -> Console:
    """Words go to standard error, data to standard output; piped output is never cut to a terminal's width."""
    from rich.console import Console

    stream = sys.stdout if stdout else sys.stderr
    width = None if stream.isatty() else 10_000
    return Console(file=stream, width=width, quiet=_flags["quiet"] and not stdout, soft_wrap=not stream.isatty())


def _pairs(texts: list[str] | None) -> dict[str, str]:
    from difgen_cli.grid.document import GridError

    pairs = {}
    for text in texts or ():
        key, equals, value = text.partition("=")
        if not equals or not key.strip() or not value.strip():
            raise GridError(f"--set {text}: write KEY=VALUE, such as model.width=128")
        pairs[key.strip()] = value.strip()
    return pairs


def _choice(what: str, value: Any, allowed: tuple[Any, ...]) -> None:
    from difgen_cli.grid.document import GridError

    if value not in allowed:
        raise GridError(f"{what} {value}: choose from {', '.join(str(a) for a in allowed if a)}")


def _existing(runs: Path) -> None:
    from difgen_cli.grid.document import GridError

    if not (runs / "grids").is_dir():
        raise GridError(f"{runs}: no run directory; make one with: difgen sweep grids/smoke.yaml")


def _say_plan(console: Console, planned: Planned) -> None:
    from difgen_cli import display

    display.brief(planned, console)


def _nothing_to_do(console: Console, planned: Planned) -> None:
    from difgen_cli import sweep as sweeping

    if not (planned.folder / "plan.parquet").exists():
        sweeping.record(planned)
    failed = planned.state.counts["failed"]
    if failed:
        console.print(f"nothing to do but {failed} failed cells: difgen sweep … --retry failed", highlight=False)
        raise typer.Exit(1)
    console.print("nothing to do: every cell is done; look at it with: difgen report", highlight=False)


def _say_results(console: Console, planned: Planned) -> None:
    from difgen_cli import report as reporting
    from difgen_cli.report import studies

    for study in studies.gather(planned.store, planned.plan.grid.name, planned.folder):
        if (study.rows["state"] == "done").any():
            reporting.show(study, _console(stdout=True))
    console.print("figures and page: difgen report " + str(planned.store.root), highlight=False, soft_wrap=True)
