"""Attempts: one file is claim, heartbeat, status and history.

`attempts/<unit>.<n>.json` appears whole with n = last + 1, so that one claimant wins, and is rewritten by its owner
alone. A claim has expired when its counter stood still for the lease time on the observer's own clock, or when its
owner is known to be gone: clocks of different machines are never compared. How an owner ended that could not say it
itself is written once, by whoever learns it, to `<unit>.<n>.ending.json`.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any

from difgen_cli.engine.store import failures
from difgen_cli.engine.store.access import exists, names
from difgen_cli.engine.store.files import StoreError, check_schema, inside, publish_json, read_json, replace_json
from difgen_cli.engine.store.processes import is_dead, now, process_identity

SCHEMA = 2
LEASE_SECONDS = 120.0
BEAT_SECONDS = 5.0
# Attempts in a row, in one submission, that got no further and that nothing outside is to blame for.
MOST_FRUITLESS = 5
MOST_OUT_OF_MEMORY = 2  # the same need for memory will not fit the next time

Record = dict[str, Any]


@dataclass
class Attempt:
    """One worker's try at one unit."""

    path: Path
    unit: str
    number: int
    record: Record
    beat_seconds: float = BEAT_SECONDS
    _displaced: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def beat(self, **fields: Any) -> None:
        """Rewrite the file with a higher counter and what is new; a no-op once ended."""
        with self._lock:
            if self.record["state"] == "running":
                self._rewrite(fields | {"time": now()})

    def end(self, state: str, **fields: Any) -> None:
        """Say how it ended: done, interrupted or failed, with the ending's name and the cause."""
        with self._lock:
            if log := self.record.get("log"):
                place = inside(_root(self.path.parent), str(log["path"]))
                fields["log"] = log | {"to": _size(place) if place else None}
            self._rewrite(fields | {"state": state, "ended": now()})

    def _rewrite(self, fields: Record) -> None:
        """Write the file anew, unless it has come to be another's: it may have been deleted and claimed again."""
        self.record |= fields | {"counter": self.record["counter"] + 1}
        current = read_json(self.path)
        if current is None and not exists(self.path):
            self._displaced |= not publish_json(self.path, self.record)
        elif current is not None and current.get("token") != self.record["token"]:
            self._displaced = True
        else:
            replace_json(self.path, self.record)

    def superseded(self) -> bool:
        """Whether another has taken the unit over: an owner that finds this leaves without publishing."""
        current = read_json(self.path)
        self._displaced |= current is not None and current.get("token") != self.record["token"]
        return self._displaced or exists(self.path.with_name(f"{self.unit}.{self.number + 1}.json"))

    @contextmanager
    def beating(self) -> Iterator[None]:
        """Heartbeats from a thread while the body runs."""
        stop = threading.Event()

        def run() -> None:
            while not stop.wait(self.beat_seconds):
                with suppress(Exception):  # the claim ages, and the owner meets the same error where it writes results
                    self.beat()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


@dataclass
class Claimant:
    """One process that claims units: who it works for, and what it has seen of others on its own monotonic clock."""

    lease_seconds: float = LEASE_SECONDS
    submission: str = ""
    log: str | None = None  # the file that it writes to, relative to the run directory
    check: Callable[[], None] = lambda: None  # raises where it must not wait any longer
    seen: dict[Path, tuple[int, float]] = field(default_factory=dict)

    def expired(self, path: Path, record: Record) -> bool:
        """Whether a running attempt's owner is gone or silent for longer than the lease."""
        if is_dead(record["owner"]):
            return True
        counter, since = self.seen.get(path, (None, 0.0))
        if counter != record["counter"]:
            self.seen[path] = (record["counter"], time.monotonic())
            return False
        return time.monotonic() - since > self.lease_seconds

    def about(self, folder: Path) -> Record:
        """What the record of a claim in an attempts folder says of it."""
        place = {"path": self.log, "from": _size(_root(folder) / self.log)} if self.log else None
        return {"submission": self.submission, "log": place}


def history(folder: Path, unit: str) -> list[tuple[int, Record]]:
    """All attempts at a unit, oldest first; a file that is cut short counts as a lost attempt."""
    numbers = []
    for name in names(folder):
        if name.startswith(unit + ".") and name.endswith(".json"):
            middle = name[len(unit) + 1 : -5]
            if middle.isdigit():
                numbers.append(int(middle))
    return [(n, read(folder, unit, n)) for n in sorted(numbers)]


def read(folder: Path, unit: str, number: int) -> Record:
    """One attempt; `lost` where its owner is known to be gone, with the ending that others wrote down."""
    path = folder / f"{unit}.{number}.json"
    record: Record = read_json(path) or {"state": "lost", "counter": 0, "owner": {}}
    check_schema(path, record.get("schema"), SCHEMA)
    if record["state"] == "running" and (ending := read_json(_ending(folder, unit, number))) is not None:
        record |= ending | {"state": "lost"}
    return record


