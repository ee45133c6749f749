"""Which results each table holds, so that one that another machine has overwritten is seen.

A metric's table says which tables of their own its results have, and which results have none of a kind; each of those
tables names the results that went into it, those without a line too.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from difgen_cli.engine.store.access import ANSWERS, DamagedError, names, parsed
from difgen_cli.engine.store.files import remove


def keys_of(tables: dict[str, pa.Table]) -> set[str]:
    """Keys of the results that some metrics' tables hold."""
    return {key for table in tables.values() for key in table["key"].to_pylist()}


def files(folder: Path) -> list[Path]:
    return sorted(folder / name for name in names(folder) if name.endswith(".parquet"))


def are_whole(folder: Path, tables: dict[str, pa.Table]) -> bool:
    """Whether the tables of a folder hold the same results; where they do not, all are removed, to be made again.

    One may be damaged or lacking, or two machines have folded at the same time on a file system without locks, so that
    a result is in one table and lost in another.
    """
    own = [p for p in files(folder) if p.stem != "rows"]
    held = {p.stem: _held(p) for p in own}
    wanted: dict[str, set[str]] = defaultdict(set)
    for table in tables.values():
        about = table.schema.metadata or {}
        keys, lacking = set(table["key"].to_pylist()), json.loads(about.get(b"lacking", b"{}"))
        for name in json.loads(about.get(b"tables", b"[]")):
            wanted[name] |= keys - set(lacking.get(name, ()))
    of_metrics, folded = files(folder / "metrics"), keys_of(tables)
    same = all((held.get(n) or set()) & folded == wanted[n] for n in {*held, *wanted})
    if same and None not in held.values() and tables.keys() == {p.stem for p in of_metrics}:
        return True
    for path in [*of_metrics, *own]:  # the metrics first: what is in none of them is folded
        remove(path)
    return False


def _held(path: Path) -> set[str] | None:
    """Keys of the results that were folded into a metric's own table; None where nothing tells."""
    try:
        schema = parsed(path, pq.read_schema)
    except (*ANSWERS, DamagedError):
        return None
    keys = (schema.metadata or {}).get(b"keys")
    return None if keys is None else set(json.loads(keys))


def telling(table: pa.Table, parts: list[pa.Table], fresh: list[dict[str, Any]]) -> pa.Table:
    """A metric's table that names its results' own tables, and for each of these the results that have none."""
    before = parts[0].schema.metadata or {}
    named, keys = set(json.loads(before.get(b"tables", b"[]"))), set(table["key"].to_pylist())
    lacking = {name: set(without) for name, without in json.loads(before.get(b"lacking", b"{}")).items()}
    new = {result["key"]: set(result["pieces"]) for result in fresh}
    tables = named.union(*new.values())
    for name in tables:
        old = lacking.get(name, set()) if name in named else keys - new.keys()
        lacking[name] = (old | {key for key, own in new.items() if name not in own}) & keys
    lists = {name: sorted(without) for name, without in lacking.items() if without}
    about = {"tables": json.dumps(sorted(tables)).encode(), "lacking": json.dumps(lists).encode()}
    return table.replace_schema_metadata({"schema": before.get(b"schema", b""), **about})
