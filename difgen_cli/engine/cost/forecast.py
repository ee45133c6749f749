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
from graphlib import TopologicalSorter
from typing import Any

from difgen_cli.engine.cost.estimate import NOTHING, UNKNOWN, Estimator, Seconds, UnitCost, predict, total
from difgen_cli.engine.cost.history import Workload
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


def forecast(todo: Work, estimator: Estimator, workers: int, overhead: Sequence[float] = ()) -> Forecast:
    """What `todo` takes on so many workers. `overhead`: seconds that workers spent beside units."""
    if not todo:
        return Forecast(todo, 0, (), NOTHING, NOTHING, Part("", 0, NOTHING))
    workers = min(workers, len(todo))
    costs = [*map(estimator.training, todo.trainings), *map(estimator.scoring, todo.scorings)]
    totals = [cost.total for cost in costs]
    values = [seconds.value for seconds in totals]
    unit_ranks = ranks(values, _after(todo))
    start_up = predict({Workload(1.0): list(overhead)}, Workload(1.0)) if overhead else OVERHEAD
    parts = [*_parts(costs), Part("start-up", workers, start_up.times(workers))]
    predicted = [p.seconds for p in parts if p.seconds.how != "unknown"]
    wall = replace(total(predicted), value=start_up.value + makespan(values, unit_ranks, workers))
    if any(p.name == "training" and p.seconds.how == "unknown" for p in parts):
        wall = replace(UNKNOWN, value=wall.value)
    longest = max(totals, key=lambda seconds: seconds.value)
    return Forecast(todo, workers, tuple(parts), wall, longest, _longest_piece(costs), totals, unit_ranks)


def _units(work: Work) -> list[Training | Scoring]:
    return [*work.trainings, *work.scorings]


def _parts(costs: Sequence[UnitCost]) -> list[Part]:
    """Training, sampling, then the metrics, the dearest first; of a part without any time nothing is known."""
    counts: dict[str, Counter[Seconds]] = defaultdict(Counter)
    for cost, units in Counter(costs).items():
        for name, seconds in cost.parts.items():
            counts[name][seconds] += units
    parts = []
    for name, count in counts.items():
        predicted = [seconds.times(units) for seconds, units in count.items() if seconds.how != "unknown"]
        parts.append(Part(name, count.total(), total(predicted) if predicted else UNKNOWN))
    first = {"training": 0, "sampling": 1}
    return sorted(parts, key=lambda p: (first.get(p.name, 2), -p.seconds.value))


def _longest_piece(costs: Sequence[UnitCost]) -> Part:
    """Sampling, or a metric: a training is saved wherever it stops."""
    pieces = [Part(n, 1, s) for cost in dict.fromkeys(costs) for n, s in cost.parts.items() if n != "training"]
    return max(pieces, key=lambda piece: piece.seconds.value, default=Part("", 0, NOTHING))


# Order ---------------------------------------------------------------------------------------------------------------


def _after(todo: Work) -> list[set[int]]:
    """By unit, the places of the trainings of the same work that it waits for."""
    trained = {training.run_key: place for place, training in enumerate(todo.trainings)}
    return [{trained[run_key] for run_key in _begins_with(unit) if run_key in trained} for unit in _units(todo)]


def _begins_with(unit: Training | Scoring) -> Iterator[str]:
    """The trajectory of each snapshot that a unit needs."""
    others: list[Dependency] = []
    if isinstance(unit, Scoring):
        others += unit.partners.values()
        if unit.weights:
            yield unit.run_key
    else:
        others += unit.needs.values()
    for other in others:  # grows while it is read
        yield other.run_key
        others += other.partners.values()


def ranks(seconds: Sequence[float], after: Sequence[set[int]]) -> list[float]:
    """Seconds from a unit's start to the end of the longest chain that begins with it; ValueError for a circle.

    after: by unit, the places of those that it waits for.
    """
    longest = list(seconds)
    for place in reversed(list(TopologicalSorter(dict(enumerate(after))).static_order())):
        for earlier in after[place]:
            longest[earlier] = max(longest[earlier], seconds[earlier] + longest[place])
    return longest


def makespan(seconds: Sequence[float], unit_ranks: Sequence[float], workers: int) -> float:
    """Seconds until all is done, where each worker that is free takes the unit with the highest rank.

    Units count as ready, but no chain is shorter than it is: where a worker waits for a snapshot, another works.
    """
    free = [0.0] * workers
    for place in sorted(range(len(seconds)), key=lambda place: -unit_ranks[place]):
        heapq.heapreplace(free, free[0] + seconds[place])
    return max(*free, *unit_ranks, 0.0)
