"""A worker: one claim after another, longest first, until nothing is left: train, or sample and score, and write.

Interrupting is normal: SIGTERM, SIGINT and SIGUSR2 raise a flag, and the loop saves at the next step boundary.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from difgen_cli import work
from difgen_cli.plugins import Library
from difgen_cli.store import Home, Store, StoreError
from difgen_cli.store.attempts import Attempt, Observer, gone, owner
from difgen_cli.store.files import read_json, replace_json
from difgen_cli.work import Scoring, Training

LOOK_AGAIN_SECONDS = 0.5


class Interrupted(Exception):  # noqa: N818
    """The flag was raised: everything so far is saved."""


class Superseded(Exception):  # noqa: N818
    """Another worker has taken this unit over: leave without publishing."""


@dataclass
class Flag:
    """Raised by a signal; looked at between steps."""

    raised: bool = False

    def listen(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2):
            signal.signal(number, self._raise)

    def _raise(self, number: int, frame: FrameType | None) -> None:
        self.raised = True

    def check(self) -> None:
        if self.raised:
            raise Interrupted


@dataclass
class Clock:
    """Where a worker's time goes, in seconds by purpose; what runs inside another purpose counts once, as its own."""

    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(("training", "sampling", "scoring"), 0.0))
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
class Order:
    """What a submission asks of its workers: read from submission.json beside work.json."""

    folder: Path
    runs: Path
    plugins: Path | None
    threads: int
    environment: dict[str, str]  # git commit, dirty flag, command, versions
    lease_seconds: float
    checkpoint_seconds: float

    @staticmethod
    def read(folder: Path) -> Order:
        said = json.loads((folder / "submission.json").read_text(encoding="utf-8"))
        plugins = Path(said["plugins"]) if said["plugins"] else None
        return Order(
            folder, Path(said["runs"]), plugins, said["threads"], said["environment"], said["lease_seconds"],
            said["checkpoint_seconds"],
        )  # fmt: skip


SCHEDULED = "scheduled"  # the device that the scheduler has put into CUDA_VISIBLE_DEVICES


def main(folder: str, number: int, device: str | None) -> str:
    """Entry point of a submitted worker. `device` is a GPU's name as CUDA_VISIBLE_DEVICES has it, None for the CPU."""
    if device != SCHEDULED:
        os.environ["CUDA_VISIBLE_DEVICES"] = device or ""  # before torch is imported
    return work_on(Order.read(Path(folder)), number, "cuda" if device else "cpu", Flag())


def work_on(order: Order, number: int, device: str, flag: Flag, say: Callable[[str], None] | None = None) -> str:
    """Work through a submission; returns how it ended: done or interrupted."""
    start = time.monotonic()
    flag.listen()
    badge = order.folder / "workers" / f"{number}.json"
    who = {"owner": owner(), "device": device}
    replace_json(badge, who | {"state": "starting"})
    todo = work.read(order.folder / "work.json")

    from difgen_cli.unit import Desk  # imports torch

    desk = Desk(Store(order.runs), todo.recipes, Library(order.plugins), device, order, flag, Clock(), say or _print)
    queue = Queue(desk.store, [*todo.trainings, *todo.scorings], Observer(order.lease_seconds), order.folder.name)
    replace_json(badge, who | {"state": "running"})
    state, cause = "done", None
    try:
        while (unit := queue.next(flag)) is not None:
            _try(desk, *unit)
    except Interrupted:
        state = "interrupted"
    except StoreError as error:
        state, cause = "refused", str(error)
        print(cause, file=sys.stderr, flush=True)
    seconds = desk.clock.seconds | {"wall": time.monotonic() - start, "waiting": queue.waited_seconds}
    with suppress(StoreError):  # on a full disk the sweep finds no live worker, and says so
        replace_json(badge, who | {"state": state, "cause": cause, "seconds": seconds})
    return state


def _print(line: str) -> None:
    print(line, flush=True)


def _try(desk: Any, unit: Training | Scoring, home: Home, attempt: Attempt) -> None:
    """Run a claimed unit and say how it ended; an error inside it is recorded, and the worker goes on."""
    log = f"{unit.unit} of {unit.slug}"
    try:
        with attempt.beating():
            spent = desk.run(unit, home, attempt)
        attempt.end("done", **spent)
        desk.say(f"{log}: done")
    except Interrupted:
        attempt.end("interrupted", cause="asked to stop")
        desk.say(f"{log}: saved")
        raise
    except Superseded:
        desk.say(f"{log}: taken over by another worker")
    except StoreError as error:  # a full disk, a read-only folder: no unit's fault, and no other will do better
        with suppress(StoreError):  # else the claim ages, and is taken over when there is room again
            attempt.end("interrupted", cause=str(error))
        raise
    except Exception as error:
        tail = traceback.format_exc()
        print(tail, file=sys.stderr, flush=True)
        attempt.end("failed", cause=f"{type(error).__name__}: {error}", log=tail.splitlines()[-30:])
        desk.say(f"{log}: failed: {error}")


@dataclass
class Queue:
    """The units of a submission in the order in which they are tried: training before scoring, longest first."""

    store: Store
    units: list[Training | Scoring]
    observer: Observer
    submission: str
    waited_seconds: float = 0.0

    def next(self, flag: Flag) -> tuple[Training | Scoring, Home, Attempt] | None:
        """Claim the next unit; None when none is left. Waits where all that is left is held by others."""
        while True:
            flag.check()
            if (claimed := self._claim()) is not None:
                return claimed
            if not self.units:
                return None
            time.sleep(LOOK_AGAIN_SECONDS)
            self.waited_seconds += LOOK_AGAIN_SECONDS

    def _claim(self) -> tuple[Training | Scoring, Home, Attempt] | None:
        for unit in list(self.units):
            home = self.store.home(unit.home, unit.slug, reference=isinstance(unit, Scoring) and unit.reference)
            verdict = _verdict(unit, home)
            if verdict in ("done", "hopeless"):
                self.units.remove(unit)
            elif verdict == "open":
                attempt = home.claim(unit.unit, self.observer, self.submission)
                if attempt is not None:
                    self.units.remove(unit)
                    return unit, home, attempt
        return None


def _verdict(unit: Training | Scoring, home: Home) -> str:
    """Whether a unit is done, open, waiting for weights, or hopeless because something before it failed."""
    if isinstance(unit, Training):
        done = all(home.snapshot(s).exists() for s in unit.steps)
        return "done" if done else "hopeless" if _failed(home, unit.unit) else "open"
    if all(home.result(m.key).exists() for m in unit.metrics.values()):
        return "done"
    if _failed(home, unit.unit):
        return "hopeless"
    if unit.step is None or not unit.weights or home.snapshot(unit.step).exists():
        return "open"
    return "hopeless" if _failed(home, "train") else "waiting"


def _failed(home: Home, unit: str) -> bool:
    past = home.history(unit)
    return bool(past) and past[-1][1]["state"] == "failed"


def alive(folder: Path) -> bool:
    """Whether a worker of a submission is known to run."""
    badges = [read_json(p) for p in (folder / "workers").glob("*.json")]
    return any(b and b["state"] in ("starting", "running") and not gone(b["owner"]) for b in badges)
