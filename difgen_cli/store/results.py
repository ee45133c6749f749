"""Results: one immutable file for each metric of each cell, describing itself, and its tables beside it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from difgen_cli.store.files import publish, publish_json

if TYPE_CHECKING:
    from difgen_cli.store import Arrays, Home

SCHEMA = 1
TYPES = {"float64": pa.float64(), "int64": pa.int64(), "bool": pa.bool_(), "string": pa.string(), "str": pa.string()}


def publish_result(
    home: Home,
    key: str,
    context: dict[str, Any],
    values: dict[str, Any],
    tables: dict[str, Arrays],
    declared: dict[str, Any],
) -> dict[str, Any]:
    """Write a metric's tables, then its values, which are returned: the JSON file says that all of it is there.

    Raises ValueError where values are NaN or are not the declared columns.
    """
    columns = declared.get("COLUMNS", {})
    if set(values) != set(columns):
        odd = ", ".join(sorted(set(values) ^ set(columns)))
        raise ValueError(f"{context['metric']} returned other columns than it declares: {odd}")
    for table, arrays in tables.items():
        shape = declared.get("TABLES", {})[table]
        content = pa.table({c: pa.array(arrays[c], TYPES[shape[c][0]]) for c in shape})
        publish(home.result_table(key, table), lambda p, content=content: pq.write_table(content, p))  # type: ignore[misc]
    plain = {name: _plain(context["metric"], name, value) for name, value in values.items()}
    publish_json(
        home.result(key),
        {"schema": SCHEMA, **context, "columns": columns, "tables": sorted(tables), "values": plain},
    )
    return plain


def _plain(metric: str, name: str, value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{metric} returned {value} for {name}; a value that does not exist is None")
    return value
