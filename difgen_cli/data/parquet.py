"""Images in Parquet files as the Hugging Face `datasets` library writes them, or points."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Gt

from difgen_cli.data import DataError, LabelError, Pool
from difgen_cli.data._columns import Columns, columns
from difgen_cli.data._decoding import POINTER, Conversion, decode, notes, suffixes
from difgen_cli.data._labels import numbered
from difgen_cli.data._splits import chosen, incomplete, of_file, refuse
from difgen_cli.data._tree import Tree, look

VERSION = 3
SUFFIX = ".parquet"


def load(
    *,
    path: Path,
    split: str | None = None,
    image: str | None = None,
    label: str | None = None,
    mode: Literal["rgb", "grey"] | None = None,
    resize: Annotated[int, Gt(0)] | None = None,
    resize_filter: Literal["nearest", "box", "bilinear", "bicubic", "lanczos"] = "bicubic",
) -> Pool:
    """A column of encoded images (bytes, or a struct with `bytes`), and a column of labels if there is one.

    In place of images, points: a column `x` of lists of numbers. Labels are whole numbers, words or categories; the
    names of the classes come from the schema's `huggingface` metadata, else they are the labels; where every label is
    missing (null, −1) there are none. Images are turned upright as their EXIF says, and opaque alpha is dropped. The
    pool's notes name what is passed over. DataError names file and row of whatever cannot be used; LabelError where
    labels alone cannot be.

    path: a Parquet file, or a folder whose *.parquet files are read in the order of their names; where it holds none,
        those in its sub-folders, as in a repository of the Hugging Face hub.
    split: of a folder with several, the one to read, such as train; train+test for both.
    image: the column of images, or of points; null takes `image`, the only column of images, or `x`.
    label: the column of labels; null takes `label`.
    mode: convert every image to rgb or grey; null takes them as they are, all of one mode.
    resize: bring every image to a square of so many pixels a side; null takes them as they are, all of one size.
    resize_filter: how: Pillow's filters, antialiased where images shrink.
    """
    listed = find(path, split)
    read = [(file, *_read(file, image, label)) for file in listed.files]
    if len({(columns.names, columns.label is None, columns.points) for _, columns, _ in read}) > 1:
        raise DataError(f"{path}: its files differ in their labels or class names: point data.path at one data set")
    origin = [f"{file}, row {row}" for file, _, table in read for row in range(len(table))]
    if not origin:
        raise DataError(f"{path}: its Parquet files have no rows: at least one image is needed")
    columns, seen = read[0][1], Counter[str]()
    if columns.points:
        images = _points([point for _, _, table in read for point in table[columns.image].to_pylist()], origin)
    else:
        encoded = [data for file, each, table in read for data in _bytes(file, table[each.image])]
        images = decode(encoded, len(encoded), origin.__getitem__, Conversion(mode, resize, resize_filter), seen)
    remarks = (*listed.others, *columns.notes, *notes(seen))
    if columns.label is None:
        return Pool(images, notes=remarks)
    values = [value for _, each, table in read for value in table[each.label].to_pylist()]
    try:
        labels, classes = numbered(values, columns.names, origin.__getitem__)
    except LabelError as error:
        raise LabelError(str(error), Pool(images, notes=remarks)) from None
    return Pool(images, labels, classes, notes=remarks)


@dataclass(frozen=True)
class ParquetFiles:
    """The Parquet files that are meant, and what was passed over, in words."""

    files: list[Path]
    others: tuple[str, ...] = ()


def find(path: Path, split: str | None, before: str = "data.split: ") -> ParquetFiles:
    """The Parquet files that are meant. DataError where there are none, or several splits and none is named.

    before: what a message writes before the name of a split.
    """
    if path.is_file():
        return ParquetFiles([path])
    if not path.is_dir():
        raise DataError(f"{path}: there is no such file or folder: correct data.path{_named(path)}")
    tree = look(path)
    tables = _there(tree)
    if not tables:
        raise DataError(f"{path}: there is no *.parquet file in this folder{_beside(tree)}: correct data.path")
    if split is None:
        refuse(path, map(of_file, tables), before)
    meant = tables if split is None else chosen(tables, split)
    if not meant:
        some = ", ".join(tables[:5])
        raise DataError(f"{path}: no Parquet file's name begins with {split!r} (there are {some}): correct data.split")
    return ParquetFiles([path / name for name in meant], (*tree.passed_over(tables), *incomplete(meant)))


def near(folder: Path) -> list[tuple[str, str]]:
    """The split and the name of each Parquet file in a folder, or in the folders in it."""
    tables = [name for name in look(folder, 2).files if name.lower().endswith(SUFFIX)] if folder.is_dir() else []
    return [(of_file(name), PurePosixPath(name).name) for name in tables]


def listing(
    path: Path, split: str | None = None, image: str | None = None, conversion: Conversion | None = None
) -> tuple[list[int], tuple[int, ...]]:
    """Rows of each file, and the shape of the first image, converted, or point; the others are not read."""
    import pyarrow.parquet as pq

    counts, shape = [], None
    for file in find(path, split).files:
        with _readable(file):
            chosen, opened = columns(file, image, None), pq.ParquetFile(file)
            counts.append(int(opened.metadata.num_rows))
            if shape is None and counts[-1]:
                first = next(opened.iter_batches(batch_size=1, columns=[chosen.image])).column(0)
                shape = _shape(file, first, chosen, conversion or Conversion())
    if shape is None:
        raise DataError(f"{path}: its Parquet files have no rows: at least one image is needed")
    return counts, shape


def _shape(file: Path, first: Any, columns: Columns, conversion: Conversion) -> tuple[int, ...]:
    if columns.points:
        return (len(first[0].as_py() or ()),)
    return decode(_bytes(file, first), 1, lambda _: f"{file}, row 0", conversion).shape[1:]


def _there(tree: Tree) -> list[str]:
    """Names of the Parquet files of a folder itself, else of its sub-folders, which then are of one data set."""
    every = [name for name in tree.files if name.lower().endswith(SUFFIX)]
    here = [name for name in every if "/" not in name]
    if here or not every:
        return here
    homes = {"/".join(p for p in PurePosixPath(name).parts[:-1] if of_file(f"{p}/0.parquet") != p) for name in every}
    if len(homes) > 1:
        folders = ", ".join(f"{tree.root}/{home}" for home in sorted(homes))
        raise DataError(f"{tree.root}: Parquet files lie in several of its folders; name one: {folders}")
    return every


def _beside(tree: Tree) -> str:
    images = sum(PurePosixPath(name).suffix.lower() in suffixes() for name in tree.files)
    return f", but images ({images:,}), which data.name: folder reads" if images else ""


def _named(path: Path) -> str:
    """How a split is named that was written as a folder."""
    of_split = any(split == path.name for split, _ in near(path.parent))
    return f", and name the split by data.split: {path.name}" if of_split else ""


def _read(file: Path, image: str | None, label: str | None) -> tuple[Columns, Any]:
    """The columns that are read, and the table of them."""
    import pyarrow.parquet as pq

    with _readable(file):
        chosen = columns(file, image, label)
        return chosen, pq.read_table(file, columns=[name for name in (chosen.image, chosen.label) if name is not None])


@contextmanager
def _readable(file: Path) -> Iterator[None]:
    """What the library says of a damaged file, as one sentence."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError) as error:
        cause = str(error).splitlines()[0]
        if _starts(file, POINTER):
            cause = "it is a pointer of Git LFS: `git lfs pull` fetches it"
        raise DataError(f"{file}: this Parquet file cannot be read ({cause}): replace it") from error


