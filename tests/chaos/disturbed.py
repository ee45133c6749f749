"""A sweep that can be hurt: its processes, what is at work, and the same command again whenever it has ended."""

from __future__ import annotations

import json
import os
import random
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from difgen_cli.engine.launch import worker_environment
from difgen_cli.engine.store.processes import is_dead

CHECKPOINT_SECONDS = 0.5
LEASE_SECONDS = 2.0
CLOCKS_SECONDS = (0, 600, -600)
# How a sweep may end before its time: the machine refused, it was interrupted, or killed.
ENDINGS = (3, 130, -signal.SIGKILL)
JOIN = """
import sys
from pathlib import Path
from difgen_cli.engine.worker import work_on
from difgen_cli.engine.worker.submission_spec import StopFlag, SubmissionSpec
work_on(SubmissionSpec.read(Path(sys.argv[1])), int(sys.argv[2]), "cpu", StopFlag())
"""


@dataclass
class Attempt:
    """The last attempt at a unit, with the process that owns it."""

    path: Path
    record: dict[str, Any]

    @property
    def is_training(self) -> bool:
        return self.path.name.startswith("train.")

    @property
    def pid(self) -> int:
        return int(self.record["owner"]["pid"])


@dataclass
class Sweep:
    """One command in one folder, which holds the grid, its plug-ins and the meters of all that was trained."""

    folder: Path
    runs: Path
    chance: random.Random
    skew: Path | None  # a library that moves the wall clock, where one can be made
    number_of_workers: int = 4
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0
    before: Path | None = None  # the submission that was the latest at the last start
    joined: list[subprocess.Popen[bytes]] = field(default_factory=list)
    stopped: dict[int, float] = field(default_factory=dict)  # process -> when it goes on

    # The command ------------------------------------------------------------------------------------------------------

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-m", "difgen_cli", "-q", "sweep", "chaos.yaml", "--runs", str(self.runs),
                "--workers", str(self.number_of_workers), "--cluster", "local"]  # fmt: skip

    def environment(self, clock_seconds: int = 0) -> dict[str, str]:
        """Of a process of this sweep, whose wall clock may be off."""
        skewed = {"LD_PRELOAD": str(self.skew), "SKEW_SECONDS": str(clock_seconds)} if clock_seconds else {}
        return {**os.environ, **self.own_environment(), **skewed}

    def own_environment(self) -> dict[str, str]:
        """What it has besides the environment of the tests."""
        return {
            "CHAOS_METERS": str(self.meters), "OMP_NUM_THREADS": "1", "DIFGEN_COMPILE": "never",  # no trial
            "DIFGEN_LEASE_SECONDS": str(LEASE_SECONDS),
            "DIFGEN_CHECKPOINT_SECONDS": str(CHECKPOINT_SECONDS),
        }  # fmt: skip

    def any_clock(self) -> int:
        return self.chance.choice(CLOCKS_SECONDS) if self.skew else 0

    def start(self) -> None:
        """The same command again, on a machine with any of three clocks."""
        self.before, self.starts = self._latest_submission(), self.starts + 1
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, cwd=self.folder, env=self.environment(self.any_clock()), stdout=log, stderr=log
            )

    def keep_going(self) -> None:
        """What a person does: start it again when it has ended, or when a full disk has sent its workers home."""
        self.wake(time.monotonic())
        if self.process is not None and self.process.poll() is None:
            if any(worker_record["state"] == "refused" for worker_record in self.worker_records(self.submission())):
                self.interrupt()
            else:
                return
        code = None if self.process is None else self.process.returncode
        assert code in (None, *ENDINGS), f"the sweep ended with {code}: {self.last_words()}"
        self.start()

    def interrupt(self) -> None:
        """Ctrl-C: the workers save and leave."""
        assert self.process is not None
        self.wake()
        self.process.send_signal(signal.SIGINT)
        self.process.wait(60)

    def join(self, clock_seconds: int) -> None:
        """One more worker of the latest submission, as if on another machine, with a clock of its own."""
        submission = self._latest_submission()
        assert submission is not None
        said = json.loads((submission / "submission.json").read_text())
        environment = worker_environment(Path(said["code"]), 1) | self.environment(clock_seconds)
        command = [sys.executable, "-c", JOIN, str(submission), str(100 + len(self.joined))]
        with self.log.open("ab") as log:
            joined = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.joined.append(joined)

    def wake(self, moment: float = float("inf")) -> None:
        """Let the stopped processes go on whose time has come."""
        for pid in [p for p, until in self.stopped.items() if until <= moment]:
            del self.stopped[pid]
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    @property
    def log(self) -> Path:
        return self.folder / "sweep.log"

    def last_words(self) -> str:
        return self.log.read_text(errors="replace")[-2000:]

    # Its processes ----------------------------------------------------------------------------------------------------

    def processes(self) -> list[int]:
        """Every process that was started by this sweep, known by its environment."""
        mark = f"CHAOS_METERS={self.meters}\0".encode()
        found = []
        for place in Path("/proc").iterdir():
            with suppress(OSError):  # it has ended, or is another's
                if place.name.isdigit() and mark in (place / "environ").read_bytes() + b"\0":
                    found.append(int(place.name))
        return found

    def power_cut(self) -> None:
        """Every process at once, without a word."""
        while alive := self.processes():
            for pid in alive:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
        for process in filter(None, [self.process, *self.joined]):
            process.wait()
        self.stopped.clear()

    # What is at work --------------------------------------------------------------------------------------------------

    def submission(self) -> Path | None:
        """That of the last start; None as long as it has made none."""
        latest = self._latest_submission()
        return latest if latest != self.before else None

    def _latest_submission(self) -> Path | None:
        return max(self.runs.glob("grids/*/submissions/*"), key=lambda p: int(p.name), default=None)

    def worker_records(self, submission: Path | None) -> list[dict[str, Any]]:
        """Those of a submission's workers; none where there is no submission."""
        return [b for path in submission.glob("workers/*.json") if (b := read_json(path))] if submission else []

    def workers(self) -> list[int]:
        """Processes that have begun to work, for whatever start of the sweep."""
        worker_records = [
            b for submission in self.runs.glob("grids/*/submissions/*") for b in self.worker_records(submission)
        ]
        at_work = [b["owner"] for b in worker_records if b["state"] == "running"]
        return [who["pid"] for who in at_work if not is_dead(who) and who["pid"] not in self.stopped]

    def attempts(self) -> list[Attempt]:
        """The last attempts of the units at work whose owner is alive and not stopped."""
        return [a for a in self._last_attempts() if not is_dead(a.record["owner"]) and a.pid not in self.stopped]

    def trainings(self) -> list[Attempt]:
        return [a for a in self.attempts() if a.is_training]

    def _last_attempts(self) -> Iterator[Attempt]:
        last: dict[Path, int] = {}
        for path in self.runs.glob("*/*/attempts/[!.]*.json"):
            unit, _, number = path.name.removesuffix(".json").rpartition(".")
            if number.isdigit():
                last[path.parent / unit] = max(int(number), last.get(path.parent / unit, 0))
        for unit, number in last.items():
            path = unit.with_name(f"{unit.name}.{number}.json")
            if (record := read_json(path)) and record["state"] == "running":
                yield Attempt(path, record)

    # What it cost -----------------------------------------------------------------------------------------------------

    @property
    def meters(self) -> Path:
        return self.folder / "meters"

    def brake(self, on: bool) -> None:
        """Slow the training down, or let it go as fast as it can."""
        if on:
            self.meters.mkdir(exist_ok=True)
            (self.meters / "brake").touch()
        else:
            (self.meters / "brake").unlink()

    def images_spent(self) -> int:
        """Training images over all processes that ever trained, whatever became of them."""
        return sum(struct.unpack("q", p.read_bytes())[0] for p in self.meters.glob("*.meter"))


def read_json(path: Path) -> Any:
    """JSON, or None: the file is gone or a fault has cut it short."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None
