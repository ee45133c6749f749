"""The one place that decides whether numbers may be stated that take held-out images for what T could have been.

Where a classifier tells training from held-out images without any model (the metric `blind`), a low loss on the
former, or samples nearer to them, need not come from training. Metrics name such columns, of rows and of tables, in
NON_MEMBERS: they are held back from everything but rows.csv, and `reason` says why.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from difgen_cli.report.plotting import labels

if TYPE_CHECKING:
    import pandas as pd

AREA, LOWER, UPPER = "blind_auc", "blind_auc_lo", "blind_auc_hi"
MOST = 0.52  # that the lower end of the interval may be
UNLIKE = "training and held-out images differ without the model"


def reason(row: Mapping[str, Any]) -> str | None:
    """Why a row's numbers must not be stated, the end of a sentence; None where they may, or nothing is known."""
    lower = row.get(LOWER)
    if lower is None or not lower > MOST:
        return None
    value, upper = (labels.number(float(row[name])) for name in (AREA, UPPER))
    return f"{UNLIKE} (AUROC {value} [{labels.number(float(lower))}, {upper}])"


def refused(rows: pd.DataFrame) -> pd.Series:
    """Of which rows such numbers must not be stated, bool."""
    import pandas as pd

    return rows[LOWER].gt(MOST).fillna(False) if LOWER in rows else pd.Series(False, rows.index)


def strongest(rows: pd.DataFrame) -> str | None:
    """The `reason` of the row whose images differ most; None where none is refused."""
    some = rows[refused(rows)]
    return (
        None
        if some.empty
        else reason({str(name): some.at[some[LOWER].idxmax(), name] for name in (AREA, LOWER, UPPER)})
    )


def held_back(rows: pd.DataFrame, names: Iterable[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows without what must not be stated, and what was taken out: the same lines, of these columns alone.

    names: of columns, with their `_lo` and `_hi`; those that end with `_` stand for all that begin so.
    """
    columns, lines = claims(rows.columns, names), refused(rows)
    if not lines.any() or not columns:
        return rows, rows[[]]
    return rows.assign(**{c: rows[c].mask(lines) for c in columns}), rows[columns]


def claims(columns: Iterable[str], names: Iterable[str]) -> list[str]:
    """Those of the columns that the names stand for."""
    names = set(names)
    beginnings = tuple(name for name in names if name.endswith("_"))
    exact = {f"{name}{end}" for name in names for end in ("", "_lo", "_hi")}
    return [column for column in columns if column in exact or column.startswith(beginnings)]
