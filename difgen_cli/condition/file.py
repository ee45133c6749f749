"""Labels from a file of the user's: clusters found elsewhere."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np

from difgen_cli.condition import Labels, without_gaps

VERSION = 1
COLUMNS = ("index", "label")  # of tables: which image of the data set, counted from 0, and its label


def fit(given: np.ndarray, held_out_given: np.ndarray, *, path: Path | None = None) -> Labels:
    """The file's labels, numbered without gaps; held-out images have their own.

    `given` (n_rest,) and `held_out_given` (n_held_out,), int64: what `read` found, for either part.

    path: a CSV or Parquet file with the columns index and label, or a .npy array of labels; relative ones are read
        against the data root.
    """
    labels, used = without_gaps(np.concatenate([given, held_out_given]))
    return Labels(labels[: len(given)], labels[len(given) :], len(used))


def read(path: Path, images: int) -> np.ndarray:
    """The label of every image of a data set of `images`, (images,) int64. ValueError names what is wrong, and where.

    Each index from 0 to images − 1 once, in any order; labels are whole numbers of at least 0. An array has them in the
    order of the images.
    """
    readers: dict[str, Callable[[Path], tuple[np.ndarray | None, np.ndarray]]]
    readers = {".csv": _csv, ".parquet": _parquet, ".npy": _npy}
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file: give a CSV, Parquet or .npy file with a label for each image")
    if path.suffix.lower() not in readers:
        raise ValueError(f"{path}: neither CSV (*.csv), nor Parquet (*.parquet), nor an array (*.npy): convert it")
    index, labels = readers[path.suffix.lower()](path)
    if len(labels) != images:
        raise ValueError(f"{path}: {len(labels)} labels do not fit {images} images: give each image of the pool one")
    if index is not None:
        labels = _in_order(path, index, labels)
    if len(labels) and labels.min() < 0:
        image = int(labels.argmin())
        raise ValueError(f"{path}: the label of image {image} is {labels[image]}: labels are 0 or above")
    return labels


def _in_order(path: Path, index: np.ndarray, labels: np.ndarray) -> np.ndarray:
    outside = np.flatnonzero((index < 0) | (index >= len(labels)))
    if len(outside):
        last = len(labels) - 1
        raise ValueError(f"{path}: index {index[outside[0]]} is no image of the pool: they run from 0 to {last}")
    ordered, times = np.empty_like(labels), np.bincount(index, minlength=len(labels))
    if times.max(initial=1) > 1:
        twice, lacking = int(times.argmax()), int(times.argmin())
        raise ValueError(f"{path}: image {twice} has {times[twice]} labels and image {lacking} none: give each one")
    ordered[index] = labels
    return ordered


def _csv(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            rows = csv.DictReader(file, strict=True)
            if missing := [name for name in COLUMNS if name not in (rows.fieldnames or ())]:
                raise ValueError(f"{path}: there is no column {missing[0]}: begin with a line index,label")
            found = [[_whole(path, rows.line_num, name, row[name]) for name in COLUMNS] for row in rows]
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: this is no CSV text ({error}): write it again") from error
    index, labels = np.array(found, np.int64).reshape(-1, 2).T
    return index, labels


def _whole(path: Path, line: int, name: str, text: str | None) -> int:
    try:
        value = int(text or "")
    except ValueError:
        value = None
    if value is None or abs(value) >= 1 << 62:
        raise ValueError(f"{path}, line {line}: the {name} {text!r} is no whole number: mend that line")
    return value


def _parquet(path: Path) -> tuple[np.ndarray, np.ndarray]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        cause = str(error).splitlines()[0]
        raise ValueError(f"{path}: this Parquet file cannot be read ({cause}): replace it") from error
    for name in COLUMNS:
        if name not in table.column_names:
            raise ValueError(f"{path}: there is no column {name}, only {', '.join(table.column_names)}: rename it")
        if not pa.types.is_integer(table[name].type) or table[name].null_count:
            kind = f"{table[name].type} with {table[name].null_count} missing values"
            raise ValueError(f"{path}: the column {name} is {kind}, not whole numbers: convert it")
    index, labels = (np.asarray(table[name].to_numpy()).astype(np.int64) for name in COLUMNS)
    return index, labels


def _npy(path: Path) -> tuple[None, np.ndarray]:
    try:
        labels = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{path}: this is no plain array ({error}): save one with numpy.save") from error
    if not isinstance(labels, np.ndarray) or labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        what = f"{labels.dtype} of shape {labels.shape}" if isinstance(labels, np.ndarray) else "an archive"
        raise ValueError(f"{path}: this is {what}, not one row of whole numbers: save the labels alone")
    return None, labels.astype(np.int64)
