"""Files of the run directory that appear whole or not at all, and results that are written once."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from difgen_cli.engine.store.access import ANSWERS, StoreError, acted, explain, status, tried

__all__ = [
    "StoreError", "append", "check_schema", "explain", "inside", "loads", "locked", "publish", "publish_json",
    "read_json", "remove", "replace", "replace_json", "temporary_name", "text_of",
]  # fmt: skip

FULL_BYTES = 1 << 20  # less room than this after a failed write is a full disk
WITHOUT_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS})


def temporary_name(path: Path) -> Path:
    """A hidden name beside a path that no other process has: numbers of processes repeat on other machines."""
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")


@contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    temporary = temporary_name(path)
    try:
        tried(path, lambda: path.parent.mkdir(parents=True, exist_ok=True), reading=False)
        yield temporary
    except OSError as error:
        raise explain(error, path) from error
    except Exception as error:  # libraries with writers of their own say in their own words that the disk is full
        if not isinstance(error, StoreError) and _full(path.parent):
            raise explain(OSError(errno.ENOSPC, str(error)), path) from error
        raise
    finally:
        with suppress(OSError):  # `difgen gc` removes what is left
            temporary.unlink(missing_ok=True)


def _full(folder: Path) -> bool:
    try:
        disk = os.statvfs(folder)
    except OSError:
        return False
    return disk.f_bavail * disk.f_frsize < FULL_BYTES


def _written(path: Path, temporary: Path, write: Callable[[Path], None]) -> None:
    """The content on the disk, under its temporary name."""

    def act() -> None:
        write(temporary)
        with temporary.open("rb") as handle:
            os.fsync(handle.fileno())

    tried(path, act, reading=False)


def inside(root: Path, name: str) -> Path | None:
    """A path that a record of the run directory names; None where it leads out of it, by links or by its words.

    Whoever may write a record could else have another read, copy or write what lies elsewhere.
    """
    try:
        path = (root / name).resolve()
        return path if path.is_relative_to(root.resolve()) else None
    except (OSError, RuntimeError, ValueError):  # a loop of links, a name that no file can have
        return None


def publish(path: Path, write: Callable[[Path], None]) -> bool:
    """Write once: `write` fills a temporary file, which is flushed and linked to its name.

    Returns False where the name was taken meanwhile: the winner's file stands.
    """
    with _temporary(path) as temporary:
        _written(path, temporary, write)
        return tried(path, lambda: _linked(temporary, path), reading=False)


def _linked(temporary: Path, path: Path) -> bool:
    try:
        os.link(temporary, path)
    except FileExistsError:
        # A network file system that loses the reply to a link asks again, and hears of its own: nobody else knows of
        # the temporary file.
        return temporary.stat().st_nlink > 1
    except OSError as error:
        if error.errno not in WITHOUT_LINKS or not os.access(path.parent, os.W_OK):
            raise
        if path.exists():
            return False
        temporary.replace(path)
    return True


def replace(path: Path, write: Callable[[Path], None]) -> None:
    """Write again: the old file stands until the new one is whole."""
    with _temporary(path) as temporary:
        _written(path, temporary, write)
        mine = status(temporary)
        try:
            tried(path, lambda: temporary.replace(path), reading=False)
        except FileNotFoundError:  # the first try was done, and its reply lost; or all of it was removed meanwhile
            current = status(path)
            if mine is None or current is None or current.st_ino != mine.st_ino:
                raise


def remove(path: Path) -> None:
    """Remove a file, if it is there. Raises StoreError where that is not allowed."""
    tried(path, lambda: path.unlink(missing_ok=True), reading=False)


def text_of(value: Any) -> str:
    """JSON with a line break at its end; NaN is refused, so that every reader can read it."""
    return json.dumps(value, indent=1, allow_nan=False, default=str) + "\n"


def publish_json(path: Path, value: Any) -> bool:
    """`publish` for JSON."""
    return publish_text(path, text_of(value))


def publish_text(path: Path, content: str) -> bool:
    """`publish` for text, in UTF-8."""
    return publish(path, lambda p: _write(p, content))


def replace_json(path: Path, value: Any) -> None:
    """`replace` for JSON."""
    replace_text(path, text_of(value))


def replace_text(path: Path, content: str) -> None:
    """`replace` for text, in UTF-8."""
    replace(path, lambda p: _write(p, content))


def _write(path: Path, content: str) -> None:
    path.write_text(content, encoding="utf-8")


def append(path: Path, line: str) -> None:
    """Add a line to a log of the run directory."""

    def act() -> None:
        with path.open("a", encoding="utf-8") as handle:
            handle.write(line + "\n")

    acted(path, act)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """One process at a time within, as far as the file system can lock; the lock ends with its process."""

    def act() -> IO[str]:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("a", encoding="utf-8")

    with acted(path, act) as handle:
        with suppress(OSError):  # a file system without locks: what is written in there must bear it
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


# Reading JSON ------------------------------------------------------------------------------------------------------


def loads(content: str) -> Any:
    """JSON, or None where it is cut short."""
    try:
        return json.loads(content)
    except json.JSONDecodeError:
        return None


def read_json(path: Path) -> Any:
    """JSON, or None where the file is missing, cut short or no JSON. Raises StoreError where it cannot be read."""
    try:
        return json.loads(tried(path, path.read_bytes).decode("utf-8"))
    except (*ANSWERS, ValueError):
        return None


def check_schema(path: Path, schema: Any, newest: int) -> None:
    """Raise StoreError where a file is of a newer layout than this difgen knows; older ones are all readable."""
    if schema is not None and int(schema) > newest:
        raise StoreError(
            f"{path}: was written by a newer difgen (layout {schema}, this one knows {newest}); use that one"
        )
