"""Files of any kind, told by what they are; held-out images may come from files of their own."""

from pathlib import Path

import numpy as np

from difgen_cli.data import HELD_OUT_SEED, DataError, Pool, decode, folder, npz, parquet

VERSION = 1


def load(
    *, path: Path, split: str | None = None, held_out_path: Path | None = None, held_out_split: str | None = None
) -> Pool:
    """A folder of images, Parquet files or an .npz file, read by the plug-in of that kind.

    Held-out images are shuffled, since files may be sorted. Labels are kept where both parts have the same classes.
    DataError names the file that cannot be used, or the shapes that differ.

    path: a folder of images, a Parquet file or a folder of them, or an .npz file.
    split: of a folder of Parquet files, only those whose names begin so.
    held_out_path: the same for images to be held out, all of them: then data.held_out must be their number.
    held_out_split: the same for these.
    """
    pool = _read(path, split)
    if held_out_path is None:
        return pool
    apart = _read(held_out_path, held_out_split)
    if apart.images.shape[1:] != pool.images.shape[1:]:
        theirs, ours = (words(images.shape[1:]) for images in (apart.images, pool.images))
        raise DataError(f"{held_out_path}: {theirs}, but {path}: {ours}: give both in the same size and mode")
    order = np.random.default_rng(HELD_OUT_SEED).permutation(len(apart.images))
    classes, labels = _labels(pool, apart)
    return Pool(np.concatenate([pool.images, apart.images]), labels, classes, len(pool.images) + order)


def kind_of(path: Path) -> str:
    """folder, parquet or npz. DataError where it is none of them."""
    if path.is_dir():
        return "parquet" if next(path.glob("*.parquet"), None) else "folder"
    if not path.exists():
        raise DataError(f"{path}: there is no such file or folder")
    if path.suffix.lower() in (".parquet", ".npz"):
        return path.suffix.lower()[1:]
    raise DataError(
        f"{path}: neither a folder of images, nor Parquet (*.parquet), nor NumPy arrays (*.npz): convert it to one"
    )


def listing(path: Path, split: str | None = None) -> tuple[int, tuple[int, ...]]:
    """How many images there are, and the shape of the first, before they are read."""
    match kind_of(path):
        case "npz":
            return npz.listing(path)
        case "parquet":
            counts, shape = parquet.listing(path, split)
            return sum(counts), shape
    files = [file for group in folder.classes(path).values() for file in group]
    return len(files), decode(files[:1], lambda _: str(files[0])).shape[1:]


def names(path: Path, split: str | None = None) -> list[str]:
    """What each image is called, in the order of `load`: its file, or file and row."""
    match kind_of(path):
        case "npz":
            rows = [(path, npz.listing(path)[0])]
        case "parquet":
            rows = list(zip(parquet.files(path, split), parquet.listing(path, split)[0], strict=True))
        case _:
            return [str(file.relative_to(path)) for group in folder.classes(path).values() for file in group]
    return [f"{file.name}, row {row}" for file, count in rows for row in range(count)]


def words(shape: tuple[int, ...]) -> str:
    """The shape of one image for a person: `images of 32 × 32 pixels RGB`, `points of 2 dimensions`."""
    if len(shape) != 3:
        return f"points of {' × '.join(map(str, shape))} dimensions"
    return f"images of {shape[1]} × {shape[0]} pixels {'grey' if shape[2] == 1 else 'RGB'}"


def _read(path: Path, split: str | None) -> Pool:
    match kind_of(path):
        case "npz":
            return npz.load(path=path)
        case "parquet":
            return parquet.load(path=path, split=split)
    return folder.load(path=path)


def _labels(pool: Pool, apart: Pool) -> tuple[tuple[str, ...], np.ndarray | None]:
    """Classes and labels of both together; where no names are given, the longer list of numbers has the shorter's."""
    if pool.labels is None or apart.labels is None:
        return (), None
    longer, shorter = sorted((pool.classes, apart.classes), key=len, reverse=True)
    if longer[: len(shorter)] != shorter:
        return (), None
    return longer, np.concatenate([pool.labels, apart.labels])
