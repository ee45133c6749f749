"""A folder of image files, or a .zip archive of them; its sub-folders are the classes, if there are any."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from annotated_types import Gt

from difgen_cli import sheets
from difgen_cli.data import DataError, LabelError, Pool
from difgen_cli.data._decoding import Conversion, decode, notes, suffixes
from difgen_cli.data._labels import numbered
from difgen_cli.data._splits import of_folders, refuse
from difgen_cli.data._tree import Tree, look
from difgen_cli.text import printable

VERSION = 3
LABELS = "dataset.json"  # as the tools of StyleGAN and EDM write it, whose folders are no classes
TABLES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")  # as the ImageFolder of `datasets` reads them
OF_FILES = ("file_name", "file", "filename", "path", "image")  # columns that name the file of a row
ROOT = "data"  # the folder in which a cloned repository of the Hugging Face hub keeps its images


@dataclass(frozen=True)
class FolderImages:
    """The images of a folder, not read yet, in their order; `values` are their labels, as their files have them."""

    tree: Tree
    images: list[str]
    values: list[Any] | None
    others: tuple[str, ...]  # what was passed over, in words
    unlabelled: str = ""  # why labels that are there cannot be used

    def read(self, count: int) -> Iterator[bytes | Path]:
        """The first images."""
        return self.tree.read(self.images[:count])

    def where(self, place: int) -> str:
        """The file of an image, for a message."""
        return str(self.tree.root / self.images[place])


def load(
    *,
    path: Path,
    mode: Literal["rgb", "grey"] | None = None,
    resize: Annotated[int, Gt(0)] | None = None,
    resize_filter: Literal["nearest", "box", "bilinear", "bicubic", "lanczos"] = "bicubic",
) -> Pool:
    """Images in the order of their names; with sub-folders, class by class, the classes in the order of theirs.

    Labels come from dataset.json (StyleGAN, EDM) or metadata.csv (`datasets`) where there is one, and then sub-folders
    are no classes. Images are turned upright as their EXIF says, and opaque alpha is dropped. The pool's notes name
    what is passed over. DataError names the file that cannot be used; LabelError where labels alone cannot be.

    path: the folder, or a .zip archive.
    mode: convert every image to rgb or grey; null takes them as they are, all of one mode.
    resize: bring every image to a square of so many pixels a side; null takes them as they are, all of one size.
    resize_filter: how: Pillow's filters, antialiased where images shrink.
    """
    listed, seen = find(path), Counter[str]()
    conversion = Conversion(mode, resize, resize_filter)
    images = decode(listed.read(len(listed.images)), len(listed.images), listed.where, conversion, seen)
    remarks = (*listed.others, *notes(seen))
    try:
        if listed.unlabelled:
            raise LabelError(listed.unlabelled)
        labels, classes = (None, ()) if listed.values is None else numbered(listed.values, (), listed.where)
    except LabelError as error:
        raise LabelError(str(error), Pool(images, notes=remarks)) from None
    return Pool(images, labels, classes, notes=remarks)


def names(path: Path, **_: Any) -> list[str]:
    """What each image is called, in the order of `load`: its file, printable."""
    return [printable(name) for name in find(path).images]


def images_of(files: Iterable[str]) -> list[str]:
    """Those files that are read as images, by how their names end."""
    return [name for name in files if PurePosixPath(name).suffix.lower() in suffixes()]


def listing(path: Path, conversion: Conversion) -> tuple[int, tuple[int, ...]]:
    """How many images there are, and the shape of the first, converted."""
    listed = find(path)
    return len(listed.images), decode(listed.read(1), 1, listed.where, conversion).shape[1:]


def find(path: Path) -> FolderImages:
    """The images at a path and their labels. DataError where there are none, or where folders are not classes."""
    tree = look(path)
    images = images_of(tree.files)
    if not images:
        raise DataError(_none(path, tree))
    if (table := next((name for name in (LABELS, *TABLES) if name in tree.files), None)) is not None:
        rows = _listed(tree, table)
        if rows is not None:
            return _labelled(tree, images, table, rows)
    values = _folders(path, tree, images)
    return FolderImages(tree, images, values, tree.passed_over(images))


def _labelled(tree: Tree, images: list[str], table: str, rows: list[tuple[str, Any]]) -> FolderImages:
    """The images with the labels that a table gives them by name; what of it fits none of them is told."""
    present, by_name, lost, twice = set(images), dict[str, Any](), [], ""
    for written, value in rows:
        name = written if written in present else str(PurePosixPath(written.replace("\\", "/")))
        if name not in present:
            lost.append(written)
        elif by_name.setdefault(name, value) != value:
            twice = twice or f"{tree.root / table}: {name} has the labels {by_name[name]} and {value}: give it one"
    others = tree.passed_over([*images, table])
    if rows and not by_name:
        why = f"{tree.root / table}: it names none of the images: it has {lost[0]}, and they are called {images[0]}"
        return FolderImages(tree, images, None, others, why)
    if lost:
        others += (f"{tree.root / table} names {len(lost):,} that are no image of this folder, such as {lost[0]}",)
    return FolderImages(tree, images, [by_name.get(name) for name in images] if rows else None, others, twice)


def _folders(path: Path, tree: Tree, images: list[str]) -> list[str] | None:
    """The class of each image, which is its folder; None where all lie in one place."""
    inside = all(name.startswith(ROOT + "/") for name in images)
    parents = [PurePosixPath(name).parts[inside:-1] for name in images]
    tops = list(dict.fromkeys(parts[0] for parts in parents if parts))
    root = path / ROOT if inside else path
    refuse(path, of_folders(tops), f"{root}/")
    loose = next((name for name, parts in zip(images, parents, strict=True) if not parts), None)
    if not tops:
        return None
    if loose:
        raise DataError(
            f"{path}: there are images beside the sub-folders ({loose}): put every image into the folder of its class"
        )
    deep = next((name for name, parts in zip(images, parents, strict=True) if len(parts) > 1), None)
    if deep:
        raise DataError(
            f"{root / tops[0]}: images lie in folders of its own ({deep}), and each sub-folder of data.path is one "
            f"class: point data.path at the folder above the images, such as {path / PurePosixPath(deep).parent.parent}"
        )
    start, paths = f"{ROOT}/" * inside, (*tree.files, *(f"{folder}/" for folder in tree.empty))
    below = [name.removeprefix(start) for name in paths if name.startswith(start)]
    folders = {name.partition("/")[0] for name in below if "/" in name}
    for folder in sorted(folders - set(tops)):
        raise DataError(f"{root / folder}: there is no image in this folder: add some or remove it")
    return [parts[0] for parts in parents]


def _none(path: Path, tree: Tree) -> str:
    """Why there is nothing to read."""
    parquet = next((name for name in tree.files if name.lower().endswith(".parquet")), None)
    if parquet:
        return f"{path}: there is no image in this folder, but Parquet ({parquet}): say data.name: parquet"
    others = "".join(f" ({remark.partition(': ')[2]} passed over)" for remark in tree.passed_over(()))
    kind = "folder" if path.is_dir() else "archive"
    return f"{path}: there is no image in this {kind}{others}: add some, or correct data.path"


def _listed(tree: Tree, table: str) -> list[tuple[str, Any]] | None:
    """Names of files and their labels; [] where the file says that there are none, None where it is about others."""
    content = next(tree.read([table]))
    if isinstance(content, Path):
        content = content.read_bytes()
    try:
        if table == LABELS:
            return _of_json(content)
        sheet = sheets.read(Path(table), content)
        column, labels = sheet.first(*OF_FILES), sheet.first("label", "labels")
    except sheets.SheetError as error:
        raise DataError(f"{tree.root / table}: {error}: write it again, or remove it") from None
    if column is None or labels is None:
        return None
    numbers = [sheets.whole(value) for value in sheet.columns[labels]]
    values = sheet.columns[labels] if None in numbers else numbers
    return [(str(name), value) for name, value in zip(sheet.columns[column], values, strict=True) if name is not None]


def _of_json(content: bytes) -> list[tuple[str, Any]] | None:
    try:
        document = json.loads(content)
        if not isinstance(document, dict) or "labels" not in document:
            return None
        return [(str(name), label) for name, label in document["labels"] or ()]
    except (ValueError, TypeError, RecursionError) as error:
        raise sheets.SheetError(f"this is no list of file names and labels ({error})") from error
