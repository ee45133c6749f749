"""A forecast in a sentence: before the work, and beside what it took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from difgen_cli.engine.cost.estimate import Seconds
from difgen_cli.engine.cost.forecast import Forecast
from difgen_cli.format import counted, duration

WORK = ("training", "sampling", "scoring")  # what a worker's clock tells apart


def expected(found: Forecast) -> str:
    """`about 12m30 on 2 workers (9m to 17m), 24m01 of workers' time; from mlp width 64`."""
    on = f"on {counted(found.workers, 'worker')}"
    if found.wall.how == "unknown":
        return f"how long it takes {on} is not known: no training of this run directory was on this device"
    if found.total.how == "guess":  # an interval would be one too
        return f"about {duration(found.wall.value)} {on}, a guess until the first training has run"
    lacking = f"; without {', '.join(found.unknown)}, of which nothing is known" if found.unknown else ""
    total = f"{duration(found.total.value)} of workers' time"
    return f"about {duration(found.wall.value)} {on} ({_range(found.wall)}), {total}; {obtained(found.total)}{lacking}"


def obtained(seconds: Seconds) -> str:
    """How a number was come by, in a word or a few."""
    source = f"scaled from {seconds.source}" if seconds.source else "scaled"
    return {"measured": "measured", "scaled": source, "guess": "a guess", "unknown": "not known"}[seconds.how]


def _range(seconds: Seconds) -> str:
    return f"{duration(seconds.low)} to {duration(seconds.high)}"


def beside(said: Mapping[str, Any], worker_records: Sequence[Mapping[str, Any]], units: int) -> str | None:
    """What the work took beside what was expected, from `forecast.as_dict`'s words; None where it is not all told.

    The workers' own clocks say it: they know nothing of a worker that died.
    """
    clocks = [b["seconds"] for b in worker_records if b.get("seconds")]
    if (
        sum(b.get("units") or 0 for b in worker_records) != units
        or not clocks
        or said.get("wall", {}).get("seconds") is None
    ):
        return None
    wall = said["wall"]
    range_ = f"{duration(wall['seconds_lo'])} to {duration(wall['seconds_hi'])}"
    spent = {purpose: sum(c.get(purpose, 0.0) for c in clocks) for purpose in WORK}
    spent["start-up"] = sum(c["wall"] - c["waiting"] for c in clocks) - sum(spent.values())
    thought = {p["name"]: p["seconds"] or 0.0 for p in said["parts"]}
    thought["scoring"] = sum(seconds for name, seconds in thought.items() if name not in (*WORK, "start-up"))
    parts = ", ".join(f"{n} {duration(s)} ({duration(thought.get(n, 0.0))})" for n, s in spent.items())
    took = duration(max(c["wall"] for c in clocks))
    return f"took {took}, expected {duration(wall['seconds'])} ({range_}); workers' time (expected): {parts}"
