"""Sentences for unlearning: copies of the images to be unlearnt before, after, and of a model that never saw them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from difgen_cli.report.findings import paired
from difgen_cli.report.findings.numbers import percent
from difgen_cli.report.plotting import labels
from difgen_cli.report.study.curves import STEPS, Curves, last_snapshot, per_group, worded
from difgen_cli.report.study.seeds import over_seeds

COPIES, CONTROL, POWER = "unlearnt_copies", "unlearnt_copies_control", "unlearnt_power"
RETRAINED, OBJECTIVE = "data.retrain", "objective.name"
START, CHANGE = f"train.start.{RETRAINED}", "fork.change"  # how a model begins that was trained on
WORDS = {
    (RETRAINED, "true"): "trained on with the others alone", (RETRAINED, "false"): "", (OBJECTIVE, "edm"): "",
}  # fmt: skip
OF_UNLEARNING = ("objective", "train", "fork")  # sections in which a model that unlearns differs from that before
SHOWN = 3  # settings that have a sentence


def unlearnt(curves: Curves, _: pd.DataFrame) -> str | None:
    """For each model that unlearns, what a model before it and a retrained one, alike in all else, make of the same."""
    cells = last_snapshot(curves.cells, curves.paths)
    if any(name not in cells for name in (COPIES, RETRAINED, OBJECTIVE)):
        return None
    sentences = list(_sentences(curves, cells.dropna(subset=[COPIES])))
    more = len(sentences) - SHOWN
    return " ".join([*sentences[:SHOWN], *([f"The table has {more} more."] if more > 0 else [])]) or None


def _sentences(curves: Curves, cells: pd.DataFrame) -> Iterator[str]:
    own = [path for path in curves.paths if path == RETRAINED or path.partition(".")[0] in OF_UNLEARNING]
    alike, own = [path for path in curves.paths if path not in own], [path for path in own if path != STEPS]
    for levels, group in per_group(cells, alike):
        without, saw = worded(group[RETRAINED]) == "true", _saw_before(group)
        unlearns = (worded(group[OBJECTIVE]) == "unlearn") | (without & saw)
        before, several, never = group[~without & ~unlearns], group[unlearns], group[without & ~saw]
        if several.empty or any(len(frame[own].drop_duplicates()) != 1 for frame in (before, never)):
            continue  # which of several would be the one that it began with?
        varied = [path for path in own if worded(several[path]).nunique() > 1]
        for setting, after in per_group(several, varied):
            words = [*_named(alike, levels), *_named(varied, setting)]
            yield _sentence(curves, before, after, never, f" ({', '.join(words)})" if words else "")


def _saw_before(cells: pd.DataFrame) -> pd.Series:
    """Whether a model that is trained without the images began with one that was trained with them."""
    started = worded(cells[START]) == "false" if START in cells else pd.Series(False, cells.index)
    forked = worded(cells[CHANGE]).str.contains(RETRAINED) if CHANGE in cells else pd.Series(False, cells.index)
    return started | forked


def _named(paths: list[str], levels: tuple[Any, ...]) -> list[str]:
    """The levels of a model in words; what goes without words is left out."""
    pairs = [(path, str(level)) for path, level in zip(paths, levels, strict=True)]
    named = [WORDS.get((path, level), labels.level(path, level)) for path, level in pairs if level != "none"]
    return [word for word in named if word]


def _sentence(curves: Curves, before: pd.DataFrame, after: pd.DataFrame, never: pd.DataFrame, where: str) -> str:
    shares = [_share(curves, frame) for frame in (before, after, never)]
    sentence = (
        f"Samples that copy images to be unlearnt{where}: {shares[0]} before, {shares[1]} after unlearning, "
        f"{shares[2]} of models retrained without them"
    )
    if CONTROL in never and never[CONTROL].notna().all():
        sentence += f", {percent(float(never[CONTROL].mean()))} of held-out images"
    if POWER in never and never[POWER].notna().all():
        caught = percent(float(never[POWER].mean()))
        sentence += f"; the rule catches {caught} of copies of them with noise of 0.1 a pixel"
    return f"{sentence}. {_verdict(before, after, never)}"


def _verdict(before: pd.DataFrame, after: pd.DataFrame, never: pd.DataFrame) -> str:
    """No wider than the interval of the difference over paired seeds."""
    learnt, left = _difference(never, before), _difference(never, after)
    if learnt is None or left is None:
        return "Without an interval over seeds nothing follows."
    if not learnt["lo"] > 0:
        return "The models before do not surely copy them more than the retrained ones, so that nothing follows."
    difference = f"a difference of {_points(left['mean'])} [{_points(left['lo'])}, {_points(left['hi'])}] points"
    if left["lo"] > 0:
        return f"After unlearning there are more such copies than of retrained models: {difference}."
    if left["hi"] < 0:
        return f"After unlearning there are fewer such copies than of retrained models: {difference}."
    return f"After unlearning and of retrained models the shares do not surely differ: {difference}."


def _share(curves: Curves, frame: pd.DataFrame) -> str:
    """Over seeds, in per cent, with its interval where it has one."""
    line = over_seeds(frame, [], [COPIES], curves.columns).iloc[0]
    written = percent(float(line["mean"]))
    if pd.isna(line["lo"]) or pd.isna(line["hi"]):
        return written
    return f"{written} [{percent(float(line['lo']))}, {percent(float(line['hi']))}]"


def _difference(a: pd.DataFrame, b: pd.DataFrame) -> Any:
    """`mean`, `lo` and `hi` of b − a over paired seeds; None where there is no interval."""
    changes = paired.changes(a, b, COPIES)
    if len(changes) != 1 or pd.isna(changes["lo"].iloc[0]):
        return None
    return changes.iloc[0]


def _points(share: float) -> str:
    return labels.number(100 * share)
