"""What a worker carries from unit to unit: its order, the flag that stops it, and the clock of where its time goes."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from difgen_cli.engine.store.access import StoreError
from difgen_cli.engine.store.files import check_schema, read_json

SCHEMA = 2  # of submission.json
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
        for number in SIGNALS:
            signal.signal(number, self._raise)

    def _raise(self, number: int, frame: FrameType | None) -> None:
        self.raised, self.signal = True, number

    def check(self) -> None:
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
    """What a submission asks of its workers: read from submission.json beside work.json."""

    folder: Path
    runs: Path
    plugins: Path | None
    threads: int
    environment: dict[str, str]  # git commit, dirty flag, command, versions
    lease_seconds: float
    checkpoint_seconds: float
    walltime_seconds: float | None = None  # what the scheduler was asked for
    notice_seconds: float = 0.0  # how long before its end it tells
    code: Path | None = None  # the copy of the code that its workers are to run
    code_digest: str | None = None
    launcher: str = ""
    job_name: str | None = None  # of its job, where the launcher has a scheduler

    @property
    def name(self) -> str:
        """The submission's name: its grid's folder and its number."""
        return f"{self.folder.parents[1].name}/{self.folder.name}"

    @staticmethod
    def read(folder: Path) -> SubmissionSpec:
        said = read_json(folder / "submission.json")
        if said is None:
            raise StoreError(f"{folder / 'submission.json'}: is missing or cut short; run `difgen sweep` again")
        check_schema(folder / "submission.json", said.get("schema"), SCHEMA)
        plugins = Path(said["plugins"]) if said["plugins"] else None
        return SubmissionSpec(
            folder, Path(said["runs"]), plugins, said["threads"], said["environment"], said["lease_seconds"],
            said["checkpoint_seconds"], said.get("walltime_seconds"), said.get("notice_seconds", 0.0),
            Path(said["code"]), said.get("code_digest"),
            said.get("launcher", ""), said.get("name"),
        )  # fmt: skip
