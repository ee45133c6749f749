"""Arrays in a NumPy .npz or .npy file."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Gt

from difgen_cli.data import DataError, LabelError, Pool
from difgen_cli.data._arrays import Array, headers, read
from difgen_cli.data._decoding import Conversion, converted, notes
from difgen_cli.data._labels import numbered

VERSION = 3
IMAGES, POINTS, LABELS, CLASSES = "images", "points", "labels", "classes"
UNNAMED = "arr_0", "arr_1"  # images and labels as numpy.savez names them in the files of ADM, EDM and dgm-eval
# How values of another type become uint8, by the range that they have.
REMEDIES = (
    (0, 1, "(255 * x).round().astype('uint8')"),
    (-1, 1, "(127.5 * x + 127.5).round().astype('uint8')"),
    (0, 255, "x.round().astype('uint8')"),
)


def load(
    *,
    path: Path,
    image: str | None = None,
    label: str | None = None,
    mode: Literal["rgb", "grey"] | None = None,
    resize: Annotated[int, Gt(0)] | None = None,
    resize_filter: Literal["nearest", "box", "bilinear", "bicubic", "lanczos"] = "bicubic",
) -> Pool:
    """Images (M, H, W) or (M, H, W, C) uint8, or points (M, D) float32; with labels (M,), whole numbers, or without.

    They are the arrays `images` or `points` and `labels`, else `arr_0` and `arr_1` (ADM, EDM), else the only array of
    such a shape. Names of classes may lie in `classes`, an array of strings. Opaque alpha is dropped. Pickled objects
    are never loaded. DataError names what cannot be used; LabelError where labels alone cannot be.

    path: the .npz or .npy file.
    image: the array of images or points, where it has another name.
    label: the array of labels, where it has another name.
    mode: convert every image to rgb or grey; null takes them as they are.
    resize: bring every image to a square of so many pixels a side; null takes them as they are.
    resize_filter: how: Pillow's filters, antialiased where images shrink.
    """
    arrays = headers(path)
    name = _data(path, arrays, image)
    data, seen = _checked(path, arrays[name]), Counter[str]()
    if data.ndim == 4:
        data = converted(data, lambda i: f"{path}, image {i}", Conversion(mode, resize, resize_filter), seen)
    array = _labels(path, arrays, name, label)
    remarks = (*notes(seen), *_unread(path, arrays, {name, CLASSES} | ({array.name} if array else set())))
    if array is None:
        return Pool(data, notes=remarks)
    try:
        values = _values(path, array, len(data))
        names = [str(k) for k in read(path, arrays[CLASSES])] if CLASSES in arrays else []
        labels, classes = numbered(values, names, lambda _: str(path))
    except LabelError as error:
        raise LabelError(str(error), Pool(data, notes=remarks)) from None
    return Pool(data, labels, classes, notes=remarks)


def listing(path: Path, image: str | None = None, conversion: Conversion | None = None) -> tuple[int, tuple[int, ...]]:
    """How many images or points there are, and the shape of one, converted, by the header of the array alone."""
    arrays = headers(path)
    array = arrays[_data(path, arrays, image)]
    _check(path, array, lambda: read(path, array))
    shape = array.shape if len(array.shape) != 3 else (*array.shape, 1)
    if len(shape) == 2:
        return shape[0], shape[1:]
    return shape[0], (conversion or Conversion()).shape(shape[1:])


def _data(path: Path, arrays: dict[str, Array], named: str | None) -> str:
    """Which array is the images or points."""
    if named is not None and named not in arrays:
        raise DataError(f"{path}: there is no array `{named}`, only {', '.join(arrays)}: correct data.image")
    able = [name for name, array in arrays.items() if len(array.shape) > 1]
    name = named or next((name for name in (IMAGES, POINTS, UNNAMED[0]) if name in arrays), None)
    if name is None and len(able) != 1:
        held = ", ".join(array.words for array in arrays.values()) or "nothing"
        raise DataError(
            f"{path}: there is neither `images` nor `points`, only {held}: rename one, or name it by data.image"
        )
    return name or able[0]


def _checked(path: Path, array: Array) -> np.ndarray:
    """The images (M, H, W, C) or points (M, D)."""
    data = read(path, array)
    _check(path, array, lambda: data)
    if data.ndim == 2 and not np.isfinite(data).all():
        row = int(np.nonzero(~np.isfinite(data).all(axis=1))[0][0])
        raise DataError(f"{path}, row {row}: {array.called} holds NaN or an infinite value: remove that row")
    return data[..., None] if data.ndim == 3 else data


def _check(path: Path, array: Array, values: Callable[[], np.ndarray]) -> None:
    """DataError where an array is neither images nor points; its values are looked at to say what they would need."""
    shape, points = array.shape, array.name == POINTS or (array.name != IMAGES and len(array.shape) == 2)
    if points:
        if array.dtype != np.float32:
            raise DataError(f"{path}: {array.called} is {array.dtype}, not float32: convert it by x.astype('float32')")
        if len(shape) != 2 or 0 in shape:
            raise DataError(f"{path}: {array.called} has the shape {shape}, not (M, D): reshape it")
        return
    full = shape if len(shape) != 3 else (*shape, 1)
    if len(full) != 4 or 0 in full or full[-1] not in (1, 2, 3, 4):
        if len(full) == 4 and full[1] in (1, 2, 3, 4) and 0 not in full:
            remedy = "channels come last, transpose it by x.transpose(0, 2, 3, 1)"
        else:
            remedy = "reshape it"
        raise DataError(f"{path}: {array.called} has the shape {full}, not (M, H, W) or (M, H, W, 1 or 3): {remedy}")
    if array.dtype != np.uint8:
        raise DataError(f"{path}: {array.called} is {array.dtype}{_range(values())}")


def _range(data: np.ndarray) -> str:
    """The range of the values of images that are not uint8, and how to convert them."""
    if not np.issubdtype(data.dtype, np.number) and data.dtype != np.bool_:
        return ", not uint8: convert it"
    plain = data.astype(np.float64) if data.dtype in (np.bool_, np.float16) else data
    least, most = plain.min(), plain.max()
    if not (np.isfinite(least) and np.isfinite(most)):
        return ", not uint8, and holds NaN or infinite values: write the images again"
    remedy = next((how for low, high, how in REMEDIES if low <= least and most <= high), None)
    return f" with values from {least:g} to {most:g}, not uint8: convert it" + (f" by {remedy}" if remedy else "")


def _unread(path: Path, arrays: dict[str, Array], read: set[str]) -> tuple[str, ...]:
    """The arrays that are not read, in a sentence."""
    others = ", ".join(array.words for name, array in arrays.items() if name not in read)
    return (f"not read of {path}: {others}",) if others else ()


def _labels(path: Path, arrays: dict[str, Array], data: str, named: str | None) -> Array | None:
    if named is not None and named not in arrays:
        raise DataError(f"{path}: there is no array `{named}`, only {', '.join(arrays)}: correct data.label")
    own = LABELS if data != UNNAMED[0] or LABELS in arrays else UNNAMED[1]
    array = arrays.get(named or own)
    if array is None or (array.name == UNNAMED[1] and len(array.shape) != 1):
        return None
    return array


def _values(path: Path, array: Array, count: int) -> list[Any]:
    """The labels of an array. LabelError where there is not one whole number or word for each image."""
    if array.shape != (count,) or array.dtype.kind not in "iubU":
        raise LabelError(
            f"{path}: {array.called} of shape {array.shape} and type {array.dtype} do not fit {count} images: "
            "give one whole number each"
        )
    values: list[Any] = read(path, array).tolist()
    return values
