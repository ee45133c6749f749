"""Labels from a file of the user's: clusters found elsewhere."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from difgen_cli import sheets
from difgen_cli.condition import Labels, without_gaps

VERSION = 1
FILES = ("file", "file_name", "filename", "sample")  # columns that name the file of an image, in place of its index


def fit(given: np.ndarray, held_out_given: np.ndarray, *, path: Path | None = None) -> Labels:
    """The file's labels, numbered without gaps; held-out images have their own.

    `given` (n_rest,) and `held_out_given` (n_held_out,), int64: what `read` found, for either part.

    path: a CSV or Parquet file with the columns index and label, or file and label, or a .npy array of labels; relative
        ones are read against the data root.
    """
    labels, used = without_gaps(np.concatenate([given, held_out_given]))
    return Labels(labels[: len(given)], labels[len(given) :], len(used))


def read(path: Path, images: int, names: Sequence[str] | None = None) -> np.ndarray:
    """The label of every image of a data set of `images`, (images,) int64. ValueError names what is wrong, and where.

    Each index from 0 to images − 1 once, or the file of each image, in any order; labels are whole numbers of at least
    0, or words, which are numbered in the order of the alphabet. An array has them in the order of the images.

    names: of the images' files, in their order, where they have some.
    """
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file: give a CSV, Parquet or .npy file with a label for each image")
    suffix = path.suffix.lower()
    if suffix not in (".npy", ".csv", ".tsv", ".parquet"):
        raise ValueError(f"{path}: neither CSV (*.csv), nor Parquet (*.parquet), nor an array (*.npy): convert it")
    index, labels = (None, _npy(path)) if suffix == ".npy" else _table(path, names)
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


def _table(path: Path, names: Sequence[str] | None) -> tuple[np.ndarray, np.ndarray]:
    """The image and the label of each row."""
    try:
        sheet = sheets.read(path)
        by_name, label, by_index = sheet.first(*FILES), sheet.first("label", "labels"), sheet.first("index")
    except sheets.SheetError as error:
        raise ValueError(f"{path}: {error}: write it again") from error
    unplaced = by_index is None and (by_name is None or names is None)
    if label is None or unplaced:
        lacking = "index" if unplaced else "label"
        files = f" (the images of this data set have no files that `{by_name}` could name)" if by_name else ""
        raise ValueError(
            f"{path}: there is no column {lacking}: begin with a line index,label, or file,label; there are "
            f"{sheet.columns_in_words}{files}"
        )
    if by_index is not None:
        index = [_whole(path, sheet, by_index, row) for row in range(len(sheet.columns[by_index]))]
    else:
        index = _places(path, sheet, str(by_name), names or ())
    return np.array(index, np.int64), np.array(_labels(path, sheet, label), np.int64)


def _labels(path: Path, sheet: sheets.Sheet, column: str) -> list[int]:
    """Whole numbers; or words, where none is a number, by their places in the alphabet."""
    values = sheet.columns[column]
    if values and all(isinstance(value, str) and value.strip()[:1].isalpha() for value in values):
        label_of = {word: place for place, word in enumerate(sorted({value.strip() for value in values}))}
        return [label_of[value.strip()] for value in values]
    return [_whole(path, sheet, column, row) for row in range(len(values))]


def _whole(path: Path, sheet: sheets.Sheet, column: str, row: int) -> int:
    values = sheet.columns[column]
    number = sheets.whole(values[row])
    if number is None or abs(number) >= 1 << 62:
        if column in sheet.kinds:
            missing = sum(value is None for value in values)
            raise ValueError(
                f"{path}: the column {column} is {sheet.kinds[column]} with {missing} missing values, not whole "
                "numbers: convert it"
            )
        where = f"line {sheet.lines[row]}"
        raise ValueError(f"{path}, {where}: the {column} {values[row]!r} is no whole number: correct that line")
    return number


def _places(path: Path, sheet: sheets.Sheet, column: str, names: Sequence[str]) -> list[int]:
    """The image of each row by its file: relative to the data's folder, or its last part where just one has it."""
    places: dict[str, int | None] = {}
    for number, name in enumerate(names):
        last = name.rpartition("/")[2]
        places[last] = None if last in places else number
    places |= {name: number for number, name in enumerate(names)}
    numbers = []
    for value in sheet.columns[column]:
        place = places.get(str(value).strip())
        if place is None:
            raise ValueError(f"{path}: {value} is no image of this data set: name each as the first is, {names[0]}")
        numbers.append(place)
    return numbers


def _npy(path: Path) -> np.ndarray:
    try:
        labels = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{path}: this is no plain array ({error}): save one with numpy.save") from error
    if not isinstance(labels, np.ndarray) or labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        what = f"{labels.dtype} of shape {labels.shape}" if isinstance(labels, np.ndarray) else "an archive"
        raise ValueError(f"{path}: this is {what}, not one row of whole numbers: save the labels alone")
    return labels.astype(np.int64)
