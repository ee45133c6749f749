"""What every command shares: the application, its options, its errors, and where words and data go."""

from __future__ import annotations

import errno
import io
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer
from typer.core import TyperCommand

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer(
    name="difgen",
    help="When does a diffusion model copy its training set, and when does it generalise? YAML grids become training "
    "runs, on this machine or on SLURM; their results become memorization-versus-FID curves.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

GridFile = Annotated[Path, typer.Argument(help="A grid file, such as grids/size.yaml.", metavar="GRID")]
Runs = Annotated[Path, typer.Option("--runs", help="The run directory.", envvar="DIFGEN_RUNS", metavar="FOLDER")]
RunsNamed = Annotated[Path | None, typer.Argument(help="The run directory.", metavar="RUNS")]
RunsToo = Annotated[
    Path | None, typer.Option("--runs", help="The same; default: $DIFGEN_RUNS, else runs.", metavar="FOLDER")
]
Set = Annotated[list[str] | None, typer.Option("--set", help="Replace a setting or an axis.", metavar="KEY=VALUE")]
Only = Annotated[list[str] | None, typer.Option("--only", help="Cells with this value only.", metavar="KEY=VALUE")]
GridName = Annotated[
    str | None, typer.Option("--grid", help="The grid that is meant; default: the newest.", metavar="NAME")
]
CellWords = Annotated[
    list[str],
    typer.Argument(help="An index of `plan`, the beginning of a key, or KEY=VALUE filters.", metavar="CELL"),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
State = dict[str, bool]
FLAGS: State = {"debug": False, "quiet": False}


class Command(TyperCommand):
    """A command whose help names what a person types and no types of Python: GRID, for {GRID} and <path>."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return [re.sub("[{}]", "", piece) for piece in super().collect_usage_pieces(ctx)]

    def get_help(self, ctx: Any) -> str:
        return re.sub(r"(?<= )<[\w\[\]]+>", lambda found: " " * len(found[0]), super().get_help(ctx))


command = partial(app.command, cls=Command)


def _print_version(wanted: bool) -> None:
    if wanted:
        from difgen_cli import __version__

        typer.echo(__version__)
        raise typer.Exit(0)


@app.callback()
def _common(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors and results.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    FLAGS.update(debug=debug, quiet=quiet)


@contextmanager
def errors() -> Iterator[None]:
    """Known errors as one sentence and an exit code: 2 for the grid or command, 3 for the machine, 130 interrupted."""
    try:
        yield
    except KeyboardInterrupt:
        fail("interrupted", 130)
    except (ValueError, RuntimeError) as error:
        from difgen_cli.config import PlaceError
        from difgen_cli.engine.grid.document import GridError
        from difgen_cli.engine.launch import LaunchError
        from difgen_cli.engine.plugins import PluginError
        from difgen_cli.engine.store import StoreError

        if FLAGS["debug"] or not isinstance(error, GridError | PlaceError | PluginError | StoreError | LaunchError):
            raise
        text = error.shown() if isinstance(error, GridError) else str(error)
        fail(text, 3 if isinstance(error, StoreError | LaunchError) else 2)
    except (OSError, MemoryError) as error:
        if FLAGS["debug"] or isinstance(error, BrokenPipeError):  # whoever read the output has enough of it
            raise
        fail(_of_machine(error), 3)


def _of_machine(error: OSError | MemoryError) -> str:
    """What the machine refused, as a sentence."""
    if isinstance(error, MemoryError):
        return f"out of memory ({error or 'no more to be had'}): choose less data, or another machine"
    said = error.strerror or str(error)
    if error.filename is not None:
        return f"{error.filename}: {said}"
    return f"standard output: {said}" if not _flushed() or error.errno == errno.ENOSPC else said


def _flushed() -> bool:
    """Whether all that was written has gone out; where it cannot, the rest is dropped, so that leaving says no more."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return False
    return True


def fail(text: str, code: int) -> None:
    typer.echo(text, err=True)
    raise typer.Exit(code)


def agreed(question: str) -> bool:
    """Whether a person says yes; no answer is none."""
    try:
        return typer.confirm(question, err=True)
    except typer.Abort:
        typer.echo("", err=True)
        return False


def write(text: str) -> None:
    """Standard output as it is, at once."""
    typer.echo(text, nl=False)


def words() -> Console:
    """Where words go: standard error, silent where the user wants quiet."""
    return _console(sys.stderr, quiet=FLAGS["quiet"])


def output() -> Console:
    """Where data go: standard output."""
    return _console(sys.stdout, quiet=False)


def _console(stream: TextIO | None, *, quiet: bool) -> Console:
    """Text as it is: no bracket, colon or number of a name means anything. What is piped is never cut to a width.

    Nothing goes to a stream that is closed.
    """
    from rich.console import Console

    stream = stream or io.StringIO()
    terminal = stream.isatty()
    return Console(
        file=stream, width=None if terminal else 10_000, quiet=quiet, soft_wrap=not terminal, markup=False,
        emoji=False, highlight=False,
    )  # fmt: skip


def choice(what: str, value: Any, allowed: tuple[Any, ...]) -> None:
    from difgen_cli.engine.grid.document import GridError

    if value not in allowed:
        raise GridError(f"{what} {value}: choose from {', '.join(str(a) for a in allowed if a)}")


def either(named: Path | None, runs: Path | None) -> Path:
    """The run directory, named as an argument or by --runs, else by $DIFGEN_RUNS; GridError where both name one."""
    from difgen_cli.engine.grid.document import GridError

    if named is not None and runs is not None:
        raise GridError(f"{named} and --runs {runs}: name the run directory once")
    return named or runs or Path(os.environ.get("DIFGEN_RUNS") or "runs")


def existing(runs: Path) -> Path:
    """The same folder; GridError where it is no run directory."""
    from difgen_cli.engine.grid.document import GridError

    if not (runs / "grids").is_dir():
        raise GridError(f"{runs}: no run directory; make one with: difgen sweep grids/smoke.yaml")
    return runs


def settings(texts: list[str] | None) -> dict[str, str]:
    """The values of --set by their keys; GridError for what is not written so."""
    from difgen_cli.engine.grid.document import GridError

    pairs = {}
    for text in texts or ():
        key, equals, value = text.partition("=")
        if not equals or not key.strip() or not value.strip():
            raise GridError(f"--set {text}: write KEY=VALUE, such as model.width=128")
        pairs[key.strip()] = value.strip()
    return pairs
