"""Lines of a table, those of some results or cells alone."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from difgen_cli.engine.store.access import parsed

if TYPE_CHECKING:
    import pandas as pd


def lines_of(path: Path, column: str, values: Iterable[str]) -> pd.DataFrame:
    """The lines whose column has one of the values; of none, no line, with the columns of the table all the same.

    Arrow refuses an empty list of values, which has no type to compare with: so it is in every sweep whose references
    were measured before its first model.
    """
    wanted = sorted(set(values))
    filters = [(column, "in", wanted)]
    read = (lambda p: pq.read_table(p, filters=filters)) if wanted else (lambda p: pq.read_schema(p).empty_table())
    lines: pd.DataFrame = parsed(path, read).to_pandas()
    return lines
