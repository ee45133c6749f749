"""The commands, one file each: arguments, call, print. Heavy libraries are imported by the commands that need them."""

# In the order of the help.
from difgen_cli.cli import sweep, plan, report, forecast, score, audit, claim, gate, show, status, note, logs  # noqa: F401, I001
from difgen_cli.cli import cancel, gc, grids, init, data, weights, export, explain, doctor, bench  # noqa: F401
from difgen_cli.cli.app import app


def main() -> None:
    """Entry point of the console script."""
    app()
