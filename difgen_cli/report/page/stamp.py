"""Whether what a report shows has changed since it was written: then it is drawn again, and else left as it is."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from difgen_cli.engine.store.files import read_json, replace_json
from difgen_cli.report.page.document import reloading

NAME = ".report.json"


def digest(*parts: Any) -> str:
    """A hash of tables, arrays, mappings and texts, and of the code that draws them."""
    hasher = hashlib.sha256(_code().encode())
    for part in parts:
        _add(hasher, part)
    return hasher.hexdigest()


def kept(out: Path, what: str, digest: str) -> list[Path] | None:
    """The files that were written into a folder for this very content; None where one is gone or was changed."""
    entry = (read_json(out / NAME) or {}).get(what, {})
    if entry.get("digest") != digest:
        return None
    files = {out / name: content for name, content in entry["files"].items()}
    return list(files) if all(_content(path) == content for path, content in files.items()) else None


def record(out: Path, what: str, digest: str, files: list[Path]) -> None:
    """Write down what was written into a folder, for `kept`."""
    entries = read_json(out / NAME) or {}
    contents = {path.relative_to(out).as_posix(): _content(path) for path in files}
    replace_json(out / NAME, entries | {what: {"digest": digest, "files": contents}})


def forget(out: Path, what: str) -> None:
    """Remove what was written for a content that is no more."""
    entries = read_json(out / NAME) or {}
    if what not in entries:
        return
    for name in entries.pop(what)["files"]:
        path = (out / name).resolve()
        if path.is_relative_to(out.resolve()):  # whoever may write here may not name what is elsewhere
            path.unlink(missing_ok=True)
    replace_json(out / NAME, entries)


def _content(path: Path) -> str | None:
    """A hash of a file; of a page without the line by which a browser loads it again."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    if path.suffix == ".html":
        content = reloading(content.decode(errors="replace"), on=False).encode()
    return hashlib.sha256(content).hexdigest()


def _add(hasher: Any, part: Any) -> None:
    if isinstance(part, pd.DataFrame):
        hasher.update(json.dumps([str(name) for name in part.columns]).encode())
        for name in part.columns:
            column = part[name]
            plain = column.map(repr) if column.dtype == object else column  # lists cannot be hashed
            hasher.update(pd.util.hash_pandas_object(plain, index=False).to_numpy().tobytes())
    elif isinstance(part, np.ndarray):
        hasher.update(np.ascontiguousarray(part).tobytes())
    elif isinstance(part, dict):
        for key, value in part.items():
            hasher.update(str(key).encode() + b"\0")
            _add(hasher, value)
    else:
        hasher.update(repr(part).encode() + b"\0")


@cache
def _code() -> str:
    """A hash of this package and of the libraries that draw."""
    root = Path(str(resources.files("difgen_cli.report")))
    sources = sorted(file for file in root.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
    hasher = hashlib.sha256(f"{metadata.version('matplotlib')} {metadata.version('bokeh')}".encode())
    for source in sources:
        hasher.update(str(source.relative_to(root)).encode() + source.read_bytes())
    return hasher.hexdigest()
