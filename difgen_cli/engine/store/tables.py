"""The tables that people read: folded from the write-once results, only what is new, and rebuildable at any time.

tables/metrics/<metric>.parquet   one line per result, as its metric declares it
tables/noise.parquet …            the metrics' own tables, with the cell that each line belongs to
tables/rows.parquet               one line per cell of any grid, all its metrics side by side
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from difgen_cli.engine.store import Store, results, untrusted
from difgen_cli.engine.store.access import ANSWERS, DamagedError, NotWritableError, parsed, status
from difgen_cli.engine.store.files import locked, replace
from difgen_cli.engine.store.results import TYPES
from difgen_cli.engine.store.rows import clocks, merged
from difgen_cli.engine.store.table_contents import are_whole, files, keys_of, telling
from difgen_cli.engine.store.together import together
from difgen_cli.engine.store.untrusted import Distrusted

SCHEMA = b"1"
CONTEXT = {"key": pa.string(), "kind": pa.string(), "home": pa.string(), "step": pa.int64(), "cell": pa.string()}
PROVENANCE = {
    "git_commit": pa.string(), "git_dirty": pa.bool_(), "difgen": pa.string(), "torch": pa.string(),
    "device": pa.string(), "train_device": pa.string(), "train_seconds": pa.float64(),
    "images_per_second": pa.float64(), "roofline": pa.float64(), "mfu": pa.float64(),
    "peak_memory_bytes": pa.int64(), "finished_at": pa.string(), "nfe": pa.float64(), "nfe_area": pa.float64(),
    "sampling_seconds": pa.float64(), "threads": pa.int64(), "train_way": pa.string(), "sample_way": pa.string(),
    "frozen_parameters": pa.int64(), "grad_norm": pa.float64(), "weight_path": pa.float64(),
}  # fmt: skip
UNITS = {
    "train_seconds": "s", "images_per_second": "images/s", "peak_memory_bytes": "bytes", "images_seen": "images",
    "roofline": "share", "mfu": "share", "epochs": "epochs", "steps_per_image": "steps/image", "step": "steps",
    "nfe": "evaluations/sample", "nfe_area": "whole images/sample", "sampling_seconds": "s", "threads": "threads",
    "train_way": "", "sample_way": "", "frozen_parameters": "parameters", "stale": "",
    "grad_norm": "loss/weight", "weight_path": "weight",
}  # fmt: skip

MEANINGS = {
    "images_per_second": "training images a second, without the first two steps, which warm up",
    "roofline": "the same as a share of what the device's measured arithmetic and memory allow this network",
    "mfu": "share of the device's measured matrix rate that does the network's arithmetic (model FLOPs utilisation)",
    "nfe": "evaluations of networks that a sample took: its own, and those that guidance steers away from",
    "nfe_area": "the same, a crop counted as its share of the image's pixels",
    "sampling_seconds": "how long drawing the samples took, to whoever drew them",
    "threads": "of the process that scored",
    "train_way": "how training was computed: eager (as it is written), compiled, or graphed (a replayed CUDA graph)",
    "sample_way": "how the network was computed that drew the samples: eager, compiled or graphed",
    "frozen_parameters": "parameters that no loss has trained: without a gradient in ten steps after the first two; "
    "null where that was not known yet",
    "grad_norm": "Euclidean norm of the gradient of the last step before the snapshot, clipped where training clips",
    "weight_path": "Euclidean lengths of all steps of the network's raw weights, added up from the first one on; "
    "null where an older version made some of them",
    "stale": "whether the weights are of difgen 0.1.0, compiled and not checked, or rest on such weights",
}


# Folding -------------------------------------------------------------------------------------------------------------


def fold(store: Store) -> pa.Table:
    """Bring the tables up to date and return the rows: reads only results that are not folded yet.

    The metrics' tables are written last of what a result goes into: whoever is killed before folds it again. A store
    that may only be read is only read from here on.
    """
    if not store.reads_only:
        try:
            with locked(store.tables / ".lock"):
                return _fold(store)
        except NotWritableError:
            store.only_read()
    return _fold(store)


def _fold(store: Store) -> pa.Table:
    folder_of = {key: folder for folder in store.run_folders() for key in folder.results()}
    tables = metrics(store)
    if not are_whole(store.tables, tables):
        tables = {}
    folded = keys_of(tables)
    unread = sorted(folder_of.keys() - folded)
    read_now = (results.read(folder_of[key], key, mend=not store.reads_only) for key in unread)
    fresh = [result for result in read_now if result is not None]
    gone = folded - folder_of.keys()
    if fresh or gone:
        _fold_tables(store, fresh, gone)
        _fold_metrics(store, tables, fresh, gone)
    path = store.tables / "rows.parquet"
    rows = None if fresh or gone else _read(path)
    plans = [f / "plan.parquet" for f in store.grids()]
    doubt = untrusted.find(store)
    stamp = _stamp(plans, doubt, keys_of(tables))
    if rows is None or (rows.schema.metadata or {}).get(b"plans") != stamp:
        rows = _rows(plans, tables, doubt, stamp)
        _keep(path, rows)
    return rows


def _stamp(plans: Iterable[Path], doubt: Distrusted, folded: set[str]) -> bytes:
    """What rows are made of."""
    changed = [[path.parent.name, about.st_mtime_ns] for path in plans if (about := status(path))]
    digest = hashlib.sha256(",".join(sorted(folded)).encode()).hexdigest()
    return json.dumps([changed, sorted(doubt.folders), "ways", digest]).encode()


def metrics(store: Store) -> dict[str, pa.Table]:
    """The folded results by metric."""
    return {p.stem: t for p in files(store.tables / "metrics") if (t := _read(p)) is not None}


def _read(path: Path) -> pa.Table | None:
    """A table, or None where it is missing or damaged: it will be made again."""
    try:
        return parsed(path, pq.read_table)
    except ANSWERS:
        return None
    except DamagedError as error:
        print(f"{error}; made again from the results", file=sys.stderr)
        return None


def _fold_metrics(store: Store, tables: dict[str, pa.Table], fresh: list[dict[str, Any]], gone: set[str]) -> None:
    by_metric: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for result in fresh:
        by_metric[result["metric"]].append(result)
    for metric in {*by_metric, *tables}:
        parts = [tables[metric]] if metric in tables else []
        parts += [_metric_table(by_metric[metric])] if metric in by_metric else []
        table = _without(together(parts), "key", gone)
        if metric in by_metric or table.num_rows != tables[metric].num_rows:
            tables[metric] = telling(table, parts, by_metric[metric])
            _keep(store.tables / "metrics" / f"{metric}.parquet", tables[metric])


def _keep(path: Path, table: pa.Table) -> None:
    replace(path, lambda p: pq.write_table(table, p))


def _metric_table(records: list[dict[str, Any]]) -> pa.Table:
    """Results of one metric as a table, typed as declared, with unit and meaning of each column."""
    declared = records[-1]["columns"]
    fields = [pa.field(n, t) for n, t in CONTEXT.items()] + [pa.field("seconds", pa.float64())]
    fields += [pa.field(n, t) for n, t in PROVENANCE.items()]
    arrays = [pa.array([r.get(f.name) for r in records], f.type) for f in fields[: len(CONTEXT) + 1]]
    arrays += [pa.array([r["provenance"].get(n) for r in records], t) for n, t in PROVENANCE.items()]
    for name, (kind, unit, meaning) in declared.items():
        fields.append(pa.field(name, TYPES[kind], metadata={"unit": unit, "meaning": meaning}))
        arrays.append(pa.array([r["values"].get(name) for r in records], TYPES[kind]))
    return pa.table(arrays, schema=pa.schema(fields, metadata={"schema": SCHEMA}))


def _fold_tables(store: Store, fresh: list[dict[str, Any]], gone: set[str]) -> None:
    """Bring the results' own tables up to date; each names the results that it holds, those without a line too."""
    pieces: dict[str, list[pa.Table]] = defaultdict(list)
    held: dict[str, set[str]] = defaultdict(set)
    for result in fresh:
        for name, piece in result["pieces"].items():
            context = {n: pa.array([result.get(n)] * piece.num_rows, t) for n, t in CONTEXT.items()}
            pieces[name].append(pa.table({**context, **{n: piece[n] for n in piece.column_names}}))
            held[name].add(result["key"])
    again = gone | {result["key"] for result in fresh}
    for path in files(store.tables):
        if path.stem != "rows" and (pieces.get(path.stem) or gone) and (old := _read(path)) is not None:
            pieces[path.stem].insert(0, _without(old, "key", again))
            held[path.stem] |= set(json.loads((old.schema.metadata or {}).get(b"keys", b"[]"))) - again
    for name, parts in pieces.items():
        whole = together(parts)
        about = {"schema": SCHEMA, "keys": json.dumps(sorted(held[name]))}
        _keep(store.tables / f"{name}.parquet", whole.replace_schema_metadata(about))


