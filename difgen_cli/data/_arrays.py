"""The arrays in .npz and .npy files: what their headers say, held against what is there, and their values."""

import math
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from difgen_cli.data._errors import DataError


@dataclass(frozen=True)
class Array:
    """An array as its header says; name: within an archive, empty for the one of a .npy file."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def called(self) -> str:
        """As a message calls it."""
        return f"`{self.name}`" if self.name else "the array"

    @property
    def words(self) -> str:
        """With its type and shape, for a message."""
        return f"{self.name or 'an array'} ({self.dtype}, {' × '.join(map(str, self.shape)) or 'a single value'})"


def headers(path: Path) -> dict[str, Array]:
    """What each array is, by its name. DataError where one cannot be read, or is not there as its header says."""
    if not path.is_file():
        raise DataError(f"{path}: there is no such file: correct data.path")
    with _readable(path):
        if path.suffix.lower() == ".npy":
            with path.open("rb") as file:
                return {"": _header(path, "", file, path.stat().st_size)}
        if not zipfile.is_zipfile(path):
            raise DataError(f"{path}: this is not a whole .npz archive: write it again with numpy.savez")
        arrays = {}
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if member.filename.endswith(".npy"):
                    name = member.filename.removesuffix(".npy")
                    with archive.open(member) as opened:
                        arrays[name] = _header(path, name, opened, member.file_size)
        return arrays


def read(path: Path, array: Array) -> np.ndarray:
    """The values of an array."""
    with _readable(path):
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            return np.asarray(loaded[array.name])


def _header(path: Path, name: str, file: IO[bytes], size_bytes: int) -> Array:
    version = np.lib.format.read_magic(file)
    reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = reader(file)
    array, left = Array(name, shape, dtype), size_bytes - file.tell()
    if dtype.hasobject:
        raise DataError(
            f"{path}: it holds pickled objects, which are code and are never loaded: save plain arrays instead"
        )
    claimed = math.prod(shape) * dtype.itemsize
    if claimed > left:
        raise DataError(
            f"{path}: the header of {array.called} claims {claimed:,} bytes, and {left:,} are there: it is cut short "
            "or damaged, write it again"
        )
    return array


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """What the libraries say of a damaged file, as one sentence."""
    try:
        yield
    except DataError:
        raise
    except MemoryError as error:
        raise DataError(f"{path}: its arrays do not fit into memory: make a smaller file") from error
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, RuntimeError) as error:
        kind, saving = ("file", "save") if path.suffix.lower() == ".npy" else ("archive", "savez")
        raise DataError(f"{path}: this {kind} cannot be read ({error}): write it again with numpy.{saving}") from error
