"""Access to the run directory: what a passing error is, what each other one means, and what is proved damaged.

A passing error, as network file systems have them, is tried again; every other becomes a StoreError: one sentence. What
cannot be read now is not damaged: only what its own content proves to be no whole file is set aside.
"""

from __future__ import annotations

import errno
import os
import pickle
import re
import struct
import sys
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, TypeVar

T = TypeVar("T")

# Errors that pass: a file that another machine has renamed over, a server that is busy or starts anew.
PASSING = frozenset({errno.ESTALE, errno.EINTR, errno.EAGAIN, errno.ETIMEDOUT, errno.EIO, errno.EBUSY})
PAUSES_SECONDS = (0.02, 0.1, 0.4)  # before an access is tried again
FORBIDDEN = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
ANSWERS = (FileNotFoundError, FileExistsError, NotADirectoryError)  # what lies there or not: nothing went wrong
RUST = re.compile(r"\(os error (\d+)\)")
DAMAGE = (EOFError, ValueError, KeyError, struct.error, zlib.error, zipfile.BadZipFile, pickle.UnpicklingError)


class StoreError(RuntimeError):
    """The run directory cannot be read or written; one sentence. Exit code 3."""


class NotWritableError(StoreError):
    """This person may not write there."""


class DamagedError(StoreError):
    """A file whose content proves that it is not as it was written: cut short, or with other bits."""


def explain(error: OSError, path: Path, *, reading: bool = False) -> StoreError:
    """An operating-system error as a sentence that says what to do."""
    reason = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreError(f"{path}: the disk is full; free some space and run the same command again: nothing is lost")
    if error.errno in FORBIDDEN and reading:
        return StoreError(f"{path}: not readable ({reason}); ask its owner for the right to read it")
    if error.errno in FORBIDDEN:
        return NotWritableError(
            f"{path}: not writable ({reason}); give another folder with --runs or change its permissions"
        )
    if error.errno in PASSING:
        return StoreError(
            f"{path}: {reason}, {len(PAUSES_SECONDS) + 1} times; run the same command again: nothing is lost"
        )
    return StoreError(f"{path}: {reason}")


def tried(path: Path, act: Callable[[], T], *, reading: bool = True) -> T:
    """What `act` returns, which reads or writes a path of the run directory: again where an error may pass.

    Raises FileNotFoundError, FileExistsError and NotADirectoryError as they are, and StoreError for every other
    OSError of the system. One without a number is a library's word on what it has read, and not ours to explain.
    """
    handled = sys.exc_info()[1]
    for pause in (*PAUSES_SECONDS, None):
        try:
            return act()
        except ANSWERS:
            raise
        except Exception as error:
            number = _number(error, handled)
            if number is None:
                raise
            if pause is None or number not in PASSING:
                raise explain(OSError(number, os.strerror(number)), path, reading=reading) from error
            time.sleep(pause)
    raise AssertionError


def acted(path: Path, act: Callable[[], T]) -> T:
    """The same for what writes, where no answer but success is expected: StoreError for every error of the system."""
    try:
        return tried(path, act, reading=False)
    except OSError as error:
        raise explain(error, path) from error


def _number(error: BaseException | None, handled: BaseException | None) -> int | None:
    """The number of an error of the system, in whatever exception it comes: safetensors has one of its own, and
    torch's writer raises another while it handles that of the file. `handled`: what was being handled before.
    """
    while error is not None and error is not handled and not isinstance(error, (StoreError, *ANSWERS)):
        if isinstance(error, OSError):
            return error.errno
        if type(error).__name__ == "SafetensorError" and (reported := RUST.search(str(error))):
            return int(reported[1])
        error = error.__cause__ or error.__context__
    return None


# What is there -------------------------------------------------------------------------------------------------------


def exists(path: Path) -> bool:
    """Whether a path is there. Raises StoreError where that cannot be told."""
    return status(path) is not None


def status(path: Path) -> os.stat_result | None:
    """The status of what a path leads to; None where nothing is there."""
    try:
        return tried(path, path.stat)
    except ANSWERS:
        return None


def names(folder: Path) -> list[str]:
    """What lies in a folder, hidden files left out; nothing where it is missing."""
    try:
        return [n for n in tried(folder, lambda: os.listdir(folder)) if not n.startswith(".")]
    except ANSWERS:
        return []


# Reading -------------------------------------------------------------------------------------------------------------


def parsed(path: Path, parse: Callable[[Path], T]) -> T:
    """What a parser makes of a file.

    Raises FileNotFoundError where it is missing, DamagedError where that is proved, and StoreError where it cannot be
    read now; whatever else the parser raises, for want of memory above all, says nothing of the file.
    """
    try:
        return tried(path, lambda: parse(path))
    except (*ANSWERS, StoreError):
        raise
    except Exception as error:
        if _is_damage(error) or _is_bad_zip(path):
            raise DamagedError(f"{path}: is damaged ({type(error).__name__}: {error})") from error
        raise


def _is_damage(error: Exception) -> bool:
    if isinstance(error, MemoryError):  # pyarrow's is a ValueError's sibling
        return False
    if isinstance(error, OSError):  # of pyarrow and PIL: the system's own have a number
        return error.errno is None
    return isinstance(error, DAMAGE) or type(error).__name__ == "SafetensorError"


def _is_bad_zip(path: Path) -> bool:
    """Whether a file is a zip archive by its first bytes, and its checksums are wrong."""

    def act() -> bool:
        with path.open("rb") as file:
            if file.read(2) != b"PK":
                return False
            try:
                check_zip(file)
            except (NotImplementedError, *DAMAGE):  # an odd way of packing, by a flipped bit
                return True
        return False

    try:
        return tried(path, act)
    except ANSWERS:
        return False


def check_zip(path: Path | IO[bytes]) -> None:
    """Raise BadZipFile where a zip archive is cut short, or a checksum in it is wrong."""
    with zipfile.ZipFile(path) as archive:
        if (member := archive.testzip()) is not None:
            raise zipfile.BadZipFile(f"wrong checksum of {member}")


def remade(path: Path, parse: Callable[[Path], T]) -> T | None:
    """What a parser makes of a file that can be made again; None where it is missing or damaged and so set aside.

    Raises StoreError where it cannot be read now.
    """
    before = _version(path)
    try:
        return parsed(path, parse)
    except ANSWERS:
        return None
    except DamagedError as error:
        if _version(path) == before:  # else another has set it aside, and made it again
            set_aside(path, str(error))
        return None


def _version(path: Path) -> tuple[int, int] | None:
    facts = status(path)
    return facts and (facts.st_ino, facts.st_mtime_ns)


def set_aside(path: Path, why: str) -> None:
    """Give a damaged file another name, and say so; another may have done it, or this person may not."""
    to = path.with_name(path.stem + ".broken")
    try:
        tried(path, lambda: path.rename(to), reading=False)
    except (*ANSWERS, NotWritableError):
        return
    print(f"{why}; set aside as {to.name}", file=sys.stderr, flush=True)


def text(path: Path) -> str:
    """A text as UTF-8. Raises FileNotFoundError, and StoreError where it cannot be read."""
    return tried(path, lambda: path.read_bytes()).decode("utf-8", errors="replace")
