"""Rows of the tables: one a cell, whatever plans name it, with every metric's newest result."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

NAMING = ("kind", "cell", "seed")
MIXED = r"(^|, )(train\.batch|data\.)"  # in what a fork changes


def clocks(plan: pa.Table) -> dict[str, Any]:
    """Images seen, epochs and steps per image, where there is a step.

    None where a fork has changed the batch or the images on the way: they are no product any more.
    """
    if "train.batch" not in plan.column_names:
        return {}
    step = plan["step"]
    if "fork.change" in plan.column_names:
        mixed = pc.match_substring_regex(plan["fork.change"], MIXED).fill_null(False)
        step = pc.if_else(mixed, pa.scalar(None, step.type), step)
    seen = pc.multiply(step, plan["train.batch"])
    size = plan["data.size"].cast(pa.float64())
    return {"images_seen": seen, "epochs": pc.divide(seen.cast(pa.float64()), size),
            "steps_per_image": pc.divide(step.cast(pa.float64()), size)}  # fmt: skip


def merged(lines: pa.Table, owners: Mapping[str, str], has_result: Mapping[str, pa.Array]) -> pa.Table:
    """Lines of several plans, oldest first, as one row for each cell of which any result is there.

    Cells whose metrics have other settings, or whose guidance without effect has another name, have a row each: they
    share their samples alone. `owners`: column -> its metric. `has_result`: metric -> whether its result is
    there, by line.
    """
    rows = [cell[::-1] for cell in _cells(lines) if any(has_result[m][at].as_py() for m in has_result for at in cell)]
    merged = {}
    for name in lines.column_names:
        metric = owners.get(name)
        if metric is None:
            merged[name] = _first_told(lines[name].combine_chunks(), rows)
        else:  # all of one result: a column of another version never stands beside it
            present = has_result[metric].to_pylist()
            at = [next((at for at in row if present[at]), None) for row in rows]
            merged[name] = lines[name].combine_chunks().take(pa.array(at, pa.int64()))
    return pa.table(merged)


def _cells(lines: pa.Table) -> list[list[int]]:
    """The lines of each cell, in the order of its first: a later one joins where it contradicts none."""
    guide_columns = [n for n in lines.column_names if n.startswith("guide.")]
    measured = [n for n in lines.column_names if n.startswith("score.")]
    identities = zip(*(lines[n].to_pylist() for n in (*NAMING, *guide_columns)), strict=True)
    settings = zip(*(lines[n].to_pylist() for n in measured), strict=True) if measured else iter([()] * len(lines))
    cells_of: dict[tuple[Any, ...], list[tuple[list[int], dict[int, Any]]]] = defaultdict(list)
    cells = []
    for at, (identity, values) in enumerate(zip(identities, settings, strict=True)):
        own = {k: value for k, value in enumerate(values) if value is not None}
        for cell, before in cells_of[identity]:
            if all(before.get(k, value) == value for k, value in own.items()):
                cell.append(at)
                before.update(own)
                break
        else:
            cells_of[identity].append(([at], own))
            cells.append(cells_of[identity][-1][0])
    return cells


def _first_told(column: pa.Array, rows: list[list[int]]) -> pa.Array:
    """For each row the first value of its lines that is not null."""
    values = column.take(pa.array([row[0] for row in rows], pa.int64()))
    for depth in range(1, max(map(len, rows), default=1)):
        further = [row[depth] if depth < len(row) else None for row in rows]
        values = pc.coalesce(values, column.take(pa.array(further, pa.int64())))
    return values
