"""What commands print: plans, states and lists, for a terminal or as JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from difgen_cli.grid.document import GridError
from difgen_cli.plugins import Library
from difgen_cli.status import STATES, Line, Status
from difgen_cli.store import tables
from difgen_cli.store.waste import KINDS, Waste
from difgen_cli.view import duration

if TYPE_CHECKING:
    from rich.console import Console

    from difgen_cli.sweep import Planned

SCHEMA = 1
WATCH_SECONDS = 2.0
MARKS = {"new": "+", "done": "=", "stale": "~", "failed": "!"}


def as_json(content: dict[str, Any]) -> str:
    """JSON with a schema version, for machines."""
    return json.dumps({"schema": SCHEMA, **content}, indent=1, default=str)


def brief(planned: Planned, console: Console) -> None:
    """The plan in a line or two, and what confounds the study."""
    plan, counts = planned.plan, planned.state.counts
    states = ", ".join(f"{counts[s]} {s}" for s in MARKS if counts[s])
    console.print(
        f"{plan.grid.name}: {len(plan.models):,} cells and {len(plan.cells) - len(plan.models):,} reference rows "
        f"({states}) in {len(plan.trajectories):,} trajectories",
        highlight=False,
        soft_wrap=True,
    )
    for note in plan.warnings:
        console.print(f"note: {note}", highlight=False, soft_wrap=True, style="yellow")
    for slug in planned.state.retrained[:5]:
        console.print(f"note: {slug}: an earlier snapshot was not kept; trained again to it", style="yellow")


def plan(planned: Planned, console: Console) -> None:
    """The whole plan: one line a trajectory with its snapshots' marks, then cost."""
    from rich.table import Table

    brief(planned, console)
    marks: dict[str, list[str]] = {}
    for cell, mark in zip(planned.plan.cells, planned.state.marks, strict=True):
        marks.setdefault(cell.home, []).append(MARKS[mark])
    table = Table(box=None, pad_edge=False)
    for name in ("trajectory", "steps", "cells", "images"):
        table.add_column(
            name, no_wrap=name != "steps", overflow="ellipsis", justify="right" if name == "images" else "left"
        )
    for key, trajectory in planned.plan.trajectories.items():
        steps = ",".join(map(str, trajectory.steps))
        table.add_row(trajectory.slug, steps, _tally(marks[key]), f"{trajectory.images:,}")
    console.print(table)
    console.print(f"{' '.join(f'{v} {k}' for k, v in MARKS.items())}", highlight=False)
    share = planned.plan.images_planned / max(planned.plan.images_one_by_one, 1)
    console.print(
        f"{planned.plan.images_planned:,} training images, {share:.2f} of what the cells would take one by one; "
        f"to do: {_cost(planned)}",
        highlight=False,
        soft_wrap=True,
    )
    for index, cause in list(planned.state.causes.items())[:10]:
        console.print(f"! cell {index}: {cause}", highlight=False, markup=False, soft_wrap=True)


def _tally(marks: list[str]) -> str:
    return "".join(marks) if len(marks) <= 12 else " ".join(f"{marks.count(m)}{m}" for m in dict.fromkeys(marks))


def _cost(planned: Planned) -> str:
    """Training left, in images and, from finished trajectories of the same network, in seconds; `?` where none is."""
    todo = planned.state.work.trainings
    images = sum(t.cost for t in todo)
    rates = tables.seconds_per_image(planned.store)
    known = [rates.get(_network(planned, t.home)) for t in todo]
    seconds = [t.cost * r for t, r in zip(todo, known, strict=True) if r is not None]
    time = duration(sum(seconds)) + (" and more" if len(seconds) < len(todo) else "") if seconds or not todo else "?"
    return f"{images:,.0f} images, {time} of one worker's training"


def _network(planned: Planned, home: str) -> str:
    settings = planned.plan.trajectories[home].settings
    return tables.speed_key({k: v for k, v in settings.items() if k.startswith("model.") or k == "train.batch"})


def plan_json(planned: Planned) -> str:
    """The plan for machines: every cell with its settings, keys and mark."""
    cells = [
        {"index": c.index, "kind": c.kind, "seed": c.seed, "step": c.step, "mark": mark, "trajectory": c.home,
         "cell": c.samples, "settings": c.settings(), "axes": c.axis_values(), "results": c.metrics}
        for c, mark in zip(planned.plan.cells, planned.state.marks, strict=True)
    ]  # fmt: skip
    trajectories = {
        k: {"slug": t.slug, "steps": t.steps, "images": t.images} for k, t in planned.plan.trajectories.items()
    }
    return as_json({"grid": planned.plan.grid.name, "cells": cells, "trajectories": trajectories,
                    "images": planned.plan.images_planned, "images_one_by_one": planned.plan.images_one_by_one,
                    "warnings": planned.plan.warnings})  # fmt: skip


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
    return f"{len(now.lines):,} trajectories" + (f": {states}" if states else "")


