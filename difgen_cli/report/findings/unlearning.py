"""Sentences for unlearning: copies of the images to be unlearnt before, after, and of a model that never saw them."""

from __future__ import annotations

from typing import Any

import pandas as pd

from difgen_cli.report.findings import paired
from difgen_cli.report.findings.numbers import percent
from difgen_cli.report.plotting import labels
from difgen_cli.report.study.curves import Curves
from difgen_cli.report.study.seeds import over_seeds
from difgen_cli.report.study.unlearning import COPIES, models

CONTROL, POWER = f"{COPIES}_control", "unlearnt_power"
SHOWN = 3  # settings that have a sentence


def unlearnt(curves: Curves, _: pd.DataFrame) -> str | None:
    """For each model that unlearns, what a model before it and a retrained one, alike in all else, make of the same."""
    sentences = []
    for group in models(curves):
        where = [labels.level(path, level) for path, level in group.levels.items()]
        for words, after in group.after.items():
            named = ", ".join([*where, *([words] if words else [])])
            sentences.append(_sentence(curves, group.before, after, group.never, f" ({named})" if named else ""))
    more = len(sentences) - SHOWN
    return " ".join([*sentences[:SHOWN], *([f"The table has {more} more."] if more > 0 else [])]) or None


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
