"""What the work that is left will take: seconds of each unit, the order that follows, and the sums for people."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from difgen_cli.engine.cost import estimate
from difgen_cli.engine.cost.estimate import NOTHING, UNKNOWN, Measured, Seconds
from difgen_cli.engine.cost.pricing import Prices
from difgen_cli.engine.cost.schedule import ScheduledUnit, makespan, ranks
from difgen_cli.engine.plan import Plan
from difgen_cli.engine.plan.work import Dependency, Scoring, Training, Work

OVERHEAD_SECONDS = 8.0  # of a worker, where none was seen: start-up and imports
OVERHEAD = Seconds(OVERHEAD_SECONDS, 3.0, "guess")


@dataclass(frozen=True)
class Part:
    """One kind of work: how many units have it, and what all of them take together."""

    name: str
    units: int
    seconds: Seconds


@dataclass(frozen=True)
class Forecast:
    """The work with what each unit takes, and what all of it does."""

    todo: Work
    workers: int
    parts: tuple[Part, ...]
    wall: Seconds  # with these workers, from their start on
    longest: Seconds  # the longest unit
    piece: tuple[str, Seconds]  # the longest that is lost where a worker stops in the middle of it, and its name
    seconds: Sequence[Seconds] = ()  # of each training, then of each scoring
    ranks: Sequence[float] = ()

    @cached_property
    def work(self) -> Work:
        """The units with their seconds and ranks: what workers are given."""
        seconds = (None if s.how == "unknown" else round(s.value, 3) for s in self.seconds)
        told = list(zip(seconds, self.ranks, strict=True))
        count = len(self.todo.trainings)
        trainings = [replace(t, seconds=s, rank=r) for t, (s, r) in zip(self.todo.trainings, told[:count], strict=True)]
        scorings = [replace(t, seconds=s, rank=r) for t, (s, r) in zip(self.todo.scorings, told[count:], strict=True)]
        return replace(self.todo, trainings=trainings, scorings=scorings)

    @property
    def total(self) -> Seconds:
        """Seconds of workers' time, as far as it is known."""
        return estimate.total([p.seconds for p in self.parts if p.seconds.how != "unknown"])

    @property
    def unknown(self) -> tuple[str, ...]:
        """The parts of which nothing is known, and which are in no sum."""
        return tuple(p.name for p in self.parts if p.seconds.how == "unknown")


def forecast(plan: Plan, todo: Work, prices: Prices, workers: int, overhead: Sequence[Measured] = ()) -> Forecast:
    """What `todo` takes on so many workers. `overhead`: what each worker spent beside its units."""
    if not todo:
        return Forecast(todo, 0, (), NOTHING, NOTHING, ("", NOTHING))
    workers = min(workers, len(todo))
    costs = [prices.training(t) for t in todo.trainings] + [prices.scoring(s) for s in todo.scorings]
    distinct = {id(cost): cost for cost in costs}  # units that are alike share theirs
    added = {key: estimate.total(list(cost.values())) for key, cost in distinct.items()}
    sums = [added[id(cost)] for cost in costs]
    tasks = _tasks(todo, sums)
    ordered = ranks(tasks)
    turn = sorted(range(len(tasks)), key=lambda place: -ordered[place])
    beside = estimate.predict(overhead, 1.0) if overhead else OVERHEAD
    parts = [*_parts(costs), Part("start-up", workers, beside.times(workers))]
    blind = any(p.seconds.how == "unknown" for p in parts if p.name == "training")
    whole = UNKNOWN if blind else estimate.total([p.seconds for p in parts if p.seconds.how != "unknown"])
    wall = replace(whole, value=beside.value + makespan(tasks, turn, workers))
    return Forecast(todo, workers, tuple(parts), wall, max(sums, key=_value), _piece(distinct.values()), sums, ordered)


def _value(seconds: Seconds) -> float:
    return seconds.value


def _parts(costs: Iterable[dict[str, Seconds]]) -> list[Part]:
    """Training, sampling, then the metrics, the dearest first."""
    found: dict[str, list[Seconds]] = defaultdict(list)
    for cost in costs:
        for name, seconds in cost.items():
            found[name].append(seconds)
    parts = [Part(name, len(seconds), _all(seconds)) for name, seconds in found.items()]
    first = ("training", "sampling")
    return sorted(parts, key=lambda p: (p.name not in first, first.index(p.name) if p.name in first else 0,
                                        -p.seconds.value))  # fmt: skip


def _all(seconds: Sequence[Seconds]) -> Seconds:
    """The sum; units of which nothing is known are taken to be as the others, and make it less sure."""
    known = [s for s in seconds if s.how != "unknown"]
    if not known:
        return estimate.total(seconds)
    more = len(seconds) / len(known)
    whole = estimate.total(known).times(more)
    return replace(whole, factor=whole.factor * more)


def _piece(costs: Iterable[dict[str, Seconds]]) -> tuple[str, Seconds]:
    """Sampling, or a metric: a training is saved wherever it stops."""
    pieces = (item for cost in costs for item in cost.items() if item[0] != "training")
    return max(pieces, key=lambda item: item[1].value, default=("", NOTHING))


def _tasks(todo: Work, sums: Sequence[Seconds]) -> list[ScheduledUnit]:
    """The units as tasks: a snapshot that something waits for is there when its share of the training is done."""
    trained = {t.home: (place, t.first, max(t.steps)) for place, t in enumerate(todo.trainings)}

    def until(home: str, step: int | None) -> tuple[int, float] | None:
        if home not in trained or step is None:
            return None
        place, first, last = trained[home]
        return place, min(max((step - first) / (last - first), 0.0), 1.0)

    tasks = []
    units: list[Training | Scoring] = [*todo.trainings, *todo.scorings]
    for unit, seconds in zip(units, sums, strict=True):
        after = {until(home, step) for home, step in _waits(unit)}
        tasks.append(ScheduledUnit(seconds.value, tuple(sorted(at for at in after if at))))
    return tasks


def _waits(unit: Training | Scoring) -> Iterable[tuple[str, int | None]]:
    """The snapshots that a unit begins with, by trajectory and step."""
    others: Iterable[Dependency] = [unit.start] if isinstance(unit, Training) and unit.start else []
    if isinstance(unit, Scoring):
        others = unit.partners.values()
        if unit.weights:
            yield unit.home, unit.step
    for other in others:
        yield from _of(other)


def _of(other: Dependency) -> Iterable[tuple[str, int | None]]:
    yield other.home, other.step
    for further in other.partners.values():
        yield from _of(further)


def as_dict(found: Forecast) -> dict[str, Any]:
    """For JSON; None for what is not known."""

    def said(seconds: Seconds) -> dict[str, Any]:
        if seconds.how == "unknown":
            return {"seconds": None, "seconds_lo": None, "seconds_hi": None, "how": seconds.how, "from": None}
        low, high = round(seconds.low, 3), round(seconds.high, 3)
        return {"seconds": round(seconds.value, 3), "seconds_lo": low, "seconds_hi": high, "how": seconds.how,
                "from": seconds.source if seconds.how == "scaled" else None}  # fmt: skip

    parts = [{"name": p.name, "units": p.units, **said(p.seconds)} for p in found.parts]
    return {"workers": found.workers, "total": said(found.total), "wall": said(found.wall),
            "longest_unit": said(found.longest), "parts": parts}  # fmt: skip
