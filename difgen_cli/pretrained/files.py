"""Files that somebody else made: each is opened only as data, within its folder, and no larger than it says."""

import json
import stat
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from difgen_cli.text import printable

JSON_BYTES = 32 << 20  # the index of a large model has a megabyte
HEADER_BYTES = 100_000_000  # that of safetensors may be no longer
NAME_LENGTH = 80  # of a name or value that a sentence shows
Read = TypeVar("Read")


class PretrainedError(ValueError):
    """Weights of somebody else that cannot be used; one sentence that says what, where, and what to do."""


def shown(value: Any) -> str:
    """A name or value of a foreign file, as a sentence can show it: printable, and not too long."""
    plain = (str, int, float, type(None))
    parts = value if isinstance(value, list | tuple) else [value]
    if not isinstance(value, str):  # the text of what is nested may be without end
        value = repr(value) if all(isinstance(part, plain) for part in parts) else f"a {type(value).__name__}"
    text = printable(value)
    return text if len(text) <= NAME_LENGTH else text[:NAME_LENGTH] + "…"


def within(folder: Path, name: str) -> Path:
    """A file of a folder by its plain name; links may lead to other files of the folder, or of the hub's own cache.

    Raises PretrainedError for a name that is a path, a link that leads elsewhere, and what is no plain file.
    """
    if not name or name in (".", "..") or any(mark in name for mark in "/\\\0"):
        raise PretrainedError(
            f"{folder}: it names the file {shown(name)}, which is a path: weights lie in the folder itself, as plain "
            "names: correct the index"
        )
    path = folder / name
    try:
        target, root = path.resolve(), folder.resolve()
        regular = stat.S_ISREG(path.stat().st_mode)
    except (OSError, RuntimeError, ValueError):
        raise PretrainedError(f"{shown(str(path))}: there is no such file: copy the folder again, whole") from None
    if not any(target.is_relative_to(place) for place in (root, *_blobs(root))):
        raise PretrainedError(
            f"{path}: this is a link to a file outside of its folder: copy the file itself into the folder"
        )
    if not regular:
        raise PretrainedError(f"{path}: this is no plain file: put the file itself there")
    return path


def _blobs(root: Path) -> list[Path]:
    """Where the hub's cache keeps the files that `models--…/snapshots/<revision>` has links to."""
    places = [p for p in (root, *root.parents[:2]) if p.parent.name == "snapshots"]
    return [p.parents[1] / "blobs" for p in places if p.parents[1].name.startswith("models--")]


def tried(path: Path, read: Callable[[], Read], kinds: tuple[type[Exception], ...] = (ValueError,)) -> Read:
    """What `read` returns; its errors of these kinds, and those of the machine, as one sentence."""
    errors: tuple[type[Exception], ...] = (OSError, *kinds)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd files, which are refused where they matter
            return read()
    except PretrainedError:
        raise
    except MemoryError:
        raise PretrainedError(f"{path}: it asks for more memory than there is: take weights that are whole") from None
    except RecursionError:
        raise PretrainedError(f"{path}: it is nested too deeply to be read: take weights that are whole") from None
    except FileNotFoundError:
        raise PretrainedError(f"{path}: there is no such file: correct the path") from None
    except errors as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise PretrainedError(f"{path}: it cannot be read ({shown(lines[0]).rstrip('. ')}): copy it again") from None


def converted(path: Path, convert: Callable[[], Read]) -> Read:
    """What `convert` makes of the values of a file; what it refuses in one sentence, with the file before it."""
    try:
        return tried(path, convert, (LookupError, TypeError, AttributeError, ArithmeticError, RuntimeError))
    except PretrainedError:
        raise
    except ValueError as error:
        raise PretrainedError(f"{path}: {error}") from None


def json_of(path: Path) -> dict[str, Any]:
    """The object of a JSON file, no larger than 32 MB. PretrainedError for anything else, or a key given twice."""

    def read() -> Any:
        with path.open("rb") as file:
            content = file.read(JSON_BYTES + 1)
        if len(content) > JSON_BYTES:
            raise PretrainedError(f"{path}: it has more than {JSON_BYTES >> 20} MB, and no such file needs as much")
        return _parsed(content, path)

    return tried(path, read)


def _parsed(content: bytes, path: Path) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key, value in pairs:
            if key in values:
                raise PretrainedError(f"{path}: the key {shown(key)} is given twice: remove one of them")
            values[key] = value
        return values

    def refuse(word: str) -> None:
        raise ValueError(f"{word} is no number of JSON")

    value = json.loads(content.decode("utf-8"), object_pairs_hook=once, parse_constant=refuse)
    if not isinstance(value, dict):
        raise PretrainedError(f"{path}: it holds a {type(value).__name__} of JSON, not an object: take the right file")
    return value


def check_safetensors(path: Path) -> None:
    """PretrainedError where the header of a safetensors file does not fit the file, before anything else is read."""

    def read() -> dict[str, Any]:
        size = path.stat().st_size
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > min(size - 8, HEADER_BYTES):
                raise PretrainedError(
                    f"{path}: its header says that it has {length:,} bytes, and the file has {size:,}: copy it again"
                )
            header = _parsed(file.read(length), path)
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        if max(ends, default=0) != size - 8 - length:
            raise PretrainedError(
                f"{path}: its header lists {max(ends, default=0):,} bytes of weights, and "
                f"{size - 8 - length:,} follow: copy it again"
            )
        return header

    tried(path, read, (ValueError, struct.error, LookupError, TypeError, AttributeError))


def check_archive(path: Path) -> None:
    """PretrainedError for a zip archive that torch would not have written: it stores what it saves, uncompressed."""

    def read() -> None:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
        packed = next((entry.filename for entry in entries if entry.compress_type != zipfile.ZIP_STORED), None)
        if packed is not None:
            raise PretrainedError(
                f"{path}: {shown(packed)} in it is compressed, and torch compresses nothing: save the weights again "
                "with torch.save"
            )
        size, total = path.stat().st_size, sum(entry.file_size for entry in entries)
        if total > size:
            raise PretrainedError(f"{path}: its entries say {total:,} bytes, and the file has {size:,}: copy it again")
        if any(entry.filename.endswith("/constants.pkl") for entry in entries):
            raise PretrainedError(f"{path}: this is TorchScript, which is code: take the file of its weights alone")

    tried(path, read, (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError))


def listed(names: Iterable[Any], limit: int = 8) -> str:
    """Names of a foreign file in a sentence: the first few, and how many more there are."""
    names = [shown(name) for name in names]
    rest = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + rest or "nothing"
