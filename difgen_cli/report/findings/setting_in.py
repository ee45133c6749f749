"""Sentences for where copying has set in and where not, and how its onset moves with the number of images."""

from __future__ import annotations

import pandas as pd

from difgen_cli.report.findings import levels
from difgen_cli.report.findings.numbers import count, percent
from difgen_cli.report.plotting import labels
from difgen_cli.report.study.curves import SIZE, STEPS, CurveAxis, Curves
from difgen_cli.report.study.verdicts import SEEN, CopyState

SLOPES_MOST = 3


def copying(curves: Curves, _: pd.DataFrame) -> str | None:
    """Where the ratio rule finds more copies than among held-out images in every seed, and where in none."""
    verdicts = curves.verdicts
    copied, none = (verdicts[verdicts["state"] == state] for state in (CopyState.COPIES, CopyState.NONE))
    sentences = []
    if len(copied):
        ends = [_share(copied.sort_values("mem_frac", kind="stable").iloc[place]) for place in (0, -1)]
        together = f"; intervals hold for all {len(verdicts)} settings together" if len(verdicts) > 1 else ""
        every = "in every seed" if copied["seeds"].max() > 1 else "in the one seed"
        sentences.append(
            f"By the last snapshots models copy{place(curves, copied)}: the ratio rule finds more copies than among "
            f"held-out images {every} (mem_frac {' to '.join(dict.fromkeys(ends))}{together})."
        )
    if len(none):
        subject = "It finds no more" if len(copied) else "At the last snapshots the ratio rule finds no more copies"
        any_seed = "in any seed" if none["seeds"].max() > 1 else "in the one seed"
        sentences.append(
            f"{subject} than among held-out images{place(curves, none)}, {any_seed}: there it would catch "
            f"{percent(float(none['power'].min()))} or more of copies with noise of 0.1 a pixel."
        )
    return " ".join(sentences) or None


def slope(curves: Curves, _: pd.DataFrame) -> str | None:
    """The exponent of the onset of copying over the number of images, with its interval; None without one."""
    lines = curves.copying_slopes
    lines = lines.dropna(subset=["slope_lo"]) if len(lines) else lines
    if lines.empty:
        return None
    by = [path for path in curves.paths if path not in (STEPS, SIZE)]
    sizes = curves.axis(SIZE)
    parts = []
    for _place, line in lines.head(SLOPES_MOST).iterrows():
        where = [labels.level(path, str(line[path])) for path in by]
        interval = f"[{labels.number(line['slope_lo'])}, {labels.number(line['slope_hi'])}]"
        over = levels.among(sizes, _sizes(curves, line[by].astype(str).tolist(), by))
        parts.append(
            f"N^{labels.number(line['slope'])} {interval}{' for ' if where else ''}{', '.join(where)} (over {over}, "
            f"{count(line['n'], 'seed')})"
        )
    more = f"; slopes.csv has {len(lines) - SLOPES_MOST} more" if len(lines) > SLOPES_MOST else ""
    return f"The training step at which copying sets in grows with the number of images as {'; '.join(parts)}{more}."


def along(curves: Curves) -> CurveAxis | None:
    """The axis by which a reader asks where: the number of images, else the first of models that is looked for."""
    steps = next((axis for axis in curves.axes if axis.path == STEPS), None)
    return next((axis for axis in curves.others(steps) if axis.of_models), None)


def place(curves: Curves, settings: pd.DataFrame) -> str:
    """Where some of the verdicts' settings are: ` at N ≤ 64 and in 1 of 2 settings at N = 256`; nothing without axes.

    Levels that have all of their settings among them come first, then those that have some.
    """
    axis = along(curves)
    if axis is None:
        return ""
    chosen, planned = (frame[axis.path].astype(str).value_counts() for frame in (settings, curves.verdicts))
    whole = [level for level in axis.levels if chosen.get(level, 0) == planned.get(level, 0) > 0]
    part = [level for level in axis.levels if 0 < chosen.get(level, 0) < planned.get(level, 0)]
    words = [f"at {levels.among(axis, whole)}"] if whole else []
    if part:
        numbers = [sum(int(counts[level]) for level in part) for counts in (chosen, planned)]
        words.append(f"in {numbers[0]} of {count(numbers[1], 'setting')} at {levels.among(axis, part)}")
    return f" {' and '.join(words)}" if words else ""


def _share(line: pd.Series) -> str:
    """`0.97 [0.875, 0.994]`; without ends where there is no interval."""
    if pd.isna(line["lo"]) or pd.isna(line["hi"]):
        return labels.number(line["mem_frac"])
    return labels.interval(line["mem_frac"], line["lo"], line["hi"], "share")


def _sizes(curves: Curves, key: list[str], by: list[str]) -> list[str]:
    """The sizes of a group that a slope is fitted to."""
    verdicts = curves.verdicts[curves.verdicts["state"].isin(SEEN)]
    for path, level in zip(by, key, strict=True):
        verdicts = verdicts[verdicts[path].astype(str) == level]
    return verdicts[SIZE].astype(str).tolist()
