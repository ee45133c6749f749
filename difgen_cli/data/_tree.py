"""What lies in a folder or a .zip archive: its files by name, and what a system or a tool left there."""

import os
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from difgen_cli.data._decoding import counted
from difgen_cli.data._errors import DataError

# Folders and files that no person made, in lower case, beside all that begin with a dot.
LEFT_BEHIND = frozenset({
    "__macosx", "__pycache__", "@eadir", "@recycle", "@tmp", "#recycle", "#snapshot", "$recycle.bin", "recycler",
    "system volume information", "lost+found", "thumbs.db", "ehthumbs.db", "desktop.ini",
})  # fmt: skip


@dataclass(frozen=True)
class Tree:
    """Files in a folder or archive, by their names relative to it, with `/`, sorted as folders and names are.

    files: what a person put there
    hidden: what a system or a tool left there: hidden files, and folders such as __MACOSX, as one each
    empty: sub-folders that hold no file at all
    """

    root: Path
    files: tuple[str, ...]
    hidden: tuple[str, ...]
    empty: tuple[str, ...]

    def read(self, names: Iterable[str]) -> Iterator[bytes | Path]:
        """Each file's path, or its bytes where it is in an archive."""
        if self.root.is_dir():
            yield from (self.root / name for name in names)
            return
        with _archive(self.root) as archive:
            for name in names:
                yield archive.read(name)

    def passed_over(self, taken: Iterable[str]) -> tuple[str, ...]:
        """What lies here and is not taken, in one sentence by kind; nothing where all is."""
        taken = set(taken)
        kinds = [_kind(name) for name in self.files if name not in taken]
        kinds += [f"the folder {name}" if name.endswith("/") else "hidden file" for name in self.hidden]
        kinds += [f"the empty folder {name}" for name in self.empty]
        return (f"passed over in {self.root}: {counted(kinds).replace('1 the', 'the')}",) if kinds else ()


def look(root: Path, levels: int | None = None) -> Tree:
    """What lies in a folder, links followed, or in a .zip archive. DataError where it cannot be looked at.

    levels: of folders that are looked at, the folder itself being one; None: all.
    """
    if root.is_dir():
        files, folders = _walked(root, levels)
    elif root.is_file():
        with _archive(root) as archive:
            names = archive.namelist()
        files, folders = [n for n in names if not n.endswith("/")], [n.rstrip("/") for n in names if n.endswith("/")]
    else:
        raise DataError(f"{root}: there is no such folder: correct data.path")
    hidden = dict.fromkeys(left for name in files if (left := left_behind(name)))
    kept = sorted((name for name in files if not left_behind(name)), key=lambda name: name.split("/"))
    full = {str(parent) for name in files for parent in PurePosixPath(name).parents}
    empty = tuple(folder for folder in sorted(folders) if folder not in full and not left_behind(folder + "/"))
    return Tree(root, tuple(kept), tuple(sorted(hidden)), empty)


def left_behind(name: str) -> str:
    """Of a name, the file or folder (with a `/`) in it that a system left; empty where a person made all of it."""
    parts = name.split("/")
    for i, part in enumerate(parts):
        if part.startswith(".") or part.lower() in LEFT_BEHIND:
            return "/".join(parts[: i + 1]) + ("/" if i + 1 < len(parts) else "")
    return ""


def _kind(name: str) -> str:
    return PurePosixPath(name).suffix.lower() or "without a suffix"


def _walked(root: Path, levels: int | None) -> tuple[list[str], list[str]]:
    """Names of all files and folders; links are followed, but not in circles."""
    files, folders = [], []

    def fail(error: OSError) -> None:
        raise DataError(f"{error.filename}: this folder cannot be read ({error.strerror}): correct its permissions")

    for place, below, names in os.walk(root, followlinks=True, onerror=fail):
        if _leads_back(Path(place)):
            below.clear()
            continue
        start = Path(place).relative_to(root).as_posix()
        prefix = "" if start == "." else start + "/"
        left = [name for name in below if left_behind(name + "/")]  # not walked: they may be large, or closed
        files += [f"{prefix}{name}/" for name in left] + [prefix + name for name in names]
        below[:] = [name for name in below if name not in left]
        folders += [prefix + name for name in below]
        if prefix.count("/") + 1 == levels:
            below.clear()
    return files, folders


def _leads_back(folder: Path) -> bool:
    """Whether a folder is a link to one that holds it."""
    return folder.is_symlink() and folder.parent.resolve().is_relative_to(folder.resolve())


@contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """A .zip archive, its defects as one sentence."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError, NotImplementedError) as error:
        raise DataError(f"{path}: this archive cannot be read ({error}): write it again as a plain .zip") from error