def _starts(file: Path, begin: bytes) -> bool:
    try:
        with file.open("rb") as opened:
            return opened.read(len(begin)) == begin
    except OSError:
        return False


def _bytes(file: Path, column: Any) -> list[bytes]:
    import pyarrow as pa
    import pyarrow.compute as pc

    encoded = pc.struct_field(column, "bytes") if pa.types.is_struct(column.type) else column
    images: list[bytes | None] = encoded.to_pylist()
    for row, data in enumerate(images):
        if not isinstance(data, bytes):
            raise DataError(f"{file}, row {row}: this image has no bytes: save the data set with its images embedded")
    return images  # type: ignore[return-value]


def _points(rows: Sequence[Any], origin: Sequence[str]) -> np.ndarray:
    """(n, D) float32, every value finite."""
    for place, row in zip(origin, rows, strict=True):
        plain = isinstance(row, list) and all(isinstance(value, int | float) for value in row)
        if not plain or len(row) != len(rows[0]):
            raise DataError(f"{place}: `x` is no list of as many numbers as the first row has: correct that row")
    points = np.asarray(rows, np.float32).reshape(len(rows), -1)
    finite = np.isfinite(points).all(axis=1)
    if not finite.all():
        raise DataError(f"{origin[int(np.argmin(finite))]}: `x` holds NaN or an infinite value: remove that row")
    return points
