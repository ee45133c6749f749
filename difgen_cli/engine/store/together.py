"""Tables of several grids or results as one, whatever types their columns have."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa


def together(parts: Sequence[pa.Table]) -> pa.Table:
    """All lines of the parts, and all columns: null where a part has none.

    The type of a column without a value means nothing: a setting that one grid leaves out is written as text, and is a
    number in another. Where values themselves are of several kinds, all of them are text.
    """
    types: dict[str, set[pa.DataType]] = {}
    for part in parts:
        for field, column in zip(part.schema, part.columns, strict=True):
            if column.null_count < len(column):
                types.setdefault(field.name, set()).add(field.type)
    return pa.concat_tables([_as(part, types) for part in parts], promote_options="permissive")


def _as(part: pa.Table, types: dict[str, set[pa.DataType]]) -> pa.Table:
    """A part whose columns can stand beside those of the others."""
    for place, field in enumerate(part.schema):
        others = types.get(field.name, set())
        if field.type in others and len(others) == 1:
            continue
        if others and field.type not in others:
            part = part.set_column(place, field.with_type(pa.null()), pa.nulls(part.num_rows))
        elif not _mix(others):
            texts = pa.array([None if v is None else str(v) for v in part[place].to_pylist()], pa.string())
            part = part.set_column(place, field.with_type(pa.string()), texts)
    return part


def _mix(types: set[pa.DataType]) -> bool:
    """Whether columns of these types become one by themselves: numbers do, and so do two lengths of text."""
    numbers = all(pa.types.is_integer(t) or pa.types.is_floating(t) for t in types)
    texts = all(pa.types.is_string(t) or pa.types.is_large_string(t) for t in types)
    return numbers or texts or len(types) <= 1