def status(now: Status, console: Console) -> None:
    """How submissions stand, and one line a trajectory; plain text, since thousands of lines are not rare."""
    for standing in now.standings:
        job = (standing.submission.receipt or {}).get("job")
        named = standing.submission.name + (f", job {job}" if job else "")
        console.print(f"{named}: {standing.words}", highlight=False, markup=False, soft_wrap=True)
    console.print(summary(now), highlight=False)
    if now.lines:
        table = columns([_cells(line) for line in now.lines], console.width)
        console.print("\n".join(table), highlight=False, markup=False, soft_wrap=True)
    for line in now.lines:
        if line.cause:
            console.print(f"! {line.trajectory}: {line.cause}", highlight=False, markup=False, soft_wrap=True)


def _cells(line: Line) -> dict[str, str]:
    """A trajectory's line by column."""
    rate, left = line.images_per_second, line.left_seconds
    metrics = " ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in line.metrics.items())
    return {
        "trajectory": line.trajectory,
        "state": line.state,
        "step": "" if line.step is None else f"{line.step}/{line.target}" if line.target else str(line.step),
        "images/s": f"{rate:,.0f}" if rate else "",
        "left": duration(left) if left is not None else "",
        "snapshots": str(len(line.snapshots)),
        "worker": line.worker or "",
        "last metrics": metrics,
    }


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
                console.print(said, highlight=False)
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
    order = {s: k for k, s in enumerate(("training", "scoring", *STATES[:3], "waiting", "done"))}
    lines = sorted(now.lines, key=lambda line: order[line.state])[: max(1, height - len(now.standings) - 4)]
    heads = [f"{s.submission.name}: {s.words}" for s in now.standings]
    return "\n".join([*heads, summary(now), *(columns([_cells(line) for line in lines], width) if lines else [])])


def data(name: str | None, path: Path | None, console: Console) -> None:
    """The data plug-ins, or the facts of one data set."""
    library = Library()
    if name is None:
        for each in library.names("data"):
            signature = library.signature("data", each)
            console.print(f"{each}: {', '.join(signature.settings) or 'no settings'}", highlight=False, soft_wrap=True)
        return
    if name not in library.names("data"):
        raise GridError(f"data {name}: no such data plug-in ({', '.join(library.names('data'))})")
    from difgen_cli import data as sets

    settings = {"path": path.absolute()} if path else {}
    try:
        pool = library.module("data", name).load(**settings)
    except (sets.DataError, TypeError) as error:
        raise GridError(f"data {name}: {error}") from None
    shape = "×".join(map(str, pool.images.shape[1:]))
    console.print(f"{len(pool.images):,} images of {shape} {pool.images.dtype}", highlight=False)
    console.print(f"classes: {', '.join(pool.classes) or 'none'}", highlight=False, soft_wrap=True, markup=False)
    console.print(f"sigma_data {sets.sigma_data(pool.images):.4f}, content {sets.content(pool)[:16]}", highlight=False)


def weights(action: str, name: str | None, folder: Path | None, console: Console) -> None:
    """The files of weights: where they are, fetched, or verified."""
    from difgen_cli import features, places

    folders = [folder] if folder else places.weights_folders()
    names = [name] if name else list(features.WEIGHTS)
    for each in names:
        try:
            if action == "fetch":
                console.print(f"{each}: {features.fetch(each, folders[0])}", highlight=False, soft_wrap=True)
                continue
            path = features.find(each, folders)
            if action == "verify":
                features.verify(path, each)
            console.print(f"{each}: {path}{' verified' if action == 'verify' else ''}", highlight=False, soft_wrap=True)
        except features.WeightsError as error:
            if action != "list" or name:
                raise GridError(str(error)) from None
            known = features.WEIGHTS[each]
            console.print(
                f"{each}: not here; {known.size_bytes:,} bytes, SHA-256 {known.sha256}, {known.licence}; "
                f"{known.purpose}",
                highlight=False,
                soft_wrap=True,
            )


def waste(found: list[Waste], chosen: list[Waste], console: Console) -> None:
    """What `gc` would remove, by kind, and what more there is."""
    for kind in KINDS:
        mine = [w for w in found if w.kind == kind.name]
        if mine:
            more = "" if mine[0] in chosen else " (stays without --all)"
            console.print(f"{kind.name}: {_sum(mine)}: {kind.what}{more}", highlight=False, soft_wrap=True)
    if not chosen:
        console.print("nothing to remove" + (" without --all" if found else ""), highlight=False)


def removal(removed: list[Waste]) -> str:
    """What `gc` has done."""
    return f"removed {_sum(removed)}" if removed else "nothing was removed"


def _sum(items: list[Waste]) -> str:
    """How many, and how large together."""
    size_bytes = sum(w.size_bytes for w in items)
    readable = f" ({size_bytes / (1 << 30):,.1f} GiB)" if size_bytes >= 1 << 30 else ""
    return f"{len(items):,} of {size_bytes:,} bytes{readable}"


def waste_json(chosen: list[Waste], removed: list[Waste]) -> str:
    """What `gc` would remove, and what it did, for machines."""
    gone_ = {w.path for w in removed}
    lines = [{"kind": w.kind, "path": str(w.path), "bytes": w.size_bytes, "removed": w.path in gone_} for w in chosen]
    return as_json({"bytes": sum(w.size_bytes for w in chosen), "waste": lines})
