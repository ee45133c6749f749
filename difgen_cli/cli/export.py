"""`difgen export`: the rows of a run directory as one file, without a report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from difgen_cli.cli.app import command, errors
from difgen_cli.cli.format import messages
from difgen_cli.cli.options import EveryGrid, Only, Runs
from difgen_cli.format import counted

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = (".csv", ".parquet")


@command()
def export(
    file: Annotated[Path, typer.Argument(help="What to write: .csv or .parquet.", metavar="FILE")],
    runs: Runs = Path("runs"),
    grid: EveryGrid = None,
    only: Only = None,
) -> None:
    """Write one line for each cell and reference: its settings, its state, and every metric with its interval.

    Example: difgen export rows.csv --only data.size=64
    """
    with errors():
        from difgen_cli import notebook
        from difgen_cli.engine.grid.document import GridError
        from difgen_cli.engine.store.files import replace
        from difgen_cli.report import spreadsheet

        if file.suffix not in SUFFIXES:
            raise GridError(f"export: {file} must end with {' or '.join(SUFFIXES)}")
        rows = notebook.Runs(runs).rows(*only or (), grid=grid)
        write = spreadsheet.write if file.suffix == ".csv" else _parquet
        replace(file, lambda path: write(rows, path))
        messages().print(f"{file}: {counted(len(rows), 'row')}", soft_wrap=True)


def _parquet(rows: pd.DataFrame, path: Path) -> None:
    """Texts as texts: a column of mixed values, such as a setting that is a list in some cells, in words."""
    mixed = [name for name in rows if rows[name].dtype == object]
    rows.astype(dict.fromkeys(mixed, "str")).to_parquet(path, index=False)