def _without(table: pa.Table, column: str, values: set[str]) -> pa.Table:
    return table.filter(pc.invert(pc.is_in(table[column], pa.array(sorted(values), pa.string())))) if values else table


# Rows ----------------------------------------------------------------------------------------------------------------


def joined(plan: pa.Table, metrics: dict[str, pa.Table], doubt: Distrusted) -> pa.Table:
    """A plan's lines with their results beside them; what is missing is null. `results` counts what is there, and
    `stale` says where it does not count.
    """
    columns = {n: plan[n] for n in plan.column_names}
    counts = []
    for metric in (n[7:] for n in plan.column_names if n.startswith("result.")):
        table = metrics.get(metric)
        if table is None:
            continue
        at = pc.index_in(plan[f"result.{metric}"], value_set=table["key"].combine_chunks())
        at = pc.if_else(pc.is_null(plan[f"result.{metric}"]), pa.scalar(None, pa.int32()), at).combine_chunks()
        counts.append(pc.is_valid(at).cast(pa.int32()))
        lines = table.take(at)
        for name in (n for n in table.column_names if n not in CONTEXT):
            if name in PROVENANCE and name in columns:
                columns[name] = pc.coalesce(columns[name], lines[name])
            else:
                columns[_column(metric, name)] = lines[name]
    columns["results"] = _sum(counts, plan.num_rows)
    trajectories, keys = (
        plan["home"].to_pylist(),
        [plan[n].to_pylist() for n in plan.column_names if n.startswith("result.")],
    )
    columns["stale"] = pa.array(doubt.lines(trajectories, keys), pa.bool_())
    ways = pa.array([doubt.ways.get(key) for key in trajectories], pa.string())  # which rows of 0.1.0 do not say
    columns["train_way"] = pc.coalesce(columns["train_way"], ways) if "train_way" in columns else ways
    columns |= clocks(plan)
    return pa.table(columns)