def _ending(folder: Path, unit: str, number: int) -> Path:
    return folder / f"{unit}.{number}.ending.json"


def claim(folder: Path, unit: str, claimant: Claimant, complete: Callable[[], bool] = lambda: False) -> Attempt | None:
    """Claim a unit; None where another holds it, where it has failed, or where another was faster.

    `complete` says whether all that the unit makes exists. It is asked after the attempts were read: one that ended
    since the caller looked has left its results, and the unit would be done twice.
    """
    past = history(folder, unit)
    number, last = past[-1] if past else (0, Record(state="none"))
    if last["state"] == "failed" or (last["state"] == "done" and complete()):
        return None
    if last["state"] == "running":
        if not claimant.expired(folder / f"{unit}.{number}.json", last):
            return None
        record_death(folder, unit, number, "killed" if is_dead(last["owner"]) else "silent", "the next worker")
        past[-1] = (number, read(folder, unit, number))
    opening = _opening(unit, number + 1, last) | claimant.about(folder)
    cause = _hopeless(unit, [record for _, record in past], claimant.submission)
    if cause is not None:
        publish_json(folder / f"{unit}.{number + 1}.json", opening | {"state": "failed", "ended": now()} | cause)
        return None
    beat_seconds = min(BEAT_SECONDS, claimant.lease_seconds / 4)
    attempt = Attempt(folder / f"{unit}.{number + 1}.json", unit, number + 1, opening, beat_seconds)
    return attempt if publish_json(attempt.path, attempt.record) else None


def record_death(folder: Path, unit: str, number: int, ending: str, by: str) -> None:
    """Write down once how an attempt ended whose owner could not say it: what its log tells is better than a guess."""
    record = read_json(folder / f"{unit}.{number}.json") or {}
    if record.get("state", "running") != "running":
        return
    log = record.get("log")
    place = inside(_root(folder), str(log["path"])) if log else None
    words = failures.last_lines(place) if place else []
    if ending in ("killed", "silent", "cancelled"):
        ending = failures.of_log(words) or ending
    with suppress(StoreError):  # a full disk: the next one writes it
        publish_json(
            _ending(folder, unit, number),
            {"ending": ending, "cause": failures.sentence(ending, words), "words": words, "by": by, "ended": now()},
        )


def release(folder: Path, unit: str) -> None:
    """Let a failed unit be tried again, keeping its history."""
    past = history(folder, unit)
    if past and past[-1][1]["state"] == "failed":
        number = past[-1][0] + 1
        opening = _opening(unit, number, past[-1][1])
        publish_json(folder / f"{unit}.{number}.json", opening | {"state": "released"})


def _opening(unit: str, number: int, last: Record) -> Record:
    """A new record, which takes over how far the unit has come."""
    return {"schema": SCHEMA, "unit": unit, "attempt": number, "token": secrets.token_hex(8), "state": "running",
            "counter": 0, "step": last.get("step", 0), "owner": process_identity(), "started": now()}  # fmt: skip


def _hopeless(unit: str, past: list[Record], submission: str | None) -> Record | None:
    """Why a unit is not tried again: it ended too often without getting further, by its own doing.

    One that runs out of memory again and again is given up even if each attempt got a little further.
    """
    starved = _starved(past, submission)
    fruitless = starved if len(starved) >= MOST_OUT_OF_MEMORY else _fruitless(past, submission)
    if starved is not fruitless and len(fruitless) < MOST_FRUITLESS:
        return None
    ending = str(fruitless[-1].get("ending") or "killed")
    remedy = failures.advice(ending, unit)
    cause = f"{failures.EXIT_REASONS[ending]}, {len(fruitless)} times at step {fruitless[-1].get('step', 0)}"
    return {
        "ending": ending, "cause": f"{cause}; {remedy}" if remedy else cause,
        "words": fruitless[-1].get("words", []), "log": fruitless[-1].get("log"),
    }  # fmt: skip


def _starved(past: list[Record], submission: str | None) -> list[Record]:
    """The attempts at the end that ran out of memory."""

    def starved(record: Record) -> bool:
        return record.get("ending") == "out_of_memory" and record.get("submission") == submission

    return list(takewhile(starved, reversed(past)))[::-1]


def _fruitless(past: list[Record], submission: str | None) -> list[Record]:
    """The attempts at the end, oldest first, that got no further than the one before; those of others do not count."""
    fruitless: list[Record] = []
    for before, record in reversed(list(zip([Record(), *past], past, strict=False))):
        if record.get("ending") in failures.NOT_COUNTED:
            continue
        ended = record["state"] in ("lost", "running") or record.get("ending") == "time_limit"
        further = record.get("step", 0) > before.get("step", 0)
        if not ended or further or record.get("submission") != submission:
            break
        fruitless.insert(0, record)
    return fruitless


def _root(folder: Path) -> Path:
    """The run directory, from an attempts folder two levels below one of its rooms."""
    return folder.parents[2]


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
