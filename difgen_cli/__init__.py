"""difgen: when does a diffusion model copy its training set, and when does it generalise?"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from difgen_cli.notebook import Runs

__version__ = "0.2.0"


def open(runs: str = "runs") -> "Runs":
    """A run directory in a notebook: see `difgen_cli.notebook`. GridError (a ValueError) where the folder is none."""
    from difgen_cli.notebook import Runs

    return Runs(runs)
