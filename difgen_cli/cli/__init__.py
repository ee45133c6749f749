"""The commands: parse, call, print; no logic. Heavy libraries are imported by the commands that need them."""

from difgen_cli.cli import study, results, running, machine  # noqa: F401, I001  (in the order of the help)
from difgen_cli.cli.common import app


def main() -> None:
    """Entry point of the console script."""
    app()
