"""What a copy costs: the number of the first sample that is one, and how many samples there are to each.

Samples have one order whatever their number, so that the first copy of a cell stays the first when more are drawn. It
is a reading of the tables that the metrics memorization and aligned have left: no result is computed again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq

from difgen_cli.engine.columns import ColumnSpec
from difgen_cli.engine.store.access import exists, parsed
from difgen_cli.report.study.seeds import Z2, wilson

if TYPE_CHECKING:
    import pandas as pd

    from difgen_cli.engine.store import Store

FIRST, EVERY, CHANGED = "first_copy", "copy_every", "first_changed_copy"
MEANINGS = {
    FIRST: "number of the first sample that is a copy by the ratio rule, or identical to a training image, from 1",
    EVERY: "samples to one such copy, on average",
    f"{EVERY}_lo": "lower end of its 95 % interval; without any copy the lower bound, a third of the samples",
    f"{EVERY}_hi": "upper end of its 95 % interval",
    CHANGED: "number of the first sample that is a copy by the metric aligned alone",
}
COLUMNS = {name: ColumnSpec("samples", meaning, role="count") for name, meaning in MEANINGS.items()}
PLAIN = ("none", "plain")  # in the table `aligned`: no copy, or one that the plain rule has
ALPHA = 0.05

Filters = list[list[tuple[str, str, Any]]]
TABLES: dict[str, tuple[str, Filters]] = {  # metric -> its table, and which lines are copies
    "memorization": ("neighbours", [[("memorized", "==", True)], [("d1", "==", 0.0)]]),
    "aligned": ("aligned", [[("how", "not in", list(PLAIN))]]),
}


def added(store: Store, rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with these columns for models whose copies were looked for; as they are where there is none."""
    done = (rows["kind"] == "model") & (rows["state"] == "done")
    if "result.memorization" not in rows or "sample.count" not in rows:
        return rows
    measured = done & rows["result.memorization"].notna()
    if not measured.any():
        return rows
    copies, changed = (_copies(store, rows[measured], metric) for metric in TABLES)
    n = rows["sample.count"].where(measured).to_numpy(float)
    count = copies.groupby("row").size().reindex(rows.index).to_numpy(float)
    count = np.where(measured, np.nan_to_num(count), np.nan)
    grouped = rows["sample.groups"].notna() if "sample.groups" in rows else measured & False
    every = _every(count, np.where(grouped, np.nan, n), n)
    first, first_changed = (
        part.groupby("row")["seed"].min().reindex(rows.index).to_numpy(float) + 1 for part in (copies, changed)
    )
    return rows.assign(**dict(zip(COLUMNS, (first, *every, first_changed), strict=True)))


def _every(count: np.ndarray, apart: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Samples to a copy, and the ends: one over Wilson's for the share; without copies 1/(1 − .05^(1/n)), about n/3.

    count: copies among n. apart: n where samples are independent; NaN elsewhere, where there is no interval.
    """
    with np.errstate(divide="ignore"):
        lower, upper = wilson(count / n, Z2 / apart)
        none_yet = 1 / -np.expm1(np.log(ALPHA) / apart)
        return (
            np.where(count > 0, n / count, np.nan),
            np.where(count > 0, 1 / upper, np.where(count == 0, none_yet, np.nan)),
            np.where(count > 0, 1 / lower, np.nan),
        )


def _copies(store: Store, rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The copies that a metric has in these rows: `row`, its index, and `seed`, the sample's number."""
    import pandas as pd

    (table, wanted), key = TABLES[metric], f"result.{metric}"
    path = store.tables / f"{table}.parquet"
    if key not in rows or not exists(path):
        return pd.DataFrame({"row": np.zeros(0, int), "seed": np.zeros(0, int)})
    lines = parsed(path, lambda p: pq.read_table(p, columns=["key", "seed"], filters=wanted)).to_pandas()
    own = rows[[key]].rename(columns={key: "key"}).dropna()
    return own.rename_axis("row").reset_index().merge(lines, on="key")[["row", "seed"]]
