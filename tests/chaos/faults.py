"""What befalls a sweep. Each fault is really caused, and says how many intervals of training it can cost.

An interval is what one trajectory trains between two checkpoints. A fault answers None where there is nothing that it
could hit at the moment.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from chaos.disturbed import LEASE_SECONDS, Sweep
from difgen_cli.engine.store import Store, tables

Fault = Callable[[Sweep, random.Random], int | None]
SKEW_SECONDS = 600


def kill_a_worker(sweep: Sweep, chance: random.Random) -> int | None:
    """SIGKILL of one: its launcher starts it again."""
    if not (workers := sweep.workers()):
        return None
    os.kill(chance.choice(workers), signal.SIGKILL)
    return 1


def cut_the_power(sweep: Sweep, chance: random.Random) -> int | None:
    """SIGKILL of every worker, their launcher and the command."""
    if not sweep.workers():
        return None
    at_stake = len(sweep.trainings())
    sweep.power_cut()
    return at_stake


def stop_a_worker(sweep: Sweep, chance: random.Random) -> int | None:
    """SIGSTOP for longer than the lease: another takes its unit over; then it goes on, and must find out."""
    if not (attempts := sweep.trainings() or sweep.attempts()):
        return None
    pid = chance.choice(attempts).pid
    os.kill(pid, signal.SIGSTOP)
    sweep.stopped[pid] = time.monotonic() + LEASE_SECONDS + chance.uniform(0.5, 2.0)
    return 1


def fill_the_disk(sweep: Sweep, chance: random.Random) -> int | None:
    """No byte left on the run directory's file system, for a while."""
    if not sweep.workers():
        return None
    at_stake = len(sweep.trainings())
    ballast = sweep.runs.parent / "ballast"
    until = time.monotonic() + chance.uniform(0.6, 1.2)
    with ballast.open("ab", buffering=0) as file:
        while time.monotonic() < until:  # again and again: what the sweep deletes is room
            _fill(file.fileno())
            time.sleep(0.01)
    ballast.unlink()
    return max(at_stake, len(sweep.trainings()))


def _fill(file: int) -> None:
    for size in (1 << 20, 1 << 12):
        with suppress(OSError):
            while os.write(file, bytes(size)) == size:
                pass


def part_the_clocks(sweep: Sweep, chance: random.Random) -> int | None:
    """A worker joins whose wall clock is ten minutes off."""
    if not sweep.workers():
        return None
    sweep.join(chance.choice((-SKEW_SECONDS, SKEW_SECONDS)))
    return 0


def shift_file_times(sweep: Sweep, chance: random.Random) -> int | None:
    """Every file was written ten minutes ago, or will be in ten minutes."""
    now = time.time()
    for path in sweep.runs.rglob("*"):
        with suppress(OSError):  # deleted meanwhile
            os.utime(path, 2 * (now + chance.choice((-SKEW_SECONDS, SKEW_SECONDS)),))
    return 0


def delete_an_attempt(sweep: Sweep, chance: random.Random) -> int | None:
    """The claim of a running unit is gone."""
    if not (attempts := sweep.attempts()):
        return None
    attempt = chance.choice(attempts)
    attempt.path.unlink(missing_ok=True)
    return int(attempt.is_training)


def truncate_an_attempt(sweep: Sweep, chance: random.Random) -> int | None:
    """The claim of a running unit is cut short."""
    if not (attempts := sweep.attempts()):
        return None
    attempt = chance.choice(attempts)
    return int(attempt.is_training) if _cut(attempt.path, chance) else None


def truncate_a_checkpoint(sweep: Sweep, chance: random.Random) -> int | None:
    """A worker is killed and leaves its newest checkpoint half written: the one before it counts."""
    if not (attempts := sweep.trainings()):
        return None
    attempt = chance.choice(attempts)
    os.kill(attempt.pid, signal.SIGKILL)
    there = sorted((attempt.path.parent.parent / "checkpoints").glob("*.pt"), key=lambda p: int(p.stem))
    return 2 if there and _cut(there[-1], chance) else 1


def truncate_a_result(sweep: Sweep, chance: random.Random) -> int | None:
    """The values of a metric, or its own table, cut short."""
    there = sorted(p for end in ("json", "parquet") for p in sweep.runs.glob(f"*/*/results/[!.]*.{end}"))
    return 0 if there and _cut(chance.choice(there), chance) else None


def truncate_a_table(sweep: Sweep, chance: random.Random) -> int | None:
    """A table that people read, cut short after somebody has looked, as `difgen status` does."""
    tables.fold(Store(sweep.runs))
    there = sorted(sweep.runs.glob("tables/**/[!.]*.parquet"))
    return 0 if there and _cut(chance.choice(there), chance) else None


def _cut(path: Path, chance: random.Random) -> bool:
    """Cut a file short; False where it is not there any more, or has nothing left."""
    try:
        size = path.stat().st_size
        os.truncate(path, int(size * chance.uniform(0, 0.95)))
    except FileNotFoundError:
        return False
    return size > 0


KINDS: dict[str, Fault] = {
    "a worker killed": kill_a_worker,
    "power cut": cut_the_power,
    "a worker stopped beyond its lease": stop_a_worker,
    "disk full": fill_the_disk,
    "a worker ten minutes off": part_the_clocks,
    "file times ten minutes off": shift_file_times,
    "attempt file deleted": delete_an_attempt,
    "attempt file truncated": truncate_an_attempt,
    "checkpoint truncated": truncate_a_checkpoint,
    "result truncated": truncate_a_result,
    "table truncated": truncate_a_table,
}
# After these everything starts anew, which takes a machine of few cores longer than all else.
COSTLY = frozenset({"power cut", "disk full"})
