"""A run directory: how submissions stand, and one line a trajectory."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from difgen_cli.display import as_json
from difgen_cli.engine.status import STATES, Status, TrajectoryStatus
from difgen_cli.format import counted, duration

if TYPE_CHECKING:
    from rich.console import Console

WATCH_SECONDS = 2.0


def status_json(now: Status) -> str:
    """`status` for machines."""
    standing = [
        {"submission": s.submission.name, "launcher": s.submission.launcher, "known": s.known, "running": s.running,
         "pending": s.pending, "reasons": s.reasons, "job": (s.submission.receipt or {}).get("job")}
        for s in now.standings
    ]  # fmt: skip
    return as_json({"trajectories": [asdict(line) for line in now.lines], "submissions": standing})


def summary(now: Status) -> str:
    """A run directory in a line."""
    counts = now.counts
    states = ", ".join(f"{counts[s]:,} {s}" for s in reversed(STATES) if counts[s])
    return counted(len(now.lines), "trajectory", "trajectories") + (f": {states}" if states else "")


def status(now: Status, console: Console) -> None:
    """How submissions stand, and one line a trajectory; plain text, since thousands of lines are not rare."""
    for standing in now.standings:
        job = (standing.submission.receipt or {}).get("job")
        named = standing.submission.name + (f", job {job}" if job else "")
        console.print(f"{named}: {standing.words}")
    console.print(summary(now))
    if now.lines:
        table = columns([_cells(line) for line in now.lines], console.width)
        console.print("\n".join(table), soft_wrap=True)
    for line in now.lines:
        if line.cause and line.state in ("failed", "lost"):
            console.print(f"! {line.trajectory}: {line.cause}")


def _cells(line: TrajectoryStatus) -> dict[str, str]:
    """A trajectory's line by column."""
    rate, left = line.images_per_second, line.left_seconds
    metrics = " ".join(f"{name} {_measured(value)}" for name, value in line.metrics.items())
    return {
        "trajectory": line.trajectory,
        "state": line.state,
        "step": "" if line.step is None else f"{line.step}/{line.target}" if line.target else str(line.step),
        "images/s": f"{rate:,.0f}" if rate else "",
        "roofline": f"{line.roofline:.0%}" if rate and line.roofline is not None else "",
        "left": duration(left) if left is not None else "",
        "snapshots": str(len(line.snapshots)),
        "worker": line.worker or "",
        "last metrics": metrics,
    }


def _measured(value: Any) -> str:
    return "–" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)


def columns(rows: Sequence[dict[str, str]], width: int) -> list[str]:
    """Rows as lines of text in columns, a heading first; the first column gives way where the terminal is narrow."""
    names = [n for n in rows[0] if any(row[n] for row in rows)]
    wide = {n: max(len(n), *(len(row[n]) for row in rows)) for n in names}
    spare = width - sum(wide.values()) - 2 * (len(names) - 1)
    wide[names[0]] = max(12, wide[names[0]] + min(0, spare))
    lines = [{n: n for n in names}, *rows]
    return ["  ".join(_fit(line[n], wide[n]) for n in names).rstrip()[:width] for line in lines]


def _fit(text: str, width: int) -> str:
    return text.ljust(width) if len(text) <= width else text[: width - 1] + "…"


def watch(look: Callable[[], Status], console: Console) -> None:
    """`status` again and again, until no worker is left; off a terminal a line whenever something has changed."""
    from rich.live import Live
    from rich.text import Text

    if not console.is_terminal:
        said = ""
        while True:
            now = look()
            if summary(now) != said:
                said = summary(now)
                console.print(said)
            if not now.alive:
                return
            time.sleep(WATCH_SECONDS)
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while True:
            now = look()
            live.update(Text(_page(now, console.width, console.height)), refresh=True)
            if not now.alive:
                break
            time.sleep(WATCH_SECONDS)
    status(now, console)


def _page(now: Status, width: int, height: int) -> str:
    """What fits on a terminal: what runs before what waits or is done."""
    order = {s: k for k, s in enumerate(("training", "scoring", *STATES[:3], "waiting", "stale", "done"))}
    lines = sorted(now.lines, key=lambda line: order[line.state])[: max(1, height - len(now.standings) - 4)]
    heads = [f"{s.submission.name}: {s.words}" for s in now.standings]
    return "\n".join([*heads, summary(now), *(columns([_cells(line) for line in lines], width) if lines else [])])
