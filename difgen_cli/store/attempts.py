"""Attempts: one file is claim, heartbeat, status and history.

`attempts/<unit>.<n>.json` appears whole with n = last + 1, so that one claimant wins, and is rewritten by its owner
alone. A claim has expired when its counter stood still for the lease time on the observer's own clock, or when its
owner is known to be gone: clocks of different machines are never compared.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from difgen_cli.store.files import StoreError, publish_json, read_json, replace_json

LEASE_SECONDS = 120.0
BEAT_SECONDS = 5.0
MOST_DEATHS = 5  # in a row, in one submission and without progress, before a unit counts as failed


def now() -> str:
    """Wall-clock time for people; never compared."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@cache
def boot_id() -> str:
    """Identity of this boot of this machine; empty where the system does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def start_time(pid: int) -> str | None:
    """When a process started, in ticks since boot; None where there is no such process or it is a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


@cache
def _pid_namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def owner() -> dict[str, Any]:
    """Who this process is, so that others can tell whether it is gone."""
    pid = os.getpid()
    job = os.environ.get("SLURM_ARRAY_JOB_ID") or os.environ.get("SLURM_JOB_ID")
    return {
        "host": socket.gethostname(), "boot": boot_id(), "namespace": _pid_namespace(), "pid": pid,
        "started": start_time(pid), "job": job, "task": os.environ.get("SLURM_ARRAY_TASK_ID"),
    }  # fmt: skip


def gone(who: dict[str, Any]) -> bool:
    """Whether an owner on this very boot is known to have ended; False where that cannot be known."""
    here = who.get("boot") and who["boot"] == boot_id() and who.get("namespace") == _pid_namespace()
    return bool(here) and start_time(int(who["pid"])) != who.get("started")


@dataclass
class Attempt:
    """One worker's try at one unit."""

    path: Path
    unit: str
    number: int
    record: dict[str, Any]
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def beat(self, **fields: Any) -> None:
        """Rewrite the file with a higher counter and what is new; a no-op once ended."""
        with self._lock:
            if self.record["state"] == "running":
                self.record |= fields | {"counter": self.record["counter"] + 1, "time": now()}
                replace_json(self.path, self.record)

    def end(self, state: str, **fields: Any) -> None:
        """Say how it ended: done, interrupted or failed, with the cause."""
        with self._lock:
            self.record |= fields | {"state": state, "counter": self.record["counter"] + 1, "ended": now()}
            replace_json(self.path, self.record)

    def superseded(self) -> bool:
        """Whether another has taken the unit over: an owner that finds this leaves without publishing."""
        return self.path.with_name(f"{self.unit}.{self.number + 1}.json").exists()

    @contextmanager
    def beating(self) -> Iterator[None]:
        """Heartbeats from a thread while the body runs."""
        stop = threading.Event()

        def run() -> None:
            while not stop.wait(BEAT_SECONDS):
                try:
                    self.beat()
                except StoreError:
                    continue  # a full disk: the claim ages, and the owner meets the same error where it writes results

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


@dataclass
class Observer:
    """What one process has seen of others' counters, on its own monotonic clock."""

    lease_seconds: float = LEASE_SECONDS
    seen: dict[Path, tuple[int, float]] = field(default_factory=dict)

    def expired(self, path: Path, record: dict[str, Any]) -> bool:
        """Whether a running attempt's owner is gone or silent for longer than the lease."""
        if gone(record["owner"]):
            return True
        counter, since = self.seen.get(path, (None, 0.0))
        if counter != record["counter"]:
            self.seen[path] = (record["counter"], time.monotonic())
            return False
        return time.monotonic() - since > self.lease_seconds


def history(folder: Path, unit: str) -> list[tuple[int, dict[str, Any]]]:
    """All attempts at a unit, oldest first; an unreadable file counts as a lost attempt."""
    numbers = []
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    for name in names:
        if name.startswith(unit + ".") and name.endswith(".json") and not name.startswith("."):
            middle = name[len(unit) + 1 : -5]
            if middle.isdigit():
                numbers.append(int(middle))
    lost = {"state": "lost", "counter": 0, "owner": {}}
    return [(n, read_json(folder / f"{unit}.{n}.json") or lost) for n in sorted(numbers)]


def claim(folder: Path, unit: str, observer: Observer, submission: str = "") -> Attempt | None:
    """Claim a unit; None where another holds it, where it has failed, or where another was faster."""
    past = history(folder, unit)
    number, last = past[-1] if past else (0, {"state": "none"})
    if last["state"] == "failed":
        return None
    if last["state"] == "running" and not observer.expired(folder / f"{unit}.{number}.json", last):
        return None
    deaths = _deaths(past, submission)
    if deaths >= MOST_DEATHS:
        cause = (
            f"died {deaths} times at step {last.get('step', 0)} without a word: out of memory, or killed from outside"
        )
        _close(folder, unit, number + 1, cause)
        return None
    opening = _opening(unit, number + 1) | {"submission": submission}
    attempt = Attempt(folder / f"{unit}.{number + 1}.json", unit, number + 1, opening)
    return attempt if publish_json(attempt.path, attempt.record) else None


def release(folder: Path, unit: str) -> None:
    """Let a failed unit be tried again, keeping its history."""
    past = history(folder, unit)
    if past and past[-1][1]["state"] == "failed":
        number = past[-1][0] + 1
        publish_json(folder / f"{unit}.{number}.json", _opening(unit, number) | {"state": "released"})


def _opening(unit: str, number: int) -> dict[str, Any]:
    return {"schema": 1, "unit": unit, "attempt": number, "state": "running", "counter": 0, "step": 0,
            "owner": owner(), "started": now()}  # fmt: skip


def _deaths(past: list[tuple[int, dict[str, Any]]], submission: str) -> int:
    """Attempts at the end that neither ended nor got further than the one before."""
    count = 0
    for _, record in reversed(past):
        lost = record["state"] in ("running", "lost") and record.get("submission") == submission
        if not lost or record.get("step") != past[-1][1].get("step"):
            break
        count += 1
    return count


def _close(folder: Path, unit: str, number: int, cause: str) -> None:
    publish_json(folder / f"{unit}.{number}.json", _opening(unit, number) | {"state": "failed", "cause": cause})
