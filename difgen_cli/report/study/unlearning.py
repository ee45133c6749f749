"""The models of a study of unlearning: before it, after it in one way or more, and retrained without the images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from difgen_cli.report.plotting import labels
from difgen_cli.report.study.curves import STEPS, Curves, last_snapshot, per_group, worded

COPIES = "unlearnt_copies"
RETRAINED, OBJECTIVE = "data.retrain", "objective.name"
START, CHANGE = f"train.start.{RETRAINED}", "fork.change"  # how a model begins that was trained on
WORDS = {
    (RETRAINED, "true"): "trained on without them", (RETRAINED, "false"): "", (OBJECTIVE, "edm"): "",
}  # fmt: skip
METHOD = "objective.method"  # whose value needs no name before it
OF_UNLEARNING = ("objective", "train", "fork")  # sections in which a model that unlearns differs from that before


@dataclass(frozen=True)
class Unlearning:
    """Finished cells at their last snapshots that are alike in all but what unlearning changes."""

    levels: dict[str, str]  # of the other axes
    before: pd.DataFrame
    after: dict[str, pd.DataFrame]  # by the words of what differs among them; "" where there is one alone
    never: pd.DataFrame  # retrained without the images


def models(curves: Curves) -> Iterator[Unlearning]:
    """Those that have all three, with one model before and one retrained."""
    cells = last_snapshot(curves.cells, curves.paths)
    if any(name not in cells for name in (COPIES, RETRAINED, OBJECTIVE)):
        return
    own = [path for path in curves.paths if path == RETRAINED or path.partition(".")[0] in OF_UNLEARNING]
    alike, own = [path for path in curves.paths if path not in own], [path for path in own if path != STEPS]
    for levels, group in per_group(cells.dropna(subset=[COPIES]), alike):
        without, saw = worded(group[RETRAINED]) == "true", _saw_before(group)
        unlearns = (worded(group[OBJECTIVE]) == "unlearn") | (without & saw)
        before, several, never = group[~without & ~unlearns], group[unlearns], group[without & ~saw]
        if several.empty or any(len(frame[own].drop_duplicates()) != 1 for frame in (before, never)):
            continue  # which of several would be the one that it began with?
        varied = [path for path in own if worded(several[path]).nunique() > 1]
        after = {", ".join(_named(varied, setting)): frame for setting, frame in per_group(several, varied)}
        named = {path: str(level) for path, level in zip(alike, levels, strict=True)}
        yield Unlearning(named, before, after, never)


def _saw_before(cells: pd.DataFrame) -> pd.Series:
    """Whether a model that is trained without the images began with one that was trained with them."""
    started = worded(cells[START]) == "false" if START in cells else pd.Series(False, cells.index)
    forked = worded(cells[CHANGE]).str.contains(RETRAINED) if CHANGE in cells else pd.Series(False, cells.index)
    return started | forked


def _named(paths: list[str], levels: tuple[Any, ...]) -> list[str]:
    """The levels of a model in words; what goes without words is left out."""
    pairs = [(path, str(level)) for path, level in zip(paths, levels, strict=True)]
    named = [
        WORDS.get((path, level), level if path in (METHOD, OBJECTIVE) else labels.level(path, level))
        for path, level in pairs
        if level != "none"
    ]
    return [word for word in named if word]
