"""What a worker carries from unit to unit: its order, the flag that stops it, and the clock of where its time goes."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import FrameType
from typing import Any

from difgen_cli.engine.store import submission_file
from difgen_cli.engine.store.access import StoreError
from difgen_cli.engine.store.processes import now, process_identity

PURPOSES = ("training", "sampling", "scoring", "preparing")  # preparing: what metrics are given
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)


class Interrupted(Exception):  # noqa: N818
    """The flag was raised: everything so far is saved."""


class Superseded(Exception):  # noqa: N818
    """Another worker has taken this unit over: leave without publishing."""


@dataclass
class StopFlag:
    """Raised by a signal; looked at between steps."""

    raised: bool = False
    signal: int | None = None  # which it was; the last one, if there were several

    def listen(self) -> None:
        """Be raised by every signal that asks a worker to save and leave."""
        for number in SIGNALS:
            signal.signal(number, self._raise)

    def _raise(self, number: int, frame: FrameType | None) -> None:
        self.raised, self.signal = True, number

    def check(self) -> None:
        """Raise Interrupted where the flag is raised."""
        if self.raised:
            raise Interrupted


@dataclass
class PhaseTimer:
    """Where a worker's time goes, in seconds by purpose; what runs inside another purpose counts once, as its own."""

    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PURPOSES, 0.0))
    _since: float = 0.0
    _purposes: list[str] = field(default_factory=list)

    @contextmanager
    def on(self, purpose: str) -> Iterator[None]:
        """Count the body's time."""
        self._turn()
        self._purposes.append(purpose)
        try:
            yield
        finally:
            self._turn()
            self._purposes.pop()

    def _turn(self) -> None:
        moment = time.monotonic()
        if self._purposes:
            self.seconds[self._purposes[-1]] += moment - self._since
        self._since = moment


@dataclass(frozen=True)
class SubmissionSpec:
    """What a submission asks of its workers: submission.json beside work.json, written and read here alone."""

    folder: Path
    runs: Path
    plugins: Path | None
    threads: int
    environment: dict[str, Any]  # git commit, dirty flag, command, versions
    lease_seconds: float
    checkpoint_seconds: float
    walltime_seconds: float | None = None  # what the scheduler was asked for
    notice_seconds: float = 0.0  # how long before its end it tells
    code: Path | None = None  # the copy of the code that its workers are to run
    code_digest: str | None = None
    launcher: str = ""
    job_name: str | None = None  # of its job in a scheduler: no other submission has it
    workers: int = 1
    expected: Mapping[str, Any] = field(default_factory=dict)  # what it was expected to take

    @property
    def name(self) -> str:
        """The submission's name: its grid's folder and its number."""
        return f"{self.folder.parents[1].name}/{self.folder.name}"

    def write(self) -> None:
        """Write it, once, in the name of this process."""
        content = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("folder", "job_name")}
        content |= {"name": self.job_name, "owner": process_identity(), "submitted": now()}
        submission_file.write(self.folder, content)

    @staticmethod
    def read(folder: Path) -> SubmissionSpec:
        """The submission of a folder; raises StoreError where it is missing or a newer difgen wrote it."""
        content = submission_file.read_checked(folder)
        if not content:
            raise StoreError(f"{folder / submission_file.NAME}: is missing or cut short; run `difgen sweep` again")
        own = {f.name: content[f.name] for f in fields(SubmissionSpec) if f.name in content}
        own |= {name: Path(content[name]) for name in ("runs", "plugins", "code") if content[name]}
        own |= {"folder": folder, "job_name": content.get("name"), "expected": content.get("expected") or {}}
        return SubmissionSpec(**own)
