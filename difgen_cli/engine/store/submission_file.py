"""The small files in the folder of a submission, which its launcher and its workers write and everybody reads.

submission.json    what was asked for, written once before anything starts
receipt.json       what the scheduler answered: a job, or why not
workers/<k>.json   the record of each worker
closed.json        nothing of it lives any more
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from difgen_cli.engine.store.access import exists, names
from difgen_cli.engine.store.files import check_schema, publish_json, read_json

NAME = "submission.json"
SCHEMA = 2


def folders(grid: Path) -> list[Path]:
    """The folders of a grid's submissions, oldest first."""
    numbers = (name for name in names(grid / "submissions") if name.isdigit())
    return [grid / "submissions" / number for number in sorted(numbers, key=int)]


def read(folder: Path) -> dict[str, Any]:
    """What it holds, of whichever layout; nothing where its writer died before it was whole."""
    content: dict[str, Any] = read_json(folder / NAME) or {}
    return content


def read_checked(folder: Path) -> dict[str, Any]:
    """The same; raises StoreError where its layout is a newer difgen's."""
    content = read(folder)
    check_schema(folder / NAME, content.get("schema"), SCHEMA)
    return content


def write(folder: Path, content: Mapping[str, Any]) -> None:
    """Write it, once."""
    publish_json(folder / NAME, {"schema": SCHEMA, **content})


def receipt(folder: Path) -> dict[str, Any] | None:
    """What the scheduler answered; None where that was never written down."""
    content: dict[str, Any] | None = read_json(folder / "receipt.json")
    return content


def is_closed(folder: Path) -> bool:
    """Whether nothing of it lives any more, or nothing of it ever did."""
    return exists(folder / "closed.json") or "refused" in (receipt(folder) or {})


def worker_records(folder: Path) -> list[dict[str, Any]]:
    """What its workers last wrote of themselves."""
    files = sorted(name for name in names(folder / "workers") if name.endswith(".json"))
    return [record for name in files if (record := read_json(folder / "workers" / name)) is not None]


def working(folder: Path) -> list[dict[str, Any]]:
    """The records of workers that have not written that they left."""
    return [record for record in worker_records(folder) if record.get("state") in ("starting", "running")]
