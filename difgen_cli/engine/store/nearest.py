"""Samples beside their nearest training images, as the metric memorization left them in the tables: copies first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from difgen_cli.engine.store.access import exists
from difgen_cli.engine.store.lines import lines_of

if TYPE_CHECKING:
    import pandas as pd

    from difgen_cli.engine.store import Store

COLUMNS = ("key", "kind", "home", "cell", "seed", "d1", "d2", "nn_index", "memorized", "identical", "nearness")
ORDER = ["nearness", "d1", "seed"]  # what is not known comes last


def neighbours(store: Store, column: str, values: Sequence[str]) -> pd.DataFrame:
    """The lines of some results (column "key") or cells ("cell") with their `ratio`, d1/d2; none without the table.

    Those come first that are identical to a training image, then by `nearness`: the smaller of d1/d2 and of d1 over
    that of unseen images, so that a copy comes early whichever of the two tells it. Tables of version 2 of the metric
    have neither; there both are told from d1/d2, 1 where both distances are 0.
    """
    import pandas as pd

    path = store.tables / "neighbours.parquet"
    if not exists(path) or not values:
        return pd.DataFrame({name: [] for name in (*COLUMNS, "ratio")})
    frame = lines_of(path, column, values)
    frame["ratio"] = (frame["d1"] / frame["d2"]).where(frame["d2"] != 0, 1.0)
    same = frame["d1"] == 0
    by_ratio = frame["ratio"].where(~same, 0.0)
    complete = frame["identical"].notna() if "identical" in frame else same & False
    frame["nearness"] = frame["nearness"].where(complete, by_ratio) if complete.any() else by_ratio
    frame["identical"] = same
    return frame.sort_values(ORDER, kind="stable", ignore_index=True)
