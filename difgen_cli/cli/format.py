"""Where output goes: messages to standard error, results to standard output, as text or as JSON."""

from __future__ import annotations

import io
import json
import math
import sys
from typing import TYPE_CHECKING, Any, TextIO

import typer

from difgen_cli.cli.app import FLAGS

if TYPE_CHECKING:
    from rich.console import Console

SCHEMA = 1


def write(text: str) -> None:
    """Write text to standard output unchanged, at once."""
    typer.echo(text, nl=False)


def messages() -> Console:
    """The console for messages: standard error, silent with --quiet."""
    return _console(sys.stderr, quiet=FLAGS["quiet"])


def output() -> Console:
    """The console for results: standard output."""
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


def print_json(content: dict[str, Any]) -> None:
    """Print JSON with a schema version; a number that is NaN or infinite is null, since JSON has neither."""
    write(json.dumps(_without_nan({"schema": SCHEMA, **content}), indent=1, default=str, allow_nan=False) + "\n")


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nan(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
