"""The images behind an evidence, as one keyed root for each set: who lacks the key cannot tell whether an image is in.

A plain hash of an image would let anyone who has the image ask whether it was trained on, which is what an audit must
not give away. So each image is hashed under a key that stays with the auditor (HMAC-SHA-256), and only the root of the
tree over all of them is written down.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from difgen_cli.engine.grid.document import GridError
from difgen_cli.engine.plan import facts, recipes
from difgen_cli.engine.store import Store
from difgen_cli.gate.subject import JudgedModel
from difgen_cli.report.study import blind

if TYPE_CHECKING:
    import numpy as np

KEY_BYTES = 32
ONLY_MINE = 0o600


@dataclass(frozen=True)
class ImageSet:
    """How many images, how many of them that differ in some value, their root (None without a key), their source."""

    count: int
    distinct: int
    root: str | None
    source: str


def read_key(path: Path, runs: Path, *, make: bool) -> tuple[bytes, bool]:
    """The key in a file of 64 hexadecimal digits, and whether it was made now.

    GridError for a file in the run directory, which is handed on, one that others may read, and one that is no key;
    and, without `make`, where there is none.
    """
    if path.absolute().resolve().is_relative_to(runs.absolute().resolve()):
        raise GridError(f"--key: {path}: lies in the run directory, which is handed on; keep the key elsewhere")
    if not path.exists() and not path.is_symlink():
        if not make:
            raise GridError(f"--key: {path}: there is no such file")
        return _made(path), True
    try:
        about = path.lstat()
        if not stat.S_ISREG(about.st_mode):
            raise GridError(f"--key: {path}: is no plain file")
        if about.st_mode & ~ONLY_MINE & 0o777:
            raise GridError(f"--key: {path}: others may read or write it; run: chmod 600 {path}")
        key = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except OSError as error:
        raise GridError(f"--key: {path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        if isinstance(error, GridError):
            raise
        key = b""
    if len(key) != KEY_BYTES:
        raise GridError(f"--key: {path}: holds no key, which is {2 * KEY_BYTES} hexadecimal digits")
    return key, False


def _made(path: Path) -> bytes:
    key = secrets.token_bytes(KEY_BYTES)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, ONLY_MINE)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(key.hex() + "\n")
    except OSError as error:
        raise GridError(f"--key: {path}: cannot be made ({error.strerror}); name another file") from None
    return key


def key_id(key: bytes) -> str:
    """What tells keys apart, and says nothing of them: 16 hexadecimal digits."""
    return hmac.new(key, b"difgen key", hashlib.sha256).hexdigest()[:16]


def of_subject(store: Store, subject: JudgedModel, key: bytes | None) -> dict[str, ImageSet]:
    """The training images, where they are known, and the held-out images, where there are any."""
    if subject.recipe is None or "subset" not in subject.recipe.inputs:
        return {}
    subset = recipes.measured(subject.recipe.inputs["subset"])
    pool = facts.pool(store, subset.inputs["holdout"].inputs["pool"].key)
    split = facts.split(pool, subset)
    sets = {"train": _set(pool.images[split.train], "train", key, _train_source(subject))}
    if len(split.held_out):
        source = "same_pool" if pool.held_out is None else "declared_same"
        source = "other" if any(blind.reason(row) for row in subject.rows) else source
        sets["held_out"] = _set(pool.images[split.held_out], "held_out", key, source)
    return sets


def _train_source(subject: JudgedModel) -> str:
    return "trained_here" if subject.is_trained_here else "declared"


def _set(images: np.ndarray, role: str, key: bytes | None, source: str) -> ImageSet:
    distinct = len({hashlib.sha256(image.tobytes()).digest() for image in images})
    return ImageSet(len(images), distinct, None if key is None else root(key, role, images), source)


def root(key: bytes, role: str, images: Iterable[np.ndarray]) -> str:
    """The root (hex) of the tree over HMAC-SHA-256 of each image's shape, type and values, in the order of these.

    The order of the images says nothing, their number counts. Leaves and nodes are told apart as in RFC 6962.
    """
    level = sorted(_leaf(key, role, image) for image in images)
    count = len(level)
    while len(level) > 1:
        odd = [level[-1]] if len(level) % 2 else []
        level = [_node(a, b) for a, b in zip(level[::2], level[1::2], strict=False)] + odd
    return hmac.new(key, f"difgen root {role} {count} ".encode() + b"".join(level), hashlib.sha256).hexdigest()


def _leaf(key: bytes, role: str, image: np.ndarray) -> bytes:
    about = f"difgen image {role} {image.dtype} {image.shape} ".encode()
    return hashlib.sha256(b"\0" + hmac.new(key, about + image.tobytes(), hashlib.sha256).digest()).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()


def plain(sets: Mapping[str, ImageSet], key: bytes | None) -> dict[str, Any]:
    """The sets as evidence holds them; a set that is not known is null."""
    return {
        "key_id": None if key is None else key_id(key),
        **{role: vars(sets[role]) if role in sets else None for role in ("train", "held_out")},
    }
