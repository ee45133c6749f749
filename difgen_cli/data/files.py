"""Files of any kind, told by what they are; held-out images may come from files of their own."""

from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Gt

from difgen_cli.data import HELD_OUT_SEED, DataError, LabelError, Pool, folder, npz, parquet
from difgen_cli.data._decoding import Conversion, decode, size
from difgen_cli.data._tree import left_behind as left_behind
from difgen_cli.data._tree import look
from difgen_cli.text import expanded, printable

VERSION = 3
KINDS = {".parquet": "parquet", ".npz": "npz", ".npy": "npz", ".zip": "folder"}


def load(
    *,
    path: Path,
    split: str | None = None,
    held_out_path: Path | None = None,
    held_out_split: str | None = None,
    image: str | None = None,
    label: str | None = None,
    mode: Literal["rgb", "grey"] | None = None,
    resize: Annotated[int, Gt(0)] | None = None,
    resize_filter: Literal["nearest", "box", "bilinear", "bicubic", "lanczos"] = "bicubic",
) -> Pool:
    """A folder or .zip of images, Parquet files, or an .npz or .npy file, read by the plug-in of that kind.

    Held-out images are shuffled, since files may be sorted. Labels are kept where both parts have the same classes.
    DataError names the file that cannot be used, or the shapes that differ.

    path: a folder of images, a Parquet file or a folder of them, a .zip, .npz or .npy file.
    split: of a folder of Parquet files with several, the one to read, such as train.
    held_out_path: the same for images to be held out, all of them: then data.held_out must be their number.
    held_out_split: the same for these.
    image: of Parquet and .npz, the column or array of images.
    label: of Parquet and .npz, the column or array of labels.
    mode: convert every image to rgb or grey; null takes them as they are, all of one mode.
    resize: bring every image to a square of so many pixels a side; null takes them as they are, all of one size.
    resize_filter: how: Pillow's filters, antialiased where images shrink.
    """
    settings = {
        "image": image, "label": label, "mode": mode, "resize": resize, "resize_filter": resize_filter,
    }  # fmt: skip
    pool, unlabelled = _read(path, {"split": split, **settings})
    if held_out_path is not None:
        apart, also = _read(held_out_path, {"split": held_out_split, **settings})
        pool, unlabelled = _together(path, pool, held_out_path, apart), unlabelled or also
    if unlabelled:
        raise LabelError(unlabelled, pool)
    return pool


def kind_of(path: Path) -> str:
    """folder, parquet or npz. DataError where it is none of them."""
    if path.is_dir():
        names = look(path).files
        tables = [name for name in names if name.lower().endswith(".parquet") and name not in folder.TABLES]
        images = folder.images_of(names) if tables else []
        return "parquet" if tables and not (images and all("/" in name for name in tables)) else "folder"
    if not path.exists():
        raise DataError(f"{path}: there is no such file or folder")
    if path.suffix.lower() in KINDS:
        return KINDS[path.suffix.lower()]
    raise DataError(
        f"{path}: neither a folder of images, nor Parquet (*.parquet), nor NumPy arrays (*.npz, *.npy), nor images in "
        "a *.zip: convert it to one"
    )


def meant(path: Path) -> tuple[Path, str | None]:
    """A folder and one of its splits, which a command may name as if it were a folder in it: `set/train`."""
    path = expanded(path)
    if not path.exists() and any(path.name in (of, name[: len(path.name)]) for of, name in parquet.near(path.parent)):
        return path.parent, path.name
    return path, None


def check_split(path: Path) -> None:
    """DataError where a folder's Parquet files are of several splits: a command names one as a folder in it."""
    if path.is_dir() and kind_of(path) == "parquet":
        parquet.find(path, None, f"{path}/")


def readable(path: Path) -> tuple[list[str], tuple[str, ...]]:
    """Names of the image files in a folder and its sub-folders, and what was passed over, in words.

    DataError for one that cannot be read, whatever its size and mode.
    """
    tree = look(path)
    images = folder.images_of(tree.files)
    for name, file in zip(images, tree.read(images), strict=True):
        decode([file], 1, [str(path / name)].__getitem__, Conversion(mode="rgb"))
    return images, tree.passed_over(images)


def listing(
    path: Path, split: str | None = None, image: str | None = None, conversion: Conversion | None = None
) -> tuple[int, tuple[int, ...]]:
    """How many images there are, and the shape of the first, before they are read."""
    conversion = conversion or Conversion()
    match kind_of(path):
        case "npz":
            return npz.listing(path, image, conversion)
        case "parquet":
            counts, shape = parquet.listing(path, split, image, conversion)
            return sum(counts), shape
    return folder.listing(path, conversion)


def names(
    path: Path, split: str | None = None, image: str | None = None, held_out_path: Path | None = None,
    held_out_split: str | None = None, **_: Any,
) -> list[str]:  # fmt: skip
    """What each image is called, in the order of `load`: its file, or file and row; printable."""
    apart = [] if held_out_path is None else names(held_out_path, held_out_split, image)
    match kind_of(path):
        case "npz":
            rows = [(path.name, npz.listing(path, image)[0])]
        case "parquet":
            files = parquet.find(path, split).files
            called = [str(file.relative_to(path)) if path.is_dir() else file.name for file in files]
            rows = list(zip(called, parquet.listing(path, split, image)[0], strict=True))
        case _:
            return folder.names(path) + apart
    return [f"{printable(name)}, row {row}" for name, count in rows for row in range(count)] + apart


def words(shape: tuple[int, ...]) -> str:
    """The shape of one image for a person: `images of 32 × 32 pixels RGB`, `points of 2 dimensions`."""
    if len(shape) != 3:
        return f"points of {' × '.join(map(str, shape))} dimensions"
    return f"images of {size(shape)}"


def _read(path: Path, settings: dict[str, Any]) -> tuple[Pool, str]:
    """The images at a path, without labels where these cannot be used, and then why."""
    plugin: Any = {"npz": npz, "parquet": parquet, "folder": folder}[kind_of(path)]
    taken = plugin.load.__kwdefaults__
    try:
        return plugin.load(path=path, **{k: v for k, v in settings.items() if k in taken}), ""
    except LabelError as error:
        return error.images(), str(error)


def _together(path: Path, pool: Pool, held_out_path: Path, apart: Pool) -> Pool:
    """Both parts as one pool that says itself which images are held out."""
    if apart.images.shape[1:] != pool.images.shape[1:]:
        theirs, ours = (words(images.shape[1:]) for images in (apart.images, pool.images))
        raise DataError(f"{held_out_path}: {theirs}, but {path}: {ours}: give both in the same size and mode")
    order = np.random.default_rng(HELD_OUT_SEED).permutation(len(apart.images))
    classes, labels = _labels(pool, apart)
    images = np.concatenate([pool.images, apart.images])
    return Pool(images, labels, classes, len(pool.images) + order, notes=(*pool.notes, *apart.notes))


def _labels(pool: Pool, apart: Pool) -> tuple[tuple[str, ...], np.ndarray | None]:
    """Classes and labels of both together; where no names are given, the longer list of numbers has the shorter's."""
    if pool.labels is None or apart.labels is None:
        return (), None
    longer, shorter = sorted((pool.classes, apart.classes), key=len, reverse=True)
    if longer[: len(shorter)] != shorter:
        return (), None
    return longer, np.concatenate([pool.labels, apart.labels])
