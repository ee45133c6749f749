"""In which order units are claimed, and how long a number of workers takes for them: pure arithmetic.

Longest first, counted to the end of what waits for a unit: its rank, as in list scheduling by the critical path
(Graham 1969; Topcuoglu et al. 2002, upward rank). So a unit always ranks above those that wait for it.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class ScheduledUnit:
    """A unit that takes `seconds`, and what it waits for: places of other tasks, and which share of each must be done.

    A snapshot is there when its share of the training's steps is done.
    """

    seconds: float
    after: tuple[tuple[int, float], ...] = ()


def ranks(tasks: Sequence[ScheduledUnit]) -> list[float]:
    """Seconds from a task's start to the end of the longest chain that begins with it; ValueError for a circle."""
    found = [task.seconds for task in tasks]
    waiting = [0] * len(tasks)  # those that wait for a task and are not ranked yet
    for task in tasks:
        for place, _ in task.after:
            waiting[place] += 1
    ready = [place for place, count in enumerate(waiting) if not count]
    for place in ready:  # grows while it is read: from the ends of chains to their beginnings
        for before, share in tasks[place].after:
            found[before] = max(found[before], share * tasks[before].seconds + found[place])
            waiting[before] -= 1
            if not waiting[before]:
                ready.append(before)
    if len(ready) < len(tasks):
        raise ValueError("tasks wait for each other in a circle")
    return found


def makespan(tasks: Sequence[ScheduledUnit], order: Sequence[int], workers: int) -> float:
    """Seconds until all is done, where each worker that is free takes the first task in `order` that is ready."""
    if not tasks:
        return 0.0
    turn = {place: number for number, place in enumerate(order)}
    followers: list[list[tuple[int, float]]] = [[] for _ in tasks]
    for place, task in enumerate(tasks):
        for before, share in task.after:
            followers[before].append((place, share))
    lacking = [len(task.after) for task in tasks]
    ready_at = [0.0] * len(tasks)
    later: list[tuple[float, int, int]] = []  # ready at a time: by time, then turn
    ready = [(turn[place], place) for place, count in enumerate(lacking) if not count]
    heapq.heapify(ready)
    free, end = [0.0] * min(workers, len(tasks)), 0.0
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
