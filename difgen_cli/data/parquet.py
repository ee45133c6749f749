"""Images in Parquet files as the Hugging Face `datasets` library writes them, or points."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from difgen_cli.data import DataError, Pool, decode

VERSION = 1


def load(*, path: Path, split: str | None = None) -> Pool:
    """A column `image` (struct of encoded `bytes` and `path`), and a column `label` of whole numbers if there is one.

    In place of images, points: a column `x` of lists of numbers. The names of the classes come from the schema's
    `huggingface` metadata, else they are the numbers; where every label is missing there are none. DataError names
    file and row of whatever cannot be used.

    path: a Parquet file, or a folder whose *.parquet files are read in the order of their names.
    split: of a folder, only the files whose names begin so, such as train.
    """
    found = files(path, split)
    tables = [_read(file) for file in found]
    names = {_class_names(table.schema.metadata) for table in tables}
    labelled = {_labelled(table) for table in tables}
    kinds = {"image" in table.column_names for table in tables}
    if len(names) > 1 or len(labelled) > 1 or len(kinds) > 1:
        raise DataError(f"{path}: its files differ in their labels or class names: point data.path at one data set")
    origin = [f"{file}, row {row}" for file, table in zip(found, tables, strict=True) for row in range(len(table))]
    if not origin:
        raise DataError(f"{path}: its Parquet files have no rows: at least one image is needed")
    if kinds == {True}:
        encoded = [data for file, table in zip(found, tables, strict=True) for data in _bytes(file, table)]
        images = decode(encoded, origin.__getitem__)
    else:
        images = _points([point for table in tables for point in table["x"].to_pylist()], origin)
    if labelled == {False}:
        return Pool(images)
    labels = np.concatenate([_labels(file, table) for file, table in zip(found, tables, strict=True)])
    classes = names.pop() or tuple(str(k) for k in range(int(labels.max()) + 1))
    _check_range(labels, classes, origin)
    return Pool(images, labels, classes)


def files(path: Path, split: str | None) -> list[Path]:
    """The Parquet files that are meant. DataError where there are none."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise DataError(f"{path}: there is no such file or folder: correct data.path")
    there = sorted(path.glob("*.parquet"))
    if not there:
        raise DataError(f"{path}: there is no *.parquet file in this folder: correct data.path")
    chosen = [file for file in there if file.name.startswith(split or "")]
    if not chosen:
        known = ", ".join(file.name for file in there[:5])
        raise DataError(f"{path}: no Parquet file's name begins with {split!r} (there are {known}): correct data.split")
    return chosen


def listing(path: Path, split: str | None) -> tuple[list[int], tuple[int, ...]]:
    """Rows of each file, and the shape of the first image or point; the others are not read."""
    import pyarrow.parquet as pq

    counts, shape = [], None
    for file in files(path, split):
        with _readable(file):
            columns, opened = _columns(file), pq.ParquetFile(file)
            counts.append(int(opened.metadata.num_rows))
            if shape is None and counts[-1]:
                first = next(opened.iter_batches(batch_size=1, columns=columns)).to_pylist()[0]
                shape = _shape(first, f"{file}, row 0")
    if shape is None:
        raise DataError(f"{path}: its Parquet files have no rows: at least one image is needed")
    return counts, shape


def _shape(row: dict[str, Any], name: str) -> tuple[int, ...]:
    return (len(row["x"] or ()),) if "x" in row else decode([row["image"]["bytes"] or b""], lambda _: name).shape[1:]


def _read(file: Path) -> Any:
    """The columns `image`, or else `x`, and, if there is one, `label`."""
    import pyarrow.parquet as pq

    with _readable(file):
        return pq.read_table(file, columns=_columns(file))


@contextmanager
def _readable(file: Path) -> Iterator[None]:
    """What the library says of a damaged file, as one sentence."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError) as error:
        cause = str(error).splitlines()[0]
        raise DataError(f"{file}: this Parquet file cannot be read ({cause}): replace it") from error


def _columns(file: Path) -> list[str]:
    """The columns to be read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pq.read_schema(file)
    if "image" not in schema.names:
        if "x" not in schema.names:
            raise DataError(
                f"{file}: there is no column `image`, only {', '.join(schema.names) or 'none'}: "
                "rename the column of images"
            )
        return [name for name in ("x", "label") if name in schema.names]
    kind = schema.field("image").type
    if not (pa.types.is_struct(kind) and "bytes" in {kind.field(i).name for i in range(kind.num_fields)}):
        raise DataError(
            f"{file}: the column `image` is {kind}, not a struct with encoded `bytes`: "
            "write it as a datasets.Image feature"
        )
    return [name for name in ("image", "label") if name in schema.names]


def _bytes(file: Path, table: Any) -> list[bytes]:
    import pyarrow.compute as pc

    images: list[bytes | None] = pc.struct_field(table["image"], "bytes").to_pylist()
    for row, data in enumerate(images):
        if not isinstance(data, bytes):
            raise DataError(f"{file}, row {row}: this image has no bytes: save the data set with its images embedded")
    return images  # type: ignore[return-value]


def _points(rows: Sequence[Any], origin: Sequence[str]) -> np.ndarray:
    """(n, D) float32, every value finite."""
    for place, row in zip(origin, rows, strict=True):
        plain = isinstance(row, list) and all(isinstance(value, int | float) for value in row)
        if not plain or len(row) != len(rows[0]):
            raise DataError(f"{place}: `x` is no list of as many numbers as the first row has: mend that row")
    points = np.asarray(rows, np.float32).reshape(len(rows), -1)
    finite = np.isfinite(points).all(axis=1)
    if not finite.all():
        raise DataError(f"{origin[int(np.argmin(finite))]}: `x` holds NaN or an infinite value: remove that row")
    return points


def _labelled(table: Any) -> bool:
    return "label" in table.column_names and (not len(table) or table["label"].null_count < len(table))


def _labels(file: Path, table: Any) -> np.ndarray:
    import pyarrow as pa

    column = table["label"]
    if not pa.types.is_integer(column.type):
        raise DataError(f"{file}: the column `label` is {column.type}, not whole numbers: write it as a ClassLabel")
    if column.null_count:
        row = column.is_null().to_pylist().index(True)
        raise DataError(f"{file}, row {row}: this row has no label: give every row one, or remove the column `label`")
    return np.asarray(column.to_numpy(), dtype=np.int64)


def _class_names(metadata: dict[bytes, bytes] | None) -> tuple[str, ...]:
    """The names under info.features.label.names; () where there are none."""
    try:
        info = json.loads((metadata or {})[b"huggingface"])
        return tuple(str(name) for name in info["info"]["features"]["label"]["names"])
    except (KeyError, TypeError, ValueError):
        return ()


def _check_range(labels: np.ndarray, classes: tuple[str, ...], origin: Sequence[str]) -> None:
    outside = np.nonzero((labels < 0) | (labels >= len(classes)))[0]
    if len(outside):
        row = int(outside[0])
        raise DataError(
            f"{origin[row]}: label {labels[row]} is not one of the {len(classes)} classes: "
            f"labels run from 0 to {len(classes) - 1}"
        )
