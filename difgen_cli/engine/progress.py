"""How far the units of running submissions are, from the attempts that workers write; nothing is written here."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from difgen_cli.engine.launch.reconciler import SubmissionStatus
from difgen_cli.engine.plan.rounds import Rounds
from difgen_cli.engine.plan.work import Scoring, Training, is_done
from difgen_cli.engine.store import RunFolder, Store
from difgen_cli.engine.store.processes import is_dead
from difgen_cli.format import counted

Unit = Training | Scoring
Poll = Callable[[], Sequence[SubmissionStatus]]  # the submissions that are alive now
Watch = Callable[[Store, Poll], None]  # returns when no submission is alive, or no unit is left
POLL_SECONDS = 0.5
SCORING = "scoring"


def wait(_: Store, poll: Poll) -> None:
    """Wait without a view until no submission is alive."""
    while poll():
        time.sleep(POLL_SECONDS)


@dataclass(frozen=True)
class RunningUnit:
    """A unit that a worker has claimed."""

    name: str  # slug of its trajectory, and the step of the snapshot that is scored
    activity: str  # training, scoring and the metric that is computed, or the phase before: loading data, sampling
    done: int = 0  # steps, or metrics
    target: int | None = None
    images_per_second: float | None = None
    roofline: float | None = None  # that speed as a share of what the machine allows the network

    @property
    def training(self) -> bool:
        """Whether it has made its first training step."""
        return self.activity == "training"


@dataclass
class Progress:
    """The units of all submissions at one moment."""

    trainings: int = 0
    scorings: int = 0
    trained: int = 0
    scored: int = 0
    failed: int = 0  # units that failed themselves, without those that wait for one of them
    images_done: float = 0.0  # training images, of checkpoints too
    images_all: float = 0.0
    running: list[RunningUnit] = field(default_factory=list)
    workers: Counter[str] = field(default_factory=Counter)  # without a unit: how many are starting, how many wait
    submissions: Sequence[SubmissionStatus] = ()
    finished: bool = False  # no unit is left that anybody could do

    @property
    def activities(self) -> str:
        """What workers do at this moment, in words: `loading data, scoring`."""
        kinds = [SCORING if unit.activity.startswith(f"{SCORING} ") else unit.activity for unit in self.running]
        return ", ".join(dict.fromkeys(kinds)) or ", ".join(self.idle) or "starting"

    @property
    def idle(self) -> list[str]:
        """The workers without a unit, in words: `2 workers starting`."""
        return [f"{counted(count, 'worker')} {state}" for state, count in self.workers.items()]


@dataclass
class Tracker:
    """Reads the units of submissions again and again; a unit that is settled is not read again."""

    store: Store
    poll: Poll
    units: dict[tuple[str, str], Unit] = field(default_factory=dict)  # (trajectory, unit) -> every unit seen
    open: dict[tuple[str, str], Unit] = field(default_factory=dict)  # those that are not settled
    settled: Counter[str] = field(default_factory=Counter)  # trained, scored, failed, hopeless -> how many
    images_settled: float = 0.0
    read: set[str] = field(default_factory=set)  # names of the submissions whose work was read
    rounds: list[Rounds] = field(default_factory=list)  # of submissions whose grids refine

    def look(self) -> Progress:
        """The progress at this moment."""
        submissions = self.poll()
        for status in submissions:
            self._add(status)
        held = self._held()
        needed = [unit for key, unit in self.units.items() if key not in held]
        trainings = [unit for unit in needed if isinstance(unit, Training)]
        now = Progress(
            trainings=len(trainings), scorings=len(needed) - len(trainings),
            images_all=sum(unit.cost for unit in trainings), submissions=submissions,
        )  # fmt: skip
        records: dict[str, dict[str, dict[str, Any]]] = {}  # folder -> the last attempt at each of its units
        for unit in [unit for key, unit in self.open.items() if key not in held]:
            folder = self._run_folder(unit)
            if unit.run_key not in records:
                records[unit.run_key] = folder.last_attempts()
            self._account(unit, folder, records[unit.run_key], now)
        now.trained, now.scored, now.failed = (self.settled[name] for name in ("trained", "scored", "failed"))
        now.images_done += self.images_settled
        now.finished = not self.open
        if sum(status.running for status in submissions) > len(now.running):
            now.workers = _idle(submissions, len(now.running))
        return now

    def _add(self, status: SubmissionStatus) -> None:
        """Remember the units of a submission that appears for the first time."""
        submission = status.submission
        if submission.name not in self.read:
            self.read.add(submission.name)
            work = submission.work
            if work.refinement:
                self.rounds.append(Rounds(work.refinement, self.store))
            new = {(unit.run_key, unit.unit): unit for unit in work.units}
            self.open |= {key: unit for key, unit in new.items() if key not in self.units}
            self.units = new | self.units

    def _held(self) -> set[tuple[str, str]]:
        """The open units that no round has asked for, in any of the submissions."""
        held = [rounds.look().held(list(self.open.values())) for rounds in self.rounds]
        return set.intersection(*held) if held else set()

    def _account(self, unit: Unit, folder: RunFolder, records: dict[str, dict[str, Any]], now: Progress) -> None:
        record = records.get(unit.unit, {})
        state, training = record.get("state"), isinstance(unit, Training)
        if state == "done" and is_done(unit, folder):  # an earlier attempt may have done another part
            self._settle(unit, "trained" if training else "scored")
        elif state == "failed":
            self._settle(unit, "failed")
        elif not training and records.get("train", {}).get("state") == "failed" and not state:
            self._settle(unit, "hopeless")  # its weights will never be there
        else:
            if isinstance(unit, Training):
                now.images_done += max(unit.first, int(record.get("step", 0))) * unit.batch
            if state == "running" and not is_dead(record.get("owner", {})):
                now.running.append(_running(unit, record))

    def _settle(self, unit: Unit, how: str) -> None:
        del self.open[unit.run_key, unit.unit]
        self.settled[how] += 1
        if isinstance(unit, Training):
            self.images_settled += unit.cost

    def _run_folder(self, unit: Unit) -> RunFolder:
        return self.store.run_folder_now(
            unit.run_key, unit.slug, reference=isinstance(unit, Scoring) and unit.reference
        )


def _running(unit: Unit, record: dict[str, Any]) -> RunningUnit:
    """A unit as its worker's last record has it."""
    done, target = int(record.get("step", 0)), record.get("target")
    if isinstance(unit, Scoring):
        step = "" if unit.step is None else f" step {unit.step}"
        return RunningUnit(unit.slug + step, activity(record, training=False), done, target)
    if record.get("phase") or target is None:
        return RunningUnit(unit.slug, activity(record, training=True), done)
    rate = record.get("images_per_second")
    return RunningUnit(unit.slug, activity(record, training=True), done, target, rate, record.get("roofline"))


def activity(record: Mapping[str, Any], *, training: bool) -> str:
    """What the worker of a running attempt does: its phase, else training, or scoring and the metric."""
    if record.get("phase"):
        return str(record["phase"])
    if training:
        return "training" if record.get("target") is not None else "starting"
    return f"{SCORING} {record['metric']}" if record.get("metric") else SCORING


def _idle(submissions: Sequence[SubmissionStatus], busy: int) -> Counter[str]:
    """How many workers without a unit are starting (they import torch), and how many wait for results of others."""
    records = [record for status in submissions for record in status.submission.worker_records()]
    states = Counter(str(record.get("state")) for record in records)
    unregistered = max(0, sum(status.running for status in submissions) - len(records))
    idle = {"starting": states["starting"] + unregistered, "waiting": max(0, states["running"] - busy)}
    return Counter({state: count for state, count in idle.items() if count})
