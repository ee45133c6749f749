"""What is left to do: what each unit takes, in which order units are claimed, and the sums for people.

Longest first, counted to the end of what waits for a unit: its rank, as in list scheduling by the critical path
(Graham 1969; Topcuoglu et al. 2002, upward rank). So a unit always ranks above those that wait for it.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from difgen_cli.engine.cost.estimate import NOTHING, UNKNOWN, Estimator, Seconds, UnitCost, predict, total
from difgen_cli.engine.cost.history import Measured, Workload
from difgen_cli.engine.plan import Dependency
from difgen_cli.engine.plan.work import Scoring, Training, Work

OVERHEAD = Seconds(8.0, 3.0, "guess")  # of a worker, where none was measured: start-up and imports


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
    piece: Part  # the longest that is lost where a worker stops in the middle of it
    seconds: Sequence[Seconds] = ()  # of each training, then of each scoring
    ranks: Sequence[float] = ()

    @cached_property
    def work(self) -> Work:
        """The units with their seconds and ranks: what workers are given."""
        seconds = [None if s.how == "unknown" else round(s.value, 3) for s in self.seconds]
        units: list[Any] = [
            replace(unit, seconds=s, rank=rank)
            for unit, s, rank in zip(_units(self.todo), seconds, self.ranks, strict=True)
        ]
        count = len(self.todo.trainings)
        return replace(self.todo, trainings=units[:count], scorings=units[count:])

    @property
    def total(self) -> Seconds:
        """Seconds of workers' time, as far as it is known."""
        return total([p.seconds for p in self.parts if p.seconds.how != "unknown"])

    @property
    def unknown(self) -> tuple[str, ...]:
        """The parts of which nothing is known, and which are in no sum."""
        return tuple(p.name for p in self.parts if p.seconds.how == "unknown")


def forecast(todo: Work, estimator: Estimator, workers: int, overhead: Sequence[Measured] = ()) -> Forecast:
    """What `todo` takes on so many workers. `overhead`: what each worker spent beside its units."""
    if not todo:
        return Forecast(todo, 0, (), NOTHING, NOTHING, Part("", 0, NOTHING))
    workers = min(workers, len(todo))
    costs = [*map(estimator.training, todo.trainings), *map(estimator.scoring, todo.scorings)]
    totals = [cost.total for cost in costs]
    tasks = _tasks(todo, totals)
    unit_ranks = ranks(tasks)
    order = sorted(range(len(tasks)), key=lambda place: -unit_ranks[place])
    start_up = predict(overhead, Workload(1.0)) if overhead else OVERHEAD
    parts = [*_parts(costs), Part("start-up", workers, start_up.times(workers))]
    predicted = [p.seconds for p in parts if p.seconds.how != "unknown"]
    wall = replace(total(predicted), value=start_up.value + makespan(tasks, order, workers))
    if any(p.name == "training" and p.seconds.how == "unknown" for p in parts):
        wall = replace(UNKNOWN, value=wall.value)
    longest = max(totals, key=lambda seconds: seconds.value)
    return Forecast(todo, workers, tuple(parts), wall, longest, _longest_piece(costs), totals, unit_ranks)


def _units(work: Work) -> list[Training | Scoring]:
    return [*work.trainings, *work.scorings]


def _parts(costs: Sequence[UnitCost]) -> list[Part]:
    """Training, sampling, then the metrics, the dearest first.

    Units of which nothing is known are taken to be as the others of their part, and make it less sure.
    """
    counts: dict[str, Counter[Seconds]] = defaultdict(Counter)
    for cost, units in Counter(costs).items():
        for name, seconds in cost.parts.items():
            counts[name][seconds] += units
    parts = []
    for name, count in counts.items():
        predicted = {s: units for s, units in count.items() if s.how != "unknown"}
        more = count.total() / sum(predicted.values()) if predicted else 1.0
        whole = total([s.times(units) for s, units in predicted.items()]).times(more) if predicted else UNKNOWN
        parts.append(Part(name, count.total(), replace(whole, factor=whole.factor * more)))
    first = {"training": 0, "sampling": 1}
    return sorted(parts, key=lambda p: (first.get(p.name, 2), -p.seconds.value))


