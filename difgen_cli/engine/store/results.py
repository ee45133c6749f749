"""Results: one immutable file for each metric of each cell, describing itself, and its tables beside it."""

from __future__ import annotations

import math
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from difgen_cli.engine.columns import stored
from difgen_cli.engine.store.access import ANSWERS, DamagedError, StoreError, exists, parsed, set_aside
from difgen_cli.engine.store.files import check_schema, publish, publish_json, read_json

if TYPE_CHECKING:
    from difgen_cli.engine.store import Arrays, RunFolder

SCHEMA = 1
TYPES = {"float64": pa.float64(), "int64": pa.int64(), "bool": pa.bool_(), "string": pa.string(), "str": pa.string()}


def publish_result(
    folder: RunFolder,
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
        publish(folder.result_table(key, table), partial(pq.write_table, content, write_page_checksum=True))
    plain = {name: _plain(context["metric"], name, value) for name, value in values.items()}
    publish_json(
        folder.result(key),
        {"schema": SCHEMA, **context, "columns": stored(columns), "tables": sorted(tables), "values": plain},
    )
    return plain


def _checked(path: Path) -> pa.Table:
    return pq.read_table(path, page_checksum_verification=True)


def read(folder: RunFolder, key: str, *, mend: bool = True) -> dict[str, Any] | None:
    """A result with its tables as `pieces`, or None where a file is damaged or cannot be read.

    mend: set all files of a damaged result aside, so that it is computed again.
    """
    path = folder.result(key)
    try:
        content = read_json(path)
        if not isinstance(content, dict) or "values" not in content:
            raise DamagedError(f"{path}: is damaged (no whole JSON)")
        check_schema(path, content.get("schema"), SCHEMA)
        return content | {
            "pieces": {name: parsed(folder.result_table(key, name), _checked) for name in content["tables"]}
        }
    except (*ANSWERS, DamagedError) as error:
        if not exists(path):  # removed meanwhile
            return None
        if not mend:
            print(f"{error}; the result is left out", file=sys.stderr)
        else:
            for file in folder.result_files(key):  # the values last: they say that all is there
                set_aside(file, f"{error}; `difgen sweep` computes the result again")
    except StoreError as error:
        print(f"{error}; the result is left out", file=sys.stderr)
    return None


def _plain(metric: str, name: str, value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{metric} returned {value} for {name}; a value that does not exist is None")
    return value
