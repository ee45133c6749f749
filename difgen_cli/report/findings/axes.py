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
from difgen_cli.report.study.effects import AtLevel, Effect, Opposite

SHOWN = 4  # comparisons of levels


def effects(curves: Curves, _: pd.DataFrame) -> str | None:
    """Every axis but the steps, each comparison with an interval of its own; those without one are not told.

    Where the sign is another one at another level of an axis, both are told, and no average.
    """
    averaged = list(_parts([one for one in curves.effects if one.has_interval and one.opposite is None]))
    turned = [_both_ways(one, one.opposite) for one in curves.effects if one.opposite is not None]
    sentences = []
    if averaged:
        sentences.append(
            "Compared at the last snapshots, paired by seed and averaged over the other axes, each with an interval of "
            f"its own: {_first(averaged)}."
        )
    if turned:
        sentences.append(
            "No average is given where the sign depends on another axis (last snapshots, paired by seed): "
            f"{_first(turned)}."
        )
    return " ".join(sentences) or None


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


def _first(parts: list[str]) -> str:
    left = len(parts) - SHOWN
    more = f"; {count(left, 'more comparison')} {'has' if left == 1 else 'have'} an interval too" if left > 0 else ""
    return f"{'; '.join(parts[:SHOWN])}{more}"


def _both_ways(effect: Effect, opposite: Opposite) -> str:
    """`width 256 against width 64 raises mem_frac at N = 16 (0.2 [0.1, 0.3]) and lowers it at N = 64 (…) (…)`."""
    named = " against ".join(labels.level(effect.axis, one) for one in (effect.level, effect.against))
    up, down = (
        f"at {labels.level(opposite.axis, one.level)} ({_numbers(effect, one)})" for one in (opposite.up, opposite.down)
    )
    held = f"intervals hold for {'both' if opposite.looked == 2 else f'all {opposite.looked}'} levels together"
    return f"{named} raises {effect.metric} {up} and lowers it {down} ({held}, {count(effect.seeds, 'seed')})"


def _numbers(effect: Effect, one: Effect | AtLevel) -> str:
    times = "× " if effect.ratio else ""
    return f"{times}{labels.number(one.mean)} [{labels.number(one.lo)}, {labels.number(one.hi)}]"


def _change(effect: Effect) -> str:
    numbers = _numbers(effect, effect)
    if not effect.decided:
        return f"does not surely change {effect.metric} ({numbers})"
    return f"{'raises' if effect.mean > effect.neutral else 'lowers'} {effect.metric} ({numbers})"
