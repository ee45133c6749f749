"""The part of each worker's log that belongs to the newest attempt at a unit of a cell."""

from __future__ import annotations

import codecs
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from difgen_cli.engine.select import SelectedCell
from difgen_cli.engine.store import RunFolder, Store
from difgen_cli.engine.store.failures import EXIT_REASONS
from difgen_cli.engine.store.files import StoreError, inside
from difgen_cli.engine.store.processes import is_dead

POLL_SECONDS = 0.5
BLOCK_BYTES = 1 << 16
STARTED = b"Starting with JobEnvironment"  # submitit's first line of a worker: a requeued one writes to the same file

Lost = Mapping[tuple[str, str, int], str]  # folder of a trajectory, unit, attempt -> how it ended


@dataclass(frozen=True)
class LogExcerpt:
    """The newest attempt at a unit, and where in which file its worker wrote."""

    folder: RunFolder
    unit: str
    number: int
    record: dict[str, Any]
    path: Path | None
    start: int

    @property
    def running(self) -> bool:
        """Whether its worker may still write: a process of this machine that has ended does not."""
        return self.record["state"] == "running" and not is_dead(self.record.get("owner", {}))

    def refreshed(self, lost: Lost) -> LogExcerpt:
        """The same attempt as it is now."""
        record = dict(self.folder.history(self.unit)).get(self.number, self.record)
        ending = lost.get((self.folder.path.name, self.unit, self.number))
        if ending and record["state"] == "running":
            record = record | {"state": "lost", "ending": ending, "cause": EXIT_REASONS[ending]}
        return replace(self, record=record)


def excerpts(store: Store, cell: SelectedCell, lost: Callable[[], Lost] = dict) -> list[LogExcerpt]:
    """The newest attempts at the training and at the scoring of a cell; those that nobody has begun are missing.

    `lost` returns the attempts whose workers were found dead although no ending is written down yet.
    """
    units = ("train", f"score-{cell.key}")
    newest = (_newest(store, cell.run_folder(store), unit) for unit in units)
    return [excerpt.refreshed(lost()) for excerpt in newest if excerpt is not None]


def _newest(store: Store, folder: RunFolder, unit: str) -> LogExcerpt | None:
    """The last attempt that did something: a release is none."""
    attempts = [(number, record) for number, record in folder.history(unit) if record["state"] != "released"]
    if not attempts:
        return None
    number, record = attempts[-1]
    log = record.get("log") or {}
    path = _inside(store.root, str(log["path"])) if log.get("path") else None
    return LogExcerpt(folder, unit, number, record, path, int(log.get("from") or 0))


def _inside(root: Path, name: str) -> Path:
    """A path that a record names, which must lie in the run directory. Raises StoreError."""
    path = inside(root, name)
    if path is None:
        raise StoreError(f"{name}: a record of {root} names this as a log, and it lies outside the run directory")
    return path


def text(excerpt: LogExcerpt) -> Iterator[str]:
    """What the attempt wrote; without a log, the reason and the last lines that others kept."""
    if excerpt.path is None:
        yield from _words(excerpt, "its worker has no log: it wrote to the terminal in which it ran\n")
        return
    try:
        content = _read(excerpt.path, excerpt.start, _end(excerpt))
    except OSError as error:
        yield from _words(excerpt, f"{excerpt.path}: {error.strerror}\n")
        return
    decoded = content.decode("utf-8", errors="replace")
    yield decoded if decoded.endswith("\n") or not decoded else decoded + "\n"


def _words(excerpt: LogExcerpt, why: str) -> Iterator[str]:
    yield why
    yield from (f"{word}\n" for word in excerpt.record.get("words") or ())


def _end(excerpt: LogExcerpt) -> int | None:
    """Where the attempt's part ends; None for the end of the file."""
    end = (excerpt.record.get("log") or {}).get("to")
    return None if end is None else int(end)


def _read(path: Path, start: int, end: int | None) -> bytes:
    """Bytes of a log; without an end up to where the next worker begins, or all."""
    with path.open("rb") as file:
        file.seek(start)
        content = file.read() if end is None else file.read(max(0, end - start))
    following = content.find(STARTED) if end is None and start else -1
    return content if following < 0 else content[: content.rfind(b"\n", 0, following) + 1]


def follow(excerpt: LogExcerpt, lost: Callable[[], Lost]) -> Iterator[str]:
    """What a running attempt wrote, and writes until it ends."""
    if excerpt.path is None:
        yield from text(excerpt)
    decoder, at, now = codecs.getincrementaldecoder("utf-8")("replace"), excerpt.start, excerpt
    while True:
        now = now.refreshed(lost())
        end = None if now.running else _end(now)
        for block in _blocks(excerpt.path, at, end):
            at += len(block)
            yield decoder.decode(block)
        if not now.running:
            return
        time.sleep(POLL_SECONDS)


def _blocks(path: Path | None, at: int, end: int | None) -> Iterator[bytes]:
    """The bytes of a file from a position on, in pieces."""
    if path is None:
        return
    try:
        with path.open("rb") as file:
            file.seek(at)
            while block := file.read(BLOCK_BYTES if end is None else max(0, min(BLOCK_BYTES, end - file.tell()))):
                yield block
    except OSError:
        return  # not there yet, or a network file system fails for a moment: the next round reads again
