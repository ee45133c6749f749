"""The claims of an audit: of each set of images what the tests say whether it was used, corrected for their number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq

from difgen_cli.engine.store import Store
from difgen_cli.engine.store.access import exists, parsed

if TYPE_CHECKING:
    import pandas as pd

METRIC, TABLE = "claim", "claims"


def read(store: Store, row: Mapping[str, Any]) -> pd.DataFrame | None:
    """One line a claim of a row, in the order in which they were asked, with `claim_p_holm`; None where none were."""
    path, key = store.tables / f"{TABLE}.parquet", row.get(f"result.{METRIC}")
    if not isinstance(key, str) or not exists(path):
        return None
    frame: pd.DataFrame = parsed(path, lambda p: pq.read_table(p, filters=[("key", "==", key)])).to_pandas()
    if frame.empty:
        return None
    frame = frame.drop(columns=["key", "kind", "home", "step", "cell"])
    frame = frame.sort_values("claim", kind="stable", ignore_index=True)
    return frame.assign(claim_p_holm=holm(frame["claim_p"].to_numpy(float)))


def holm(p: np.ndarray) -> np.ndarray:
    """p-values (n,) of one family corrected after Holm (1979), in the same order; NaN is no test, and not counted."""
    corrected = np.full(len(p), np.nan)
    places = np.flatnonzero(~np.isnan(p))
    order = places[np.argsort(p[places], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(factors * p[order]))
    return corrected
