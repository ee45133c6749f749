"""Sentences for forks: what each change does from the step of the fork on, compared with going on unchanged."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from difgen_cli.engine.grid.fork import AT, CHANGE, UNCHANGED
from difgen_cli.report.findings import paired
from difgen_cli.report.plotting import labels
from difgen_cli.report.study.curves import STEPS, Curves, last_snapshot

COPIES = "mem_frac"
SHOWN = 6  # changes that the sentence names


def forked(curves: Curves, _: pd.DataFrame) -> str | None:
    """The change of the memorized share at the last snapshots, over paired seeds; None without the empty fork."""
    cells = last_snapshot(curves.cells, curves.paths)
    if CHANGE not in curves.paths or UNCHANGED not in curves.axis(CHANGE).levels or f"{COPIES}_lo" not in cells:
        return None
    others = [path for path in curves.paths if path not in (CHANGE, STEPS)]
    named = list(_changes(curves, cells, others))
    if not named:
        return None
    more = f" and {len(named) - SHOWN} more" if len(named) > SHOWN else ""
    at = {f"{step:,.0f}" for step in cells[AT].dropna()} if AT in cells else set()
    where = f" from step {at.pop()} on" if len(at) == 1 else ""
    changes = "; ".join(named[:SHOWN])
    return f"Compared at the last snapshots with going on unchanged{where}, over paired seeds: {changes}{more}."


def _changes(curves: Curves, cells: pd.DataFrame, others: list[str]) -> Iterator[str]:
    """For each change that is there with an interval: what it does."""
    unchanged = cells[cells[CHANGE] == UNCHANGED]
    for level in curves.axis(CHANGE).levels:
        if level == UNCHANGED:
            continue
        changes = paired.changes(unchanged, cells[cells[CHANGE] == level], COPIES, others).dropna(subset=["lo"])
        if len(changes) == 1:
            line = changes.iloc[0]
            interval = f"[{labels.number(line['lo'])}, {labels.number(line['hi'])}]"
            verb = "lowers" if line["hi"] < 0 else "raises" if line["lo"] > 0 else "does not surely change"
            yield f"{level} {verb} {COPIES} ({labels.number(line['mean'])} {interval})"
        elif len(changes):
            lower, higher = int((changes["hi"] < 0).sum()), int((changes["lo"] > 0).sum())
            yield f"{level} lowers {COPIES} in {lower} of {len(changes)} settings and raises it in {higher}"
