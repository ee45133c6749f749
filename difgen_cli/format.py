"""Numbers and names as a person reads them: how many of something, how long, and a name in little room."""

from __future__ import annotations


def counted(count: int, what: str, several: str | None = None) -> str:
    """How many of something: 1 cell, 2,000 cells, 3 trajectories."""
    return f"{count:,} {what if count == 1 else several or what + 's'}"


def duration(seconds: float) -> str:
    """Seconds for a person: 42s, 7m05, 3h20."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}"


def shortened(name: str, width: int) -> str:
    """A name without its middle where it is too long: its end, the seed, tells it from others."""
    if len(name) <= width:
        return name
    kept = max(2, width - 1)
    return f"{name[: kept // 2]}…{name[-(kept - kept // 2) :]}"
