"""Who does a thing, so that others can tell whether it is gone: machine, boot, process, and job of a scheduler."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any


def now() -> str:
    """Wall-clock time for people; never compared."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class SchedulerTask:
    """A task of a scheduler's job that difgen itself has submitted."""

    submission: str
    job: str  # of the whole array
    task: str | None  # its number in the array
    restart: int  # how often the job was requeued


_task: list[SchedulerTask] = []  # at most one: that of this process


def register_task(task: SchedulerTask) -> None:
    """Make a scheduler's task part of this process's identity; only its launcher can tell that it is difgen's own."""
    _task[:] = [task]


@cache
def boot_id() -> str:
    """Identity of this boot of this machine; empty where the system does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def start_time(pid: int) -> str | None:
    """When a process started, in ticks since boot; None where it has ended, or nobody here may know."""
    stat = _stat(pid)
    return None if stat is None or stat[0] in "ZX" else stat[19]


def _stat(pid: int) -> list[str] | None:
    """What the system tells of a process, its state first; None where there is none, or it is hidden (hidepid)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def command_line(pid: int) -> list[str] | None:
    """The words that a process was started with; None where nobody here may know."""
    try:
        content = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return None
    return [os.fsdecode(word) for word in content.split(b"\0")] if content else None


@cache
def _pid_namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def process_identity(pid: int | None = None) -> dict[str, Any]:
    """Who this process is, or a child of it; in a job of difgen's own with its task and how often it was requeued."""
    pid, here = pid or os.getpid(), next(iter(_task), None)
    return {
        "host": socket.gethostname(), "boot": boot_id(), "namespace": _pid_namespace(), "pid": pid,
        "started": start_time(pid), "job": here and here.job, "task": here and here.task,
        "restart": here and here.restart,
    }  # fmt: skip


def is_dead(who: dict[str, Any]) -> bool:
    """Whether an owner on this very boot is known to have ended; False where that cannot be known.

    /proc may hide the processes of others (hidepid), as shared machines often do: only the kernel's answer to a signal
    tells then that there is none.
    """
    if not is_here(who):
        return False
    pid, started = int(who["pid"]), who.get("started")
    stat = _stat(pid)
    if stat is None or started is None:
        return _missing(pid)
    return stat[0] in "ZX" or stat[19] != started


def _missing(pid: int) -> bool:
    """Whether the kernel says that there is no such process."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        return False  # it lives, and is another user's
    return False


def is_here(who: dict[str, Any]) -> bool:
    """Whether an owner is a process of this boot of this machine that can be looked up."""
    return bool(who.get("boot")) and who["boot"] == boot_id() and who.get("namespace") == _pid_namespace()
