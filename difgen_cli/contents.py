"""SHA-256 of files: what an identity is made of, whatever a path is called."""

import hashlib
from collections.abc import Iterable
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
    digests = [sha256(path) for path in paths]
    return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()


@cache
def _sha256(path: Path, *_status: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
