"""Images in Parquet files as the Hugging Face `datasets` library writes them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from difgen_cli.data import DataError, Pool, decode

VERSION = 1


def load(*, path: Path, split: str | None = None) -> Pool:
    """A column `image` (struct of encoded `bytes` and `path`), and a column `label` of whole numbers if there is one.

    The names of the classes come from the schema's `huggingface` metadata, else they are the numbers. DataError
    names file and row of whatever cannot be used.

    path: a Parquet file, or a folder whose *.parquet files are read in the order of their names.
    split: of a folder, only the files whose names begin so, such as train.
    """
    files = _files(path, split)
    tables = [_read(file) for file in files]
    names = {_class_names(table.schema.metadata) for table in tables}
    labelled = {"label" in table.column_names for table in tables}
    if len(names) > 1 or len(labelled) > 1:
        raise DataError(f"{path}: its files differ in their labels or class names: point data.path at one data set")
    origin = [f"{file}, row {row}" for file, table in zip(files, tables, strict=True) for row in range(len(table))]
    if not origin:
        raise DataError(f"{path}: its Parquet files have no rows: at least one image is needed")
    images = decode(
        [data for file, table in zip(files, tables, strict=True) for data in _bytes(file, table)], origin.__getitem__
    )
    if labelled == {False}:
        return Pool(images)
    labels = np.concatenate([_labels(file, table) for file, table in zip(files, tables, strict=True)])
    classes = names.pop() or tuple(str(k) for k in range(int(labels.max()) + 1))
    _check_range(labels, classes, origin)
    return Pool(images, labels, classes)


def _files(path: Path, split: str | None) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise DataError(f"{path}: there is no such file or folder: correct data.path")
    files = sorted(path.glob("*.parquet"))
    if not files:
        raise DataError(f"{path}: there is no *.parquet file in this folder: correct data.path")
    chosen = [file for file in files if file.name.startswith(split or "")]
    if not chosen:
        there = ", ".join(file.name for file in files[:5])
        raise DataError(f"{path}: no Parquet file's name begins with {split!r} (there are {there}): correct data.split")
    return chosen


def _read(file: Path) -> Any:
    """The columns `image` and, if there is one, `label`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(file)
        if "image" not in schema.names:
            raise DataError(
                f"{file}: there is no column `image`, only {', '.join(schema.names) or 'none'}: "
                "rename the column of images"
            )
        kind = schema.field("image").type
        if not (pa.types.is_struct(kind) and "bytes" in {kind.field(i).name for i in range(kind.num_fields)}):
            raise DataError(
                f"{file}: the column `image` is {kind}, not a struct with encoded `bytes`: "
                "write it as a datasets.Image feature"
            )
        return pq.read_table(file, columns=[name for name in ("image", "label") if name in schema.names])
    except (pa.ArrowException, OSError) as error:
        cause = str(error).splitlines()[0]
        raise DataError(f"{file}: this Parquet file cannot be read ({cause}): replace it") from error


def _bytes(file: Path, table: Any) -> list[bytes]:
    import pyarrow.compute as pc

    images: list[bytes | None] = pc.struct_field(table["image"], "bytes").to_pylist()
    for row, data in enumerate(images):
        if not isinstance(data, bytes):
            raise DataError(f"{file}, row {row}: this image has no bytes: save the data set with its images embedded")
    return images  # type: ignore[return-value]


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
