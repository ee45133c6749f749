"""Files that appear whole or not at all, and results that are written once."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

FULL_BYTES = 1 << 20  # less room than this after a failed write is a full disk


class StoreError(RuntimeError):
    """The run directory cannot be read or written; one sentence. Exit code 3."""


@contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
    except OSError as error:
        raise explain(error, path) from error
    except Exception as error:  # libraries with writers of their own say in their own words that the disk is full
        if not isinstance(error, StoreError) and _full(path.parent):
            raise explain(OSError(errno.ENOSPC, str(error)), path) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _full(folder: Path) -> bool:
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize < FULL_BYTES


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """One process at a time within, as far as the file system can lock; the lock ends with its process."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = path.open("a")
    except OSError as error:
        raise explain(error, path) from error
    with handle:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def inside(root: Path, name: str) -> Path | None:
    """A path that a record of the run directory names; None where it leads out of it, by links or by its words.

    Whoever may write a record could else have another read, copy or write what lies elsewhere.
    """
    try:
        path = (root / name).resolve()
        return path if path.is_relative_to(root.resolve()) else None
    except (OSError, RuntimeError, ValueError):  # a loop of links, a name that no file can have
        return None


def names(folder: Path) -> list[str]:
    """What lies in a folder, hidden files left out; nothing where it is missing."""
    try:
        return [n for n in os.listdir(folder) if not n.startswith(".")]
    except (FileNotFoundError, NotADirectoryError):
        return []


def append(path: Path, line: str) -> None:
    """Add a line to a log of the run directory."""
    try:
        with path.open("a", encoding="utf-8") as handle:
            handle.write(line + "\n")
    except OSError as error:
        raise explain(error, path) from error


def explain(error: OSError, path: Path) -> StoreError:
    """An operating-system error as a sentence that says what to do."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreError(f"{path}: the disk is full; free some space and run the same command again: nothing is lost")
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return StoreError(
            f"{path}: not writable ({error.strerror}); give another folder with --runs or mend its rights"
        )
    return StoreError(f"{path}: {error.strerror or error}")


def publish(path: Path, write: Callable[[Path], None]) -> bool:
    """Write once: `write` fills a temporary file, which is flushed and linked to its name.

    Returns False where the name was taken meanwhile: the winner's file stands.
    """
    with _temporary(path) as temporary:
        write(temporary)
        _flush(temporary)
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        except OSError as error:
            if (
                error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EMLINK)
                or os.access(path.parent, os.W_OK) is False
            ):
                raise
            if path.exists():  # a file system without hard links
                return False
            temporary.replace(path)
        return True


def replace(path: Path, write: Callable[[Path], None]) -> None:
    """Write again: the old file stands until the new one is whole."""
    with _temporary(path) as temporary:
        write(temporary)
        _flush(temporary)
        temporary.replace(path)


def _flush(path: Path) -> None:
    with path.open("rb") as handle:
        os.fsync(handle.fileno())


def text_of(value: Any) -> str:
    """JSON with a line break at its end; NaN is refused, so that every reader can read it."""
    return json.dumps(value, indent=1, allow_nan=False, default=str) + "\n"


def publish_json(path: Path, value: Any) -> bool:
    """`publish` for JSON."""
    content = text_of(value)
    return publish(path, lambda p: _write(p, content))


def replace_json(path: Path, value: Any) -> None:
    """`replace` for JSON."""
    content = text_of(value)
    replace(path, lambda p: _write(p, content))


def _write(path: Path, content: str) -> None:
    path.write_text(content, encoding="utf-8")


def loads(text: str) -> Any:
    """JSON, or None where it is cut short."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return None


def read_json(path: Path) -> Any:
    """JSON, or None where the file is missing, cut short or no JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, UnicodeDecodeError, json.JSONDecodeError):
        return None
