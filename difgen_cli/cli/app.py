"""The application: the options of every command, its errors with their exit codes, and a question to a person."""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

app = typer.Typer(
    name="difgen",
    help="When does a diffusion model copy its training set, and when does it generalise? YAML grids become training "
    "runs, on this machine or on SLURM; their results become memorization-versus-FID curves.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
FLAGS = {"debug": False, "quiet": False}


class Command(TyperCommand):
    """A command whose help names what a person types and no types of Python: GRID, for {GRID} and <path>."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return [re.sub("[{}]", "", piece) for piece in super().collect_usage_pieces(ctx)]

    def get_help(self, ctx: Any) -> str:
        return re.sub(r"(?<= )<[\w\[\]]+>", lambda match: " " * len(match[0]), super().get_help(ctx))

    def get_short_help_str(self, limit: int = 0) -> str:
        """The whole summary: on a narrow terminal it is wrapped, not cut."""
        return super().get_short_help_str(limit=1000)


command = partial(app.command, cls=Command)


def _print_version(wanted: bool) -> None:
    if wanted:
        from difgen_cli import __version__

        typer.echo(__version__)
        raise typer.Exit(0)


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only errors and results.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    FLAGS.update(debug=debug, quiet=quiet)


@contextmanager
def errors() -> Iterator[None]:
    """Print known errors as one sentence; exit code 2 for the grid or command, 3 for the machine, 130 interrupted."""
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
        if FLAGS["debug"] or isinstance(error, BrokenPipeError):  # the reader of the pipe has closed it
            raise
        fail(_of_machine(error), 3)


def _of_machine(error: OSError | MemoryError) -> str:
    """What the machine refused, as a sentence."""
    if isinstance(error, MemoryError):
        return f"out of memory{f' ({error})' if str(error) else ''}: choose less data, or a machine with more memory"
    reason = error.strerror or str(error)
    if error.filename is not None:
        return f"{error.filename}: {reason}"
    return f"standard output: {reason}" if not _flushed() or error.errno == errno.ENOSPC else reason


def _flushed() -> bool:
    """Whether standard output could be flushed; where not, the rest is dropped, so that Python's exit does not fail."""
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


def confirmed(question: str) -> bool:
    """Whether a person answers yes; no answer counts as no."""
    try:
        return typer.confirm(question, err=True)
    except typer.Abort:
        typer.echo("", err=True)
        return False
