"""The last snapshots, over seeds, as a table for the terminal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from difgen_cli.engine.columns import Columns
from difgen_cli.format import counted
from difgen_cli.report.plotting import captions, labels
from difgen_cli.report.study import costs, seeds
from difgen_cli.report.study.curves import STEPS, Curves, absent_by_state

# metric -> header, in the order of reading; the last ones are dropped first where a terminal is narrow
HEADERS = {
    "mem_frac": "mem_frac",
    "fd_test": "fd_test",
    "floors": "floors",
    "train_pref_excess": "pref excess",
    "mem_frac_control": "control",
    "mem_power": "power",
    "gap_max": "gap max",
    "mem_radius_q50": "radius",
}
WITH_INTERVAL = ("mem_frac", "fd_test", "train_pref_excess")
SHOWN = (
    "mem_frac",
    "mem_frac_control",
    "mem_power",
    "mem_radius_q50",
    "fd_test",
    "floors",
    "train_pref_excess",
    "gap_max",
)


@dataclass(frozen=True)
class Column:
    """A column ready to print: its header, its words, and how early it is dropped (0: never)."""

    header: str
    words: list[str]
    drop: int = 0
    right: bool = True


def columns(curves: Curves) -> list[Column]:
    """The last snapshots as words: the axes in full, then the metrics that exist."""
    frame = curves.last
    shown = [
        Column(name, frame[path].astype(str).tolist(), right=curves.axis(path).numeric)
        for path, name in names([path for path in curves.paths if path != STEPS]).items()
    ]
    if STEPS in curves.paths:
        shown.append(Column("step", [_whole(step) for step in frame["step"]]))
    shown.append(Column("seeds", [str(n) for n in frame["seeds"]], drop=4))
    order = list(HEADERS)
    chosen = [name for name in SHOWN if name in frame] or [name for name in curves.metrics[:6] if name in frame]
    for name in chosen:
        drop = len(order) - order.index(name) if name in HEADERS else 0
        priority = {"mem_frac": 0, "fd_test": 0}.get(name, 10 - drop if drop else 0)
        shown.append(Column(HEADERS.get(name, name), _words(frame, name, curves.columns), drop=priority))
    return shown


def table(curves: Curves, title: str, width: int | None = None) -> Table:
    """The last snapshots as a rich table; columns are dropped from the least important until `width` holds it."""
    return fitted(columns(curves), title, notes(curves), width)


def fitted(chosen: list[Column], title: str, caption: str, width: int | None) -> Table:
    """Columns as a table; the least important are dropped until `width` holds it."""
    chosen = list(chosen)
    drawn = _drawn(chosen, title, caption)
    while width is not None and _natural(drawn) > width:
        droppable = [column for column in chosen if column.drop]
        if not droppable:
            return drawn  # rich wraps what is left
        chosen.remove(max(droppable, key=lambda column: column.drop))
        drawn = _drawn(chosen, title, f"{caption} Some columns are not shown: the terminal is too narrow.")
    drawn.width = _natural(drawn)
    return drawn


def notes(curves: Curves) -> str:
    """What is under the table: cells done, missing and failed; what ± means; the features behind fd_test."""
    counts = f"{len(curves.done)} of {counted(len(curves.cells), 'cell')} done"
    parts = [", ".join([counts, *(f"{count} {word}" for word, count in absent_by_state(curves.cells).items())]) + "."]
    if curves.seeds == 1:
        parts.append("One seed: no interval over seeds.")
    elif curves.seeds:
        parts.append(captions.over_seeds(curves, curves.metrics))
    if "fd_test" in curves.metrics:
        parts.append(f"fd_test: {labels.frechet(curves.features)}; floors: fd_test / fd_floor (real against real).")
    parts.append(costs.words(curves.cells))
    return " ".join(part for part in parts if part)


def names(paths: list[str]) -> dict[str, str]:
    """The shortest end of each dotted path that tells it apart from the others, and from the training steps."""
    others = {*paths, STEPS}

    def end(path: str) -> str:
        parts = path.split(".")
        ends = [".".join(parts[k:]) for k in reversed(range(len(parts)))]
        return next((e for e in ends if sum(f".{other}".endswith(f".{e}") for other in others) == 1), path)

    return {path: end(path) for path in paths}


def _words(frame: pd.DataFrame, name: str, columns: Columns) -> list[str]:
    values = frame[name].to_numpy(float)
    if name == "floors":
        return [f"{labels.number(value, 2)}×" if np.isfinite(value) else labels.NONE for value in values]
    if name not in WITH_INTERVAL or f"{name}_hi" not in frame:
        return [labels.number(value) for value in values]
    lower, upper = frame[f"{name}_lo"].to_numpy(float), frame[f"{name}_hi"].to_numpy(float)
    over = frame["seeds"].to_numpy() > 1  # a single seed's own interval is not one over seeds
    kind = "ratio" if seeds.logarithmic(name, columns) else "share" if seeds.whole(name, columns) else ""
    return [
        labels.interval(value, low, high, kind) if many else labels.number(value)
        for value, low, high, many in zip(values, lower, upper, over & np.isfinite(upper - lower), strict=True)
    ]


def _whole(step: float) -> str:
    return labels.text(step) if np.isfinite(step) else labels.NONE


def _drawn(chosen: list[Column], title: str, caption: str) -> Table:
    drawn = Table(title=Text(title), caption=Text(caption), caption_justify="left", title_justify="left")
    for column in chosen:
        drawn.add_column(Text(column.header), justify="right" if column.right else "left", no_wrap=True)
    for line in zip(*[column.words for column in chosen], strict=True):
        drawn.add_row(*[Text(word) for word in line])
    return drawn


def _natural(drawn: Table) -> int:
    console = Console(width=100_000)
    return drawn.__rich_measure__(console, console.options).maximum