def _sum(counts: list[pa.Array], rows: int) -> pa.Array:
    total = pa.array([0] * rows, pa.int32())
    for count in counts:
        total = pc.add(total, count)
    return total


def _rows(plans: Iterable[Path], metrics: dict[str, pa.Table], doubt: Distrusted, stamp: bytes) -> pa.Table:
    """The rows of all grids, each once: those of which any result is there."""
    parts = []
    for path in plans:
        plan = _read(path)
        if plan is not None:
            table = joined(plan, metrics, doubt)
            parts.append(table.drop_columns([n for n in table.column_names if n.startswith("axis.") or n == "index"]))
    about = {"schema": SCHEMA, "plans": stamp}
    if not parts:
        return pa.table({"cell": pa.array([], pa.string())}).replace_schema_metadata(about)
    whole = together(parts)
    keys = [n for n in whole.column_names if n.startswith("result.")]
    named = {n[7:]: n for n in keys if n[7:] in metrics}
    has_result = {m: pc.is_in(whole[n], value_set=metrics[m]["key"].combine_chunks()) for m, n in named.items()}
    owners = {_column(m, n): m for m in has_result for n in metrics[m].column_names if n not in CONTEXT | PROVENANCE}
    whole = merged(whole.drop_columns([*keys, "results"]), owners, has_result)
    return _described(whole, metrics).replace_schema_metadata(about)


def _column(metric: str, name: str) -> str:
    """What a metric's column is called beside those of others."""
    return f"{metric}_seconds" if name == "seconds" else name


def _described(table: pa.Table, metrics: dict[str, pa.Table]) -> pa.Table:
    """The table with unit and meaning in the metadata of its columns."""
    metadata = {f.name: f.metadata for t in metrics.values() for f in t.schema if f.metadata}
    metadata |= {n: {b"unit": u.encode(), b"meaning": MEANINGS.get(n, "").encode()} for n, u in UNITS.items()}
    fields = [f.with_metadata(metadata[f.name]) if f.name in metadata else f for f in table.schema]
    return pa.table(table.columns, schema=pa.schema(fields))


def read_rows(store: Store) -> pa.Table | None:
    """The rows as they were last folded; None where there are none."""
    return _read(store.tables / "rows.parquet")


def planned(store: Store) -> dict[tuple[str, str], set[str]]:
    """(identity of a cell, metric) -> keys of the results that are there, whichever code a plan was made by."""
    keys_of_metric: dict[tuple[str, str], set[str]] = defaultdict(set)
    folded = metrics(store)
    plans = (_read(folder / "plan.parquet") for folder in store.grids())
    for plan in (plan for plan in plans if plan is not None):
        for metric in folded:
            if {"identity", f"result.{metric}"} <= set(plan.column_names):
                keys = plan[f"result.{metric}"]
                present = pc.is_in(keys, value_set=folded[metric]["key"].combine_chunks())
                pairs = zip(plan["identity"].filter(present).to_pylist(), keys.filter(present).to_pylist(), strict=True)
                for identity, key in pairs:
                    keys_of_metric[identity, metric].add(key)
    return keys_of_metric
