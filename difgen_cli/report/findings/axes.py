"""Sentences for what each axis does, paired by seed, and for the largest gap of the loss and where it is."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pandas as pd

from difgen_cli.report.findings import levels
from difgen_cli.report.findings.numbers import count
from difgen_cli.report.plotting import labels
from difgen_cli.report.study import largest_gap
from difgen_cli.report.study.curves import Curves
from difgen_cli.report.study.effects import Effect

SHOWN = 4  # comparisons of levels


def effects(curves: Curves, _: pd.DataFrame) -> str | None:
    """Every axis but the steps, each comparison with an interval of its own; those without one are not told."""
    parts = list(_parts([effect for effect in curves.effects if effect.has_interval]))
    if not parts:
        return None
    more = f"; {len(parts) - SHOWN} more comparisons have intervals too" if len(parts) > SHOWN else ""
    return (
        "Compared at the last snapshots, paired by seed and averaged over the other axes, each with an interval of its "
        f"own: {'; '.join(parts[:SHOWN])}{more}."
    )


def gap(curves: Curves, _: pd.DataFrame) -> str | None:
    """The largest relative gap of the denoising loss and its place, where its interval lies above 0."""
    largest = largest_gap.read(curves)
    if largest is None or not largest.lo > 0:
        return None
    where = [labels.level(path, level) for path, level in largest.settings.items()]
    where.append(f"σ/σ_d = {labels.number(largest.sigma)}")
    numbers = f"{labels.number(largest.gap)} [{labels.number(largest.lo)}, {labels.number(largest.hi)}]"
    read = f"by the other {count(largest.seeds, 'seed')}" if largest.seeds > 1 else "by the other seed"
    return (
        f"The gap between the losses of held-out and training images is largest at {levels.listed(where)}"
        f"{' by the first seed' if largest.seeds else ''}, of {count(largest.looked, 'place')}; there it is {numbers} "
        f"times the loss of training images{f' {read}' if largest.seeds else ', widened for the choice'}."
    )


def _parts(effects: list[Effect]) -> Iterator[str]:
    """`width 256 against width 64 raises mem_frac (0.2 [0.1, 0.3]) (4 settings, 3 seeds)`."""

    def compared(one: Effect) -> tuple[str, str, str, int, int]:
        return one.axis, one.level, one.against, one.settings, one.seeds

    for (axis, level, against, settings, seeds), group in itertools.groupby(effects, compared):
        changes = " and ".join(_change(effect) for effect in group)
        over = f"{count(settings, 'setting')}, " if settings > 1 else ""
        named = (labels.level(axis, one) for one in (level, against))
        yield f"{' against '.join(named)} {changes} ({over}{count(seeds, 'seed')})"


def _change(effect: Effect) -> str:
    times = "× " if effect.ratio else ""
    numbers = f"{times}{labels.number(effect.mean)} [{labels.number(effect.lo)}, {labels.number(effect.hi)}]"
    if not effect.decided:
        return f"does not surely change {effect.metric} ({numbers})"
    return f"{'raises' if effect.mean > effect.neutral else 'lowers'} {effect.metric} ({numbers})"
