"""Random twins: of each pair of images a coin decides which is published, so that a claim can be proved later.

The coin of a pair follows from a secret key and the content of both images, so that whoever has the key can show that
nobody chose. The manifest commits to all of it without telling any of it: it has a date and keyed digests (HMAC), no
image, no plain hash of one, and no name of a file.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from difgen_cli.engine.grid.document import GridError
from difgen_cli.engine.store.files import publish, publish_text
from difgen_cli.score.sources import image_files, left_behind
from difgen_cli.text import printable

MANIFEST, PUBLISHED, KEPT = "manifest.json", "published", "kept"
SCHEMA = "difgen claim 1"
KEY = re.compile(r"[0-9a-f]{64}")
KEY_BYTES, MANIFEST_MOST = 32, 64 << 20
LEAST = 7  # pairs, below which even all of them right is no evidence: 2^-6 > 0.01


@dataclass(frozen=True)
class PreparedTwins:
    """Pairs that were published and kept, and what was passed over."""

    pairs: int
    skipped: int  # images without a partner, or that repeat another one byte for byte
    notes: tuple[str, ...]  # files that are no images, in words


def prepare(images: Path, out: Path, key_file: Path, twins: Path | None = None) -> PreparedTwins:
    """Copy one image of each pair into `out/published`, the other into `out/kept`, and write `out/manifest.json`.

    Pairs are drawn at random from the images, or are files of the same name in `images` and `twins`. The key is read,
    or made where there is none. GridError in one sentence where something does not fit; then nothing is written.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise GridError(f"--out: {out} is there already, and a second choice by coins would be a choice; name another")
    for place in filter(None, (out, images, twins)):
        if _inside(key_file, place):
            raise GridError(f"--key: {key_file} lies in {place}, and must stay with you alone; name another place")
    key = _key_of(key_file) if key_file.exists() else secrets.token_bytes(KEY_BYTES)
    digests, skipped, notes = _digests([images] if twins is None else [images, twins])
    pairs = _named_pairs(digests, images, twins) if twins else _random_pairs(digests, key)
    if len(pairs) < LEAST:
        raise GridError(f"IMAGES: {images} gives {len(pairs)} pairs of different images; at least {LEAST} can show use")
    if not key_file.exists():
        _write_key(key_file, key)
    commitments = []
    for number, pair in enumerate(pairs, 1):
        digest = [digests[path] for path in pair]
        published = coin(key, *digest)
        names = [f"{number:06d}{path.suffix.lower()}" for path in pair]
        for side, folder in ((published, PUBLISHED), (1 - published, KEPT)):
            content = pair[side].read_bytes()
            if hashlib.sha256(content).hexdigest() != digest[side]:
                raise GridError(f"IMAGES: {pair[side]} has changed while it was read; begin again")
            publish(out / folder / names[side], partial(_copy, content))
        commitments.append(_commitments(key, number, digest[published], digest[1 - published]))
    manifest = {"schema": SCHEMA, "date": datetime.now(UTC).date().isoformat(), "pairs": commitments}
    text = json.dumps(manifest | {"mac": _mac(key, "manifest", _text(manifest))}, indent=1)
    publish_text(out / MANIFEST, text + "\n")
    left = len(digests) - 2 * len(pairs)
    return PreparedTwins(len(pairs), skipped + left, notes)


def check(claim: Path, keys: Sequence[Path]) -> tuple[list[str], list[str], str]:
    """Names of the published and of the kept files by pair, and the date, of what `prepare` made.

    GridError in one sentence where the manifest, a key or a file is not as it was, or leads out of the folder.
    """
    manifest = _manifest(claim)
    body = {name: value for name, value in manifest.items() if name != "mac"}
    if not keys:
        raise GridError(f"--claim: {claim} was made by `difgen claim prepare`; give its key by --claim-key")
    of_keys = [(_key_of(path), path) for path in keys]
    matching = [key for key, _ in of_keys if _same(manifest["mac"], _mac(key, "manifest", _text(body)))]
    if not matching:
        given = ", ".join(str(path) for path in keys)
        raise GridError(f"--claim-key: {claim / MANIFEST} was not made with {given}, or was changed since")
    key, names = matching[0], {folder: _files(claim / folder) for folder in (PUBLISHED, KEPT)}
    counts = {len(files) for files in names.values()} | {len(manifest["pairs"])}
    if len(counts) > 1:
        raise GridError(
            f"--claim: {claim} does not hold the files of the {len(manifest['pairs'])} pairs of its manifest"
        )
    for number, committed in enumerate(manifest["pairs"], 1):
        paths = [names[folder][number - 1] for folder in (PUBLISHED, KEPT)]
        digest = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
        expected = _commitments(key, number, *digest)
        wrong = next((p for p, a, b in zip(paths, committed, expected, strict=True) if not _same(a, b)), None)
        if wrong is not None:
            raise GridError(f"--claim: {printable(str(wrong))} is not the file that the manifest commits to")
    return [path.name for path in names[PUBLISHED]], [path.name for path in names[KEPT]], str(manifest["date"])


