"""Several levels of an axis in words: `N ≤ 64`, `N = 16, 64 and 256`, `width 64 to 512`."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from difgen_cli.report.plotting import labels
from difgen_cli.report.study.curves import CurveAxis

NAMED_MOST = 4
WORDED = ("condition.clusters",)  # whose levels have words of their own, such as `unconditional`


def among(axis: CurveAxis, chosen: Collection[str]) -> str:
    """Some levels of an axis, the shortest way that names no other one."""
    levels = [level for level in axis.levels if level in chosen]
    if len(levels) > 1 and axis.numeric and axis.path not in WORDED:
        first, last = axis.levels.index(levels[0]), axis.levels.index(levels[-1])
        if last - first + 1 == len(levels):
            return _in_a_row(axis, levels, first == 0, last == len(axis.levels) - 1)
    return named(axis.path, levels)


def named(path: str, levels: Sequence[str]) -> str:
    """`N = 16, 64 and 256`."""
    more = len(levels) - NAMED_MOST
    shown = list(levels[:NAMED_MOST]) if more > 1 else list(levels)
    if path in WORDED:
        shown = [labels.level(path, level) for level in shown]
        return listed([*shown, *([f"{more} more"] if more > 1 else [])])
    return f"{labels.names(path)[1]} {listed([*shown, *([f'{more} more'] if more > 1 else [])])}"


def listed(words: Sequence[str]) -> str:
    """`a, b and c`."""
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else words[0]


def _in_a_row(axis: CurveAxis, levels: list[str], begins: bool, ends: bool) -> str:
    stem = labels.names(axis.path)[1].removesuffix(" =")
    if begins and not ends:
        return f"{stem} ≤ {levels[-1]}"
    if ends and not begins:
        return f"{stem} ≥ {levels[0]}"
    return f"{labels.names(axis.path)[1]} {levels[0]} to {levels[-1]}" if len(levels) > 2 else named(axis.path, levels)
