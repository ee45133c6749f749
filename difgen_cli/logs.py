"""What the workers of a cell wrote: the part of each worker's log that belongs to the newest attempt at each unit."""

from __future__ import annotations

import codecs
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from difgen_cli.engine.select import SelectedCell
from difgen_cli.engine.store import Home, Store
from difgen_cli.engine.store.failures import EXIT_REASONS
from difgen_cli.engine.store.files import StoreError, inside
from difgen_cli.engine.store.processes import is_dead

LOOK_SECONDS = 0.5
BLOCK_BYTES = 1 << 16
STARTED = b"Starting with JobEnvironment"  # submitit's first line of a worker: a requeued one writes to the same file

Say = Callable[[str], Any]
Lost = Mapping[tuple[str, str, int], str]  # folder of a trajectory, unit, attempt -> how it ended


@dataclass(frozen=True)
class Passage:
    """The newest attempt at a unit, and where in which file its worker wrote."""

    home: Home
    unit: str
    number: int
    record: dict[str, Any]
    path: Path | None
    start: int

    @property
    def running(self) -> bool:
        """Whether its worker may still write; one of this machine that is gone does not."""
        return self.record["state"] == "running" and not is_dead(self.record.get("owner", {}))

    def again(self, lost: Lost) -> Passage:
        """The same attempt as it is now."""
        record = dict(self.home.history(self.unit)).get(self.number, self.record)
        ending = lost.get((self.home.path.name, self.unit, self.number))
        if ending and record["state"] == "running":
            record = record | {"state": "lost", "ending": ending, "cause": EXIT_REASONS[ending]}
        return replace(self, record=record)


def show(store: Store, cell: SelectedCell, follow: bool, say: Say, lost: Callable[[], Lost] = dict) -> None:
    """Say what the newest training and the newest scoring of a cell wrote, and follow the one that runs.

    `lost` is called before each look: attempts whose workers were found dead, and nobody has written down.
    """
    units = ("train", f"score-{cell.key}")
    passages = [p.again(lost()) for unit in units if (p := _newest(store, cell.home(store), unit))]
    if not passages:
        say(f"nothing has run for cell {cell.index} of {cell.grid} yet\n")
    last = next((p for p in reversed(passages) if p.running), None) if follow else None
    for passage in passages:
        say(heading(passage) + "\n")
        for text in _follow(passage, lost) if passage is last else _text(passage):
            say(text)
    if last is not None:
        say(heading(last.again(lost())) + "\n")


def heading(passage: Passage) -> str:
    """One line: unit, attempt, state, how it ended, host and job."""
    record, owner = passage.record, passage.record.get("owner", {})
    job = owner.get("job")
    parts = [
        f"{passage.unit} of {passage.home.path.name}",
        f"attempt {passage.number}",
        "lost" if record["state"] == "running" and not passage.running else record["state"],
        str(record.get("cause") or record.get("ending") or ""),
        f"on {owner['host']}" if owner.get("host") else "",
        f"job {job}" + (f"_{owner['task']}" if owner.get("task") is not None else "") if job else "",
    ]
    return "── " + ", ".join(part for part in parts if part)


def _newest(store: Store, home: Home, unit: str) -> Passage | None:
    """The last attempt that did something: a release is none."""
    tries = [(n, r) for n, r in home.history(unit) if r["state"] != "released"]
    if not tries:
        return None
    number, record = tries[-1]
    place = record.get("log") or {}
    path = _inside(store.root, str(place["path"])) if place.get("path") else None
    return Passage(home, unit, number, record, path, int(place.get("from") or 0))


def _inside(root: Path, name: str) -> Path:
    """A path that a record names, which must lie in the run directory. Raises StoreError."""
    path = inside(root, name)
    if path is None:
        raise StoreError(f"{name}: a record of {root} names this as a log, and it lies outside the run directory")
    return path


def _text(passage: Passage) -> Iterator[str]:
    """What the attempt wrote; where that is not known, why, and its last words if others kept them."""
    if passage.path is None:
        yield from _words(passage, "its worker kept no log: it wrote to the terminal that it ran in\n")
        return
    try:
        content = _read(passage.path, passage.start, _end(passage))
    except OSError as error:
        yield from _words(passage, f"{passage.path}: {error.strerror}\n")
        return
    text = content.decode("utf-8", errors="replace")
    yield text if text.endswith("\n") or not text else text + "\n"


def _words(passage: Passage, why: str) -> Iterator[str]:
    yield why
    yield from (f"{word}\n" for word in passage.record.get("words") or ())


def _end(passage: Passage) -> int | None:
    """Where the attempt's part ends; None for the end of the file."""
    said = (passage.record.get("log") or {}).get("to")
    return None if said is None else int(said)


def _read(path: Path, start: int, end: int | None) -> bytes:
    """Bytes of a log; without an end up to where the next worker begins, or all."""
    with path.open("rb") as file:
        file.seek(start)
        content = file.read() if end is None else file.read(max(0, end - start))
    following = content.find(STARTED) if end is None and start else -1
    return content if following < 0 else content[: content.rfind(b"\n", 0, following) + 1]


def _follow(passage: Passage, lost: Callable[[], Lost]) -> Iterator[str]:
    """What a running attempt wrote, and writes until it ends."""
    if passage.path is None:
        yield from _text(passage)
    decoder, at, now = codecs.getincrementaldecoder("utf-8")("replace"), passage.start, passage
    while True:
        now = now.again(lost())
        end = None if now.running else _end(now)
        for block in _blocks(passage.path, at, end):
            at += len(block)
            yield decoder.decode(block)
        if not now.running:
            return
        time.sleep(LOOK_SECONDS)


def _blocks(path: Path | None, at: int, end: int | None) -> Iterator[bytes]:
    """What stands in a file after a byte, in pieces."""
    if path is None:
        return
    try:
        with path.open("rb") as file:
            file.seek(at)
            while block := file.read(BLOCK_BYTES if end is None else max(0, min(BLOCK_BYTES, end - file.tell()))):
                yield block
    except OSError:
        return  # not there yet, or a network file system that hiccups: looked at again