def _longest_piece(costs: Sequence[UnitCost]) -> Part:
    """Sampling, or a metric: a training is saved wherever it stops."""
    pieces = [Part(n, 1, s) for cost in dict.fromkeys(costs) for n, s in cost.parts.items() if n != "training"]
    return max(pieces, key=lambda piece: piece.seconds.value, default=Part("", 0, NOTHING))


# Order ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, order=True)
class Wait:
    """Until a share of an earlier task is done: a snapshot is there when its share of the training's steps is done."""

    place: int
    share: float = 1.0


@dataclass(frozen=True)
class ScheduledUnit:
    """A unit that takes `seconds`, and what it waits for."""

    seconds: float
    after: tuple[Wait, ...] = ()


def _tasks(todo: Work, totals: Sequence[Seconds]) -> list[ScheduledUnit]:
    """The units as tasks, which wait for the trainings of the same work whose snapshots they begin with."""
    trained = {training.home: (place, training) for place, training in enumerate(todo.trainings)}
    tasks = []
    for unit, seconds in zip(_units(todo), totals, strict=True):
        waits = set()
        for home, step in _begins_with(unit):
            if home in trained and step is not None:
                place, training = trained[home]
                share = (step - training.first) / (max(training.steps) - training.first)
                waits.add(Wait(place, min(max(share, 0.0), 1.0)))
        tasks.append(ScheduledUnit(seconds.value, tuple(sorted(waits))))
    return tasks


def _begins_with(unit: Training | Scoring) -> Iterator[tuple[str, int | None]]:
    """Trajectory and step of each snapshot that a unit needs."""
    others: list[Dependency] = []
    if isinstance(unit, Scoring):
        others += unit.partners.values()
        if unit.weights:
            yield unit.home, unit.step
    elif unit.start:
        others.append(unit.start)
    for other in others:  # grows while it is read
        yield other.home, other.step
        others += other.partners.values()


def ranks(tasks: Sequence[ScheduledUnit]) -> list[float]:
    """Seconds from a task's start to the end of the longest chain that begins with it; ValueError for a circle."""
    longest = [task.seconds for task in tasks]
    waiting = Counter(wait.place for task in tasks for wait in task.after)  # those that are not ranked yet
    ready = [place for place in range(len(tasks)) if not waiting[place]]
    for place in ready:  # grows while it is read: from the ends of chains to their beginnings
        for wait in tasks[place].after:
            longest[wait.place] = max(longest[wait.place], wait.share * tasks[wait.place].seconds + longest[place])
            waiting[wait.place] -= 1
            if not waiting[wait.place]:
                ready.append(wait.place)
    if len(ready) < len(tasks):
        raise ValueError("tasks wait for each other in a circle")
    return longest


def makespan(tasks: Sequence[ScheduledUnit], order: Sequence[int], workers: int) -> float:
    """Seconds until all is done, where each worker that is free takes the first task in `order` that is ready."""
    turn = {place: number for number, place in enumerate(order)}
    followers: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for place, task in enumerate(tasks):
        for wait in task.after:
            followers[wait.place].append((place, wait.share))
    lacking = [len(task.after) for task in tasks]
    ready_at = [0.0] * len(tasks)
    ready = sorted((turn[place], place) for place, count in enumerate(lacking) if not count)  # a heap
    later: list[tuple[float, int, int]] = []  # ready at a time: by time, then turn
    free, end = [0.0] * workers, 0.0
    while ready or later:
        moment = heapq.heappop(free)
        if not ready:
            moment = max(moment, later[0][0])
        while later and later[0][0] <= moment:
            heapq.heappush(ready, heapq.heappop(later)[1:])
        _, place = heapq.heappop(ready)
        heapq.heappush(free, moment + tasks[place].seconds)
        end = max(end, moment + tasks[place].seconds)
        for follower, share in followers[place]:
            ready_at[follower] = max(ready_at[follower], moment + share * tasks[place].seconds)
            lacking[follower] -= 1
            if not lacking[follower]:
                heapq.heappush(later, (ready_at[follower], turn[follower], follower))
    return end
