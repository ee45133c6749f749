"""Copies of the code as it was when work was submitted: known by what they hold, and used by their maker alone.

A run directory may be shared: whoever may write to it could change a copy, and what it holds runs as somebody else.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path

from difgen_cli.engine.store import Store
from difgen_cli.engine.store.access import tried

SUFFIXES = (".py", ".css", ".js", ".html", ".typed")
OTHERS_MAY_WRITE = 0o022


def keep(store: Store, parts: Mapping[str, Path]) -> Path:
    """A folder with the sources of `parts`, by the names of these: one that is there and whole, else a new one."""
    files = {f"{name}/{f.relative_to(top)}": f for name, top in parts.items() for f in _sources(top)}
    folder = store.shared(f"code-{_digest(files)}")
    return tried(folder, lambda: _kept(store, files, folder), reading=False)


def _kept(store: Store, files: Mapping[str, Path], folder: Path) -> Path:
    if _is_mine(folder) and _digest_of(folder) == folder.name.removeprefix("code-"):
        os.utime(folder)  # young again: `gc` leaves it, though no submission names it yet
        return folder
    if folder.exists():  # another's, or changed since: workers may run it, so that it stays as it is
        folder = store.shared(f"code-{secrets.token_hex(8)}")
    _copy(files, folder)
    return folder


def digest(folder: Path) -> str:
    """What a copy holds, in 16 hexadecimal digits: every file but what Python has compiled.

    Raises StoreError where it cannot be read now.
    """
    return tried(folder, lambda: _digest_of(folder))


def _digest_of(folder: Path) -> str:
    files = (f for f in folder.rglob("*") if f.is_file() and f.parent.name != "__pycache__")
    return _digest({str(f.relative_to(folder)): f for f in files})


def _digest(files: Mapping[str, Path]) -> str:
    state = hashlib.sha256(f"user {os.getuid()}".encode())  # each has a copy, which others may not write to
    for name in sorted(files):
        state.update(b"\0" + name.encode() + b"\0" + files[name].read_bytes())
    return state.hexdigest()[:16]


def _sources(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix in SUFFIXES)


def _is_mine(folder: Path) -> bool:
    """Whether a folder and all in it belong to this user, and others may not write there."""
    every = [p.lstat() for p in (folder, *folder.rglob("*"))] if folder.is_dir() and not folder.is_symlink() else []
    return bool(every) and all(s.st_uid == os.getuid() and not s.st_mode & OTHERS_MAY_WRITE for s in every)


def _copy(files: Mapping[str, Path], folder: Path) -> None:
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.tmp")
    try:
        for name, file in files.items():
            (temporary / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, temporary / name)
        for path in (temporary, *temporary.rglob("*")):
            path.chmod(path.stat().st_mode & ~OTHERS_MAY_WRITE)
        temporary.rename(folder)
    except OSError:
        if not _is_mine(folder):  # else another command of this user was faster
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
