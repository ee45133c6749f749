"""What files hold, by SHA-256, of which identities are made; and what tells that they have changed."""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path


def sha256(path: Path) -> str:
    """SHA-256 (hex) of a whole file; read again only where its size, its times or the file itself are others.

    Raises OSError where it cannot be read.
    """
    facts = path.stat()
    return _sha256(path, facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)


def sha256_of_all(paths: Iterable[Path]) -> str:
    """That of one file, else SHA-256 (hex) of the SHA-256 of each, one a line: their order counts, no name does."""
    return joined([sha256(path) for path in paths])


def joined(digests: Sequence[str]) -> str:
    """The one digest, else the SHA-256 (hex) of all of them, one a line."""
    return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()


def stamps(path: Path, above: frozenset[tuple[int, int]] = frozenset()) -> Iterator[tuple[str, int, int, int]]:
    """What tells that files have changed: name, size, and when the content and the rest last changed, which no copy
    sets back. Links are followed, as readers of data do, but for those that lead to a folder `above`."""
    try:
        status = path.stat()
    except OSError:
        return
    itself = (status.st_dev, status.st_ino)
    if not path.is_dir():
        yield str(path), status.st_size, status.st_mtime_ns, status.st_ctime_ns
    elif itself not in above:
        for name in sorted(os.listdir(path)):
            yield from stamps(path / name, above | {itself})


@cache
def _sha256(path: Path, *_status: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
