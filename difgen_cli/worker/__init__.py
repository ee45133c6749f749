"""A worker: one claim after another, longest first, until nothing is left: train, or sample and score, and write.

Interrupting is normal: SIGTERM, SIGINT and SIGUSR2 raise a flag, and the loop saves at the next step boundary.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from difgen_cli.plan import work
from difgen_cli.plan.work import Scoring, Training, is_done
from difgen_cli.plugins import Library
from difgen_cli.store import Home, Store, StoreError
from difgen_cli.store.attempts import Attempt, Observer, owner
from difgen_cli.store.files import replace_json
from difgen_cli.worker.order import Clock, Flag, Interrupted, Order, Superseded

if TYPE_CHECKING:
    from difgen_cli.worker.desk import Desk

LOOK_AGAIN_SECONDS = 0.5
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

    from difgen_cli.worker.desk import Desk  # imports torch

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


def _try(desk: Desk, unit: Training | Scoring, home: Home, attempt: Attempt) -> None:
    """Run a claimed unit and say how it ended; an error inside it is recorded, and the worker goes on."""
    log = f"{unit.unit} of {unit.slug}"
    try:
        with attempt.beating():
            spent = _do(desk, unit, home, attempt)
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


def _do(desk: Desk, unit: Training | Scoring, home: Home, attempt: Attempt) -> dict[str, Any]:
    """Do a claimed unit; returns what its attempt records at the end."""
    if isinstance(unit, Training):
        from difgen_cli.worker.training import TrainingRun

        with desk.clock.on("training"):
            return TrainingRun(desk, unit, home, attempt).run()
    from difgen_cli.worker.scoring import ScoringRun

    return ScoringRun(desk, unit, home, attempt).run()


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
    if is_done(unit, home):
        return "done"
    if _failed(home, unit.unit):
        return "hopeless"
    if isinstance(unit, Training) or unit.step is None or not unit.weights or home.snapshot(unit.step).exists():
        return "open"
    return "hopeless" if _failed(home, "train") else "waiting"


def _failed(home: Home, unit: str) -> bool:
    past = home.history(unit)
    return bool(past) and past[-1][1]["state"] == "failed"
