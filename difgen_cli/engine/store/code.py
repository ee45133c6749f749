"""Copies of the code as it was when work was submitted: known by what they hold, and used by their maker alone.

A run directory may be shared: whoever may write to it could change a copy, and what it holds runs as somebody else.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from difgen_cli.engine.store import Store
from difgen_cli.engine.store.access import StoreError, exists, tried

SUFFIXES = (".py", ".css", ".js", ".html", ".typed")
OTHERS_MAY_WRITE = 0o022


def keep(store: Store, parts: Mapping[str, Path]) -> Path:
    """A folder with the sources of `parts`, by the names of these: one that is there and whole, else a new one.

    Raises StoreError where it cannot be written.
    """
    files = {f"{name}/{f.relative_to(top)}": f for name, top in parts.items() for f in _sources(top)}
    folder = store.shared(f"code-{_digest(files)}")
    if _is_mine(folder) and digest(folder) == folder.name.removeprefix("code-"):
        tried(folder, lambda: os.utime(folder), reading=False)  # young: `gc` leaves it, though no submission names it
        return folder
    if exists(folder):  # another's, or changed since: workers may run it, so that it stays as it is
        folder = store.shared(f"code-{secrets.token_hex(8)}")
    _copy(files, folder)
    return folder


def digest(folder: Path) -> str:
    """What a copy holds, in 16 hexadecimal digits: every file but what Python has compiled.

    Raises StoreError where it cannot be read now.
    """
    return _digest({str(f.relative_to(folder)): f for f in _below(folder) if f.parent.name != "__pycache__"})


def _digest(files: Mapping[str, Path]) -> str:
    content = hashlib.sha256(f"user {os.getuid()}".encode())  # each has a copy, which others may not write to
    for name in sorted(files):
        content.update(b"\0" + name.encode() + b"\0" + tried(files[name], files[name].read_bytes))
    return content.hexdigest()[:16]


def _sources(folder: Path) -> list[Path]:
    return sorted(path for path in _below(folder) if path.suffix in SUFFIXES)


def _below(folder: Path, *, folders: bool = False) -> Iterator[Path]:
    """Every file below a folder, and with `folders` every folder too; what only links lead to is no folder."""
    for entry in tried(folder, lambda: list(os.scandir(folder))):
        path = Path(entry.path)
        if tried(path, partial(entry.is_dir, follow_symlinks=False)):
            yield from (path,) if folders else ()
            yield from _below(path, folders=folders)
        elif folders or tried(path, entry.is_file):
            yield path


def _is_mine(folder: Path) -> bool:
    """Whether a folder and all in it belong to this user, and others may not write there."""
    if not exists(folder) or folder.is_symlink():
        return False
    every = [tried(path, path.lstat) for path in (folder, *_below(folder, folders=True))]
    return all(s.st_uid == os.getuid() and not s.st_mode & OTHERS_MAY_WRITE for s in every)


def _copy(files: Mapping[str, Path], folder: Path) -> None:
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.tmp")

    def copy(file: Path, to: Path) -> None:
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, to)

    def close(path: Path) -> None:
        path.chmod(path.stat().st_mode & ~OTHERS_MAY_WRITE)

    try:
        for name, file in files.items():
            tried(folder, partial(copy, file, temporary / name), reading=False)
        for path in (temporary, *_below(temporary, folders=True)):
            tried(folder, partial(close, path), reading=False)
        tried(folder, lambda: temporary.rename(folder), reading=False)
    except (OSError, StoreError):
        if not _is_mine(folder):  # else another command of this user was faster
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