def is_prepared(claim: Path) -> bool:
    """Whether a claim is a folder that `prepare` made."""
    return (claim / MANIFEST).is_file()


def coin(key: bytes, first: str, second: str) -> int:
    """Which of a pair is published, 0 or 1, by the SHA-256 of both: it cannot be known without the key."""
    low, high = sorted((first, second))
    heads = int(_mac(key, "coin", low, high)[0], 16) % 2
    return int((low, high)[heads] == second)


def _commitments(key: bytes, number: int, published: str, kept: str) -> list[str]:
    """What the manifest says of a pair: a digest of each image that only the key can make, and none where the coin
    fell otherwise."""
    if coin(key, published, kept) != 0:
        return ["", ""]
    return [_mac(key, name, str(number), digest) for name, digest in ((PUBLISHED, published), (KEPT, kept))]


def _copy(content: bytes, path: Path) -> None:
    path.write_bytes(content)


def _mac(key: bytes, *parts: str) -> str:
    return hmac.new(key, json.dumps(parts).encode(), hashlib.sha256).hexdigest()


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())


def _text(manifest: dict[str, Any]) -> str:
    return json.dumps(manifest, sort_keys=True)


def _manifest(claim: Path) -> dict[str, Any]:
    path = claim / MANIFEST
    if path.is_symlink() or path.stat().st_size > MANIFEST_MOST:
        raise GridError(f"--claim: {path} is a link, or too large for a manifest")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        pairs, mac, date = content["pairs"], content["mac"], content["date"]
        whole = content["schema"] == SCHEMA and isinstance(mac, str) and isinstance(date, str)
        whole = whole and all(len(pair) == 2 and all(isinstance(x, str) and x for x in pair) for pair in pairs)
    except (ValueError, KeyError, TypeError, RecursionError):
        whole = False
    if not whole:
        raise GridError(f"--claim: {path} is no manifest of `difgen claim prepare`")
    return dict(content)


def _files(folder: Path) -> list[Path]:
    """The files of a folder, by name; GridError for links and folders, which could lead elsewhere."""
    if folder.is_symlink() or not folder.is_dir():
        raise GridError(f"--claim: {folder} is no folder of `difgen claim prepare`")
    files = sorted(path for path in folder.iterdir() if not left_behind(path.name))
    if wrong := next((path for path in files if path.is_symlink() or not path.is_file()), None):
        raise GridError(f"--claim: {printable(str(wrong))} is a link or a folder, which could lead elsewhere")
    return files


def _digests(folders: Sequence[Path]) -> tuple[dict[Path, str], int, tuple[str, ...]]:
    """SHA-256 (hex) of each image file, each content once, how many repeat another one, and what is no image.

    GridError for an image that cannot be read: once it is published, nothing could be asked about it.
    """
    digests: dict[Path, str] = {}
    seen, repeated, notes = set[str](), 0, list[str]()
    for folder in folders:
        if not folder.is_dir():
            raise GridError(f"IMAGES: {folder}: there is no such folder; name one with image files")
        names, others = image_files("IMAGES", folder)
        notes += others
        for path in sorted(folder / name for name in names):
            if not path.resolve().is_relative_to(folder.resolve()):
                raise GridError(f"IMAGES: {printable(str(path))} leads out of {folder}; replace the link by the file")
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            repeated += digest in seen
            if digest not in seen:
                digests[path] = digest
            seen.add(digest)
    return digests, repeated, tuple(notes)


def _random_pairs(digests: dict[Path, str], key: bytes) -> list[tuple[Path, Path]]:
    """Pairs in an order that the key decides."""
    order = sorted(digests, key=lambda path: _mac(key, "order", digests[path]))
    return list(zip(order[::2], order[1::2], strict=False))


def _named_pairs(digests: dict[Path, str], images: Path, twins: Path) -> list[tuple[Path, Path]]:
    others = {path.relative_to(twins): path for path in digests if path.is_relative_to(twins)}
    ours = [path for path in digests if path.is_relative_to(images)]
    return [(path, others[path.relative_to(images)]) for path in ours if path.relative_to(images) in others]


def _inside(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())


def _key_of(path: Path) -> bytes:
    try:
        text = path.read_text(encoding="ascii").strip() if path.stat().st_size < 1024 else ""
    except (OSError, UnicodeDecodeError):
        text = ""
    if not KEY.fullmatch(text):
        raise GridError(f"{path}: is no key of `difgen claim prepare` (64 hexadecimal digits)")
    return bytes.fromhex(text)


def _write_key(path: Path, key: bytes) -> None:
    """Readable by its owner alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        file.write(key.hex() + "\n")
