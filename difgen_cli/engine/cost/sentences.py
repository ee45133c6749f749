"""A forecast for people and for JSON: before the work, and compared with what it took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from difgen_cli.engine.cost.estimate import Seconds
from difgen_cli.engine.cost.forecast import Forecast
from difgen_cli.format import counted, duration

WORK = ("training", "sampling", "scoring")  # what a worker's clock tells apart


def expected(forecast: Forecast) -> str:
    """`about 12m30 on 2 workers (9m to 17m), 24m01 of workers' time; from mlp width 64`."""
    on, wall = f"on {counted(forecast.workers, 'worker')}", forecast.wall
    if wall.how == "unknown":
        return f"how long it takes {on} is not known: no training of this run directory was on this device"
    if forecast.total.how == "guess":  # an interval would be one too
        return f"about {duration(wall.value)} {on}, a guess until the first training has run"
    lacking = f"; without {', '.join(forecast.unknown)}, of which nothing is known" if forecast.unknown else ""
    total = f"{duration(forecast.total.value)} of workers' time"
    return f"about {duration(wall.value)} {on} ({_range(wall)}), {total}; {obtained(forecast.total)}{lacking}"


def obtained(seconds: Seconds) -> str:
    """How a number was come by, in a word or a few."""
    source = f"scaled from {seconds.source}" if seconds.source else "scaled"
    return {"measured": "measured", "scaled": source, "guess": "a guess", "unknown": "not known"}[seconds.how]


def _range(seconds: Seconds) -> str:
    return f"{duration(seconds.low)} to {duration(seconds.high)}"


def as_dict(forecast: Forecast) -> dict[str, Any]:
    """For JSON; None for what is not known."""

    def numbers(seconds: Seconds) -> dict[str, Any]:
        if seconds.how == "unknown":
            return {"seconds": None, "seconds_lo": None, "seconds_hi": None, "how": seconds.how, "from": None}
        low, high = round(seconds.low, 3), round(seconds.high, 3)
        return {"seconds": round(seconds.value, 3), "seconds_lo": low, "seconds_hi": high, "how": seconds.how,
                "from": seconds.source if seconds.how == "scaled" else None}  # fmt: skip

    parts = [{"name": p.name, "units": p.units, **numbers(p.seconds)} for p in forecast.parts]
    return {"workers": forecast.workers, "total": numbers(forecast.total), "wall": numbers(forecast.wall),
            "longest_unit": numbers(forecast.longest), "parts": parts}  # fmt: skip


def beside(forecast: Mapping[str, Any], worker_records: Sequence[Mapping[str, Any]], units: int) -> str | None:
    """What the work took beside what was expected, from what `as_dict` said; None where it is not all told.

    The workers' own clocks say it: they know nothing of a worker that died.
    """
    clocks = [record["seconds"] for record in worker_records if record.get("seconds")]
    if (
        sum(record.get("units") or 0 for record in worker_records) != units
        or not clocks
        or forecast.get("wall", {}).get("seconds") is None
    ):
        return None
    wall = forecast["wall"]
    range_ = f"{duration(wall['seconds_lo'])} to {duration(wall['seconds_hi'])}"
    spent = {purpose: sum(c.get(purpose, 0.0) for c in clocks) for purpose in WORK}
    spent["start-up"] = sum(c["wall"] - c["waiting"] for c in clocks) - sum(spent.values())
    before: dict[str, list[float | None]] = {name: [] for name in spent}
    for part in forecast["parts"]:
        before[part["name"] if part["name"] in before else "scoring"].append(part["seconds"])
    parts = ", ".join(f"{name} {duration(s)} ({_sum(before[name])})" for name, s in spent.items())
    took = duration(max(c["wall"] for c in clocks))
    return f"took {took}, expected {duration(wall['seconds'])} ({range_}); workers' time (expected): {parts}"


def _sum(seconds: Sequence[float | None]) -> str:
    """What parts were expected to take together, as far as it was known."""
    numbers = [value for value in seconds if value is not None]
    return duration(sum(numbers)) if numbers or not seconds else "not known"
