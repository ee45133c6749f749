"""The queue of a worker: which unit of a submission is claimed next, what waits, and what nobody can do any more."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from difgen_cli.engine.plan.rounds import Rounds
from difgen_cli.engine.plan.work import Scoring, Training, awaited_weights, is_done, made_by
from difgen_cli.engine.store import RunFolder, Store, failures
from difgen_cli.engine.store.access import exists, names
from difgen_cli.engine.store.attempts import Attempt, Claimant
from difgen_cli.engine.worker.allocation import Allocation
from difgen_cli.engine.worker.submission_spec import Interrupted, StopFlag
from difgen_cli.engine.worker.worker_record import WorkerRecord

LOOK_AGAIN_SECONDS = 0.5
MARGIN_SECONDS = 5.0  # before a scheduler's notice, in which nothing new is begun


@dataclass
class Queue:
    """The units of a submission in the order in which they are tried: those first that most is waiting for."""

    store: Store
    units: list[Training | Scoring]
    claimant: Claimant
    worker_record: WorkerRecord
    allocation: Allocation = field(default_factory=Allocation)
    rounds: Rounds | None = None  # what decides which units are needed, where the grid refines
    waited_seconds: float = 0.0
    lost: str | None = None  # which weights nobody will make, where a unit was left for them
    longest_scoring_seconds: float = 0.0  # of those done here: what the next one may take
    too_long: bool = False  # whether a unit was left because the time left is too short for it

    def next(self, flag: StopFlag) -> tuple[Training | Scoring, RunFolder, Attempt] | None:
        """Claim the next unit; None when none is left, or this worker's place is another's.

        Waits where all that is left is held by others. Raises Interrupted where the time left is too short for any.
        """
        while True:
            flag.check()
            if not self.worker_record.is_current():
                return None
            if (claimed := self._claim()) is not None:
                return claimed
            if not self.units:
                return None
            if self.allocation.left_seconds() <= 0 or self.too_long:
                raise Interrupted
            time.sleep(LOOK_AGAIN_SECONDS)
            self.waited_seconds += LOOK_AGAIN_SECONDS

    def _claim(self) -> tuple[Training | Scoring, RunFolder, Attempt] | None:
        left_seconds, self.too_long = self.allocation.left_seconds(), False
        held = self.rounds.look().held(self.units) if self.rounds else set()
        if len(held) == len(self.units):  # no unit is left that a round could wait for
            self.units.clear()
        for unit in (u for u in list(self.units) if (u.run_key, u.unit) not in held):
            reference = isinstance(unit, Scoring) and unit.reference
            folder = self.store.run_folder_now(unit.run_key, unit.slug, reference=reference)
            verdict, awaited = _verdict(unit, folder, self.store)
            if verdict in ("done", "hopeless"):
                self.units.remove(unit)
            elif verdict == "waiting" and (gone := next((w for w in awaited if not self._coming(*w)), None)):
                self._give_up(unit, folder, gone[1])
            elif verdict == "open" and left_seconds < self._needs_seconds(unit):
                self.too_long = True
            elif verdict == "open":
                folder = self.store.run_folder_now(unit.run_key, unit.slug, reference=reference, make=True)
                attempt = self._claimed(unit, folder)
                if attempt is not None:
                    self.units.remove(unit)
                    return unit, folder, attempt
        return None

    def _claimed(self, unit: Training | Scoring, folder: RunFolder) -> Attempt | None:
        """Claim a unit; None where it is another's, has failed, or was done since it was looked at."""
        return folder.claim(unit.unit, self.claimant, partial(is_done, unit, folder))

    def _coming(self, folder: RunFolder, path: Path) -> bool:
        """Whether somebody makes weights: it is a unit of this work, or a living attempt at their training."""
        trainings = (u for u in self.units if isinstance(u, Training) and u.run_key == folder.key)
        if any(path in made_by(training, folder) for training in trainings):
            return True
        number, last = (folder.history("train") or [(0, {"state": "none"})])[-1]
        running = last["state"] == "running" and not self.claimant.expired(folder.attempt("train", number), last)
        return running or path.name in names(path.parent)  # which is fresh where a look at one name may be remembered

    def _give_up(self, unit: Training | Scoring, folder: RunFolder, weights: Path) -> None:
        """Leave a unit whose weights are gone, and say so: somebody has removed them since it was planned."""
        self.units.remove(unit)
        self.lost = f"{weights}: {failures.EXIT_REASONS['weights_gone']}"
        attempt = self._claimed(unit, folder)
        if attempt is not None:
            attempt.end("interrupted", ending="weights_gone", cause=self.lost)

    def put_back(self, unit: Training | Scoring) -> None:
        """Look at a unit again that another has taken over: if that one dies too, it is nobody's."""
        self.units.insert(0, unit)

    def learn(self, unit: Training | Scoring, seconds: float) -> None:
        """Remember how long a unit took."""
        if isinstance(unit, Scoring):
            self.longest_scoring_seconds = max(self.longest_scoring_seconds, seconds)

    def _needs_seconds(self, unit: Training | Scoring) -> float:
        """Time within which a unit comes to where it can be saved: a training anywhere, a scoring at its end."""
        return MARGIN_SECONDS + (0.0 if isinstance(unit, Training) else self.longest_scoring_seconds)


def _verdict(unit: Training | Scoring, folder: RunFolder, store: Store) -> tuple[str, list[tuple[RunFolder, Path]]]:
    """Whether a unit is done, open, waiting for weights, or hopeless because something before it failed; and for which
    files it waits."""
    if is_done(unit, folder):
        return "done", []
    if folder.failed(unit.unit):
        return "hopeless", []
    wanted = awaited_weights(unit, folder, store)
    awaited = [(other, path) for other, path in wanted if not exists(path)]
    if any(other.failed("train") for other, _ in awaited):
        return "hopeless", []
    return ("waiting", awaited) if awaited else ("open", [])
