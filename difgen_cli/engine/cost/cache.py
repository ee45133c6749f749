"""Measured numbers that outlive a process: one small file each in the user's cache folder, which may be deleted.

Nothing here is an error: where a file cannot be read or written, the measuring is done again.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

Numbers = dict[str, float]


def folder() -> Path | None:
    """$XDG_CACHE_HOME/difgen, else ~/.cache/difgen; None for a user without a home."""
    configured = Path(os.environ.get("XDG_CACHE_HOME", ""))
    with suppress(RuntimeError):
        return (configured if configured.is_absolute() else Path.home() / ".cache") / "difgen"
    return None


def remembered(
    what: str, about: dict[str, Any], names: set[str], measure: Callable[[], Numbers | None], *, again: bool = False
) -> Numbers | None:
    """The positive numbers called `names` that `measure` gave for `about`, a thing's identity; None is not kept.

    `again` measures in any case, and keeps the greater of each number then and now.
    """
    answer = decided(what, about, names, measure, again=again)
    return None if isinstance(answer, str) else answer


def decided(
    what: str, about: dict[str, Any], names: set[str], measure: Callable[[], Numbers | str | None],
    *, again: bool = False,
) -> Numbers | str | None:  # fmt: skip
    """The same where `measure` may refuse with a sentence, which is remembered too."""
    path = _path(what, about)
    content = _read(path)
    kept = _numbers(content, names)
    if kept is None and isinstance(content.get("refused"), str):
        return str(content["refused"])
    if kept and not again:
        return kept
    measured = measure()
    if not measured:
        return kept
    if kept and isinstance(measured, dict):
        measured = {name: max(measured[name], kept[name]) for name in names}
    _write(path, {"about": about, "refused" if isinstance(measured, str) else "found": measured})
    return measured


def _path(what: str, about: dict[str, Any]) -> Path | None:
    where = folder()
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
    return where / f"{what}-{digest}.json" if where else None


def _read(path: Path | None) -> dict[str, Any]:
    """What a file says; nothing where it is missing or broken."""
    try:
        content = json.loads(path.read_text(encoding="utf-8")) if path else {}
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _numbers(content: dict[str, Any], names: set[str]) -> Numbers | None:
    """The positive numbers of a file; None where it has something else."""
    try:
        numbers = {name: float(content["found"][name]) for name in names}
    except (ValueError, KeyError, TypeError):
        return None
    return numbers if all(math.isfinite(n) and n > 0 for n in numbers.values()) else None


def _write(path: Path | None, content: dict[str, Any]) -> None:
    """The whole file or none: others may write it at the same moment."""
    if path is None:
        return
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(content, file)
        Path(name).replace(path)
