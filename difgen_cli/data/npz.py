"""Arrays in a NumPy .npz file."""

import zipfile
from pathlib import Path

import numpy as np

from difgen_cli.data import DataError, Pool

VERSION = 1


def load(*, path: Path) -> Pool:
    """`images` (M, H, W) or (M, H, W, C) uint8, or `points` (M, D) float32; with `labels` (M,) integers or without.

    Names of classes may lie in `classes`, an array of strings. Pickled objects are never loaded.

    path: the .npz file.
    """
    arrays = _read(path)
    name = next((name for name in ("images", "points") if name in arrays), None)
    if name is None:
        raise DataError(
            f"{path}: there is neither `images` nor `points`, only {', '.join(arrays) or 'nothing'}: rename it"
        )
    data, labels = arrays[name], arrays.get("labels")
    if name == "images" and data.ndim == 3:
        data = data[..., None]
    _check_data(path, name, data)
    if labels is None:
        return Pool(data)
    _check_labels(path, labels, len(data))
    names = arrays.get("classes")
    classes = tuple(str(k) for k in (range(int(labels.max()) + 1) if names is None else names))
    try:
        return Pool(data, labels.astype(np.int64), classes)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def listing(path: Path) -> tuple[int, tuple[int, ...]]:
    """How many images or points there are, and the shape of one, by the header of the array alone."""
    if not zipfile.is_zipfile(path):
        raise DataError(f"{path}: this is not a whole .npz archive: write it again with numpy.savez")
    with zipfile.ZipFile(path) as archive:
        name = next((n for n in ("images.npy", "points.npy") if n in archive.namelist()), None)
        if name is None:
            known = ", ".join(n.removesuffix(".npy") for n in archive.namelist()) or "nothing"
            raise DataError(f"{path}: there is neither `images` nor `points`, only {known}: rename it")
        with archive.open(name) as member:
            version = np.lib.format.read_magic(member)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape = read(member)[0]
    return (shape[0], (*shape[1:], 1)) if name == "images.npy" and len(shape) == 3 else (shape[0], shape[1:])


def _read(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise DataError(f"{path}: there is no such file: correct data.path")
    if not zipfile.is_zipfile(path):
        raise DataError(f"{path}: this is not a whole .npz archive: write it again with numpy.savez")
    arrays = {}
    try:
        with np.load(path, allow_pickle=False) as file:
            for name in file.files:
                arrays[name] = file[name]
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        if "allow_pickle" in str(error):
            raise DataError(
                f"{path}: it holds pickled objects, which are code and are never loaded: save plain arrays instead"
            ) from error
        raise DataError(f"{path}: this archive cannot be read ({error}): write it again with numpy.savez") from error
    return arrays


def _check_data(path: Path, name: str, data: np.ndarray) -> None:
    wanted, dimensions = (np.uint8, 4) if name == "images" else (np.float32, 2)
    if data.dtype != wanted:
        raise DataError(f"{path}: `{name}` is {data.dtype}, not {np.dtype(wanted)}: convert it")
    if data.ndim != dimensions or data.size == 0 or (name == "images" and data.shape[-1] not in (1, 3)):
        shape = "(M, H, W) or (M, H, W, 1 or 3)" if name == "images" else "(M, D)"
        raise DataError(f"{path}: `{name}` has the shape {data.shape}, not {shape}: reshape it")
    if not np.isfinite(data).all():
        row = int(np.nonzero(~np.isfinite(data).all(axis=1))[0][0])
        raise DataError(f"{path}, row {row}: `{name}` holds NaN or an infinite value: remove that row")


def _check_labels(path: Path, labels: np.ndarray, count: int) -> None:
    if labels.shape != (count,) or not np.issubdtype(labels.dtype, np.integer):
        raise DataError(
            f"{path}: `labels` of shape {labels.shape} and type {labels.dtype} do not fit {count} images: "
            "give one whole number each"
        )
