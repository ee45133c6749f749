"""Scales and ticks that can be read: settings at their own levels, 1-2-5 logarithms, shares, and gains around 0."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from difgen_cli.report.study.curves import CurveAxis

if TYPE_CHECKING:
    from matplotlib.axes import Axes


SEEN = 0.05  # the least share that is told from 0 on a linear axis


def setting_scale(
    ax: Axes, which: str, axis: CurveAxis, letters: float, *, log: bool = False, room: float = 0.0
) -> None:
    """Ticks at the levels themselves, thinned (numbers) or wrapped (words) where their labels would touch.

    letters: how many fit along the axis. log: logarithmic however little the levels span. room: how far from the first
    and the last level marks may lie, in the axis' own units, or in natural ones of a logarithmic axis.
    """
    log = log or axis.log
    place = np.log(axis.values) if log else np.array(axis.values)
    reach = (place.max() - place.min()) or 1.0
    margin = max(0.06 * reach, room + 0.03 * reach) if axis.numeric else 0.5
    low, high = place.min() - margin, place.max() + margin
    if log:
        (ax.set_xscale if which == "x" else ax.set_yscale)("log")
    words = [_short(level) for level in axis.levels]
    kept = list(range(len(words)))
    if axis.numeric:
        kept = _apart(place, (0.95 * max(map(len, words)) + 0.9) / letters)
    else:
        room = int(1.1 * letters / len(words))  # that fit beside each other
        words = ["\n".join(textwrap.wrap(level, max(room, 12)))[:40] for level in axis.levels]
        if max(len(part) for word in words for part in word.split("\n")) > room:
            ax.tick_params(axis="x", labelrotation=90)
    _ticks(ax, which, [axis.values[i] for i in kept], [words[i] for i in kept])
    limits = (float(np.exp(low)), float(np.exp(high))) if log else (low, high)
    (ax.set_xlim if which == "x" else ax.set_ylim)(limits)


def log_scale(ax: Axes, which: str, low: float, high: float, letters: float = 36.0) -> None:
    """A logarithmic axis from low to high with ticks at 1, 2, 5 × powers of ten (linear ones within an octave).

    letters: how many fit along the axis.
    """
    from matplotlib.ticker import MaxNLocator

    low, high = low / 1.12, high * 1.12
    (ax.set_xscale if which == "x" else ax.set_yscale)("log")
    (ax.set_xlim if which == "x" else ax.set_ylim)(low, high)
    most = max(2, min(6, int(letters / 5)))
    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    for steps in ((1, 2, 5), (1, 3), (1,)):
        ticks = [step * 10.0**power for power in powers for step in steps]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) <= most:
            break
    ticks = ticks[:: -(-len(ticks) // most) or 1]
    if len(ticks) < (3 if most > 3 else 2):
        ticks = [t for t in MaxNLocator(min(4, most)).tick_values(low, high) if low <= t <= high]
    _ticks(ax, which, ticks, [f"{tick:g}" for tick in ticks])


def resolution(shares: Any, samples: float) -> float:
    """From where a share's axis is logarithmic: one of so many samples; 0 where a linear axis shows all.

    That is where each share is 0 or at least `SEEN`. samples: NaN where not known, for a hundred.
    """
    values = np.asarray(shares, dtype=float)
    positive = values[np.isfinite(values) & (values > 0)]
    if not len(positive) or positive.min() >= SEEN:
        return 0.0
    return 1 / max(samples, 1 / SEEN) if np.isfinite(samples) else 0.01


def share_scale(ax: Axes, which: str, shares: Any, samples: float = math.nan) -> str:
    """A share from 0 to 1; where some are small, linear up to one sample, of `samples`, and logarithmic above."""
    limit = ax.set_xlim if which == "x" else ax.set_ylim
    start = resolution(shares, samples)
    if not start:
        limit(-0.04, 1.04)
        _ticks(ax, which, [0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
        return ""
    (ax.set_xscale if which == "x" else ax.set_yscale)("symlog", linthresh=start)
    limit(-0.2 * start, 1.3)
    powers = [10.0**power for power in range(math.ceil(math.log10(start) - 1e-9), 1)]
    _ticks(ax, which, [0, *powers], ["0", *(f"{power:g}" for power in powers)])
    return f"The share's axis is linear up to {start:.2g}, one sample, and logarithmic above."


def gain_scale(ax: Axes, low: float, high: float) -> str:
    """A ratio that spans decades around 0: linear up to 0.1, logarithmic above; plain where it stays small."""
    if high <= 3:
        ax.set_ylim(low - 0.06 * (high - low), high + 0.06 * (high - low))
        return ""
    ax.set_yscale("symlog", linthresh=0.1)
    # the linear part below zero is as tall as one decade: cut it to what is there
    ax.set_ylim(min(-0.03, max(low * 1.3, -1.0)), high * 1.5)
    powers = [10.0**p for p in range(-1, int(np.ceil(np.log10(high))) + 1) if 10.0**p <= high * 1.5]
    kept = powers if len(powers) <= 5 else powers[:: (len(powers) + 4) // 5]
    _ticks(ax, "y", [0, *kept], ["0", *[f"{p:g}" for p in kept]])
    return "The gap's axis is linear up to 0.1 and logarithmic above."


def _apart(place: np.ndarray, fraction: float) -> list[int]:
    """Indices of levels at least `fraction` of the axis apart, the first and the last among them."""
    reach = place.max() - place.min()
    kept = [0]
    for i in range(1, len(place)):
        if place[i] - place[kept[-1]] >= fraction * reach:
            kept.append(i)
    last = len(place) - 1
    if kept[-1] != last:
        if len(kept) > 1 and place[last] - place[kept[-1]] < fraction * reach:
            kept.pop()
        kept.append(last)
    return kept


def _short(word: str) -> str:
    """Five-digit numbers as thousands; long words cut in the middle."""
    if word.isdigit() and len(word) >= 5 and int(word) % 100 == 0:
        return f"{int(word) / 1000:g}k"
    return word if len(word) <= 18 else f"{word[:9]}…{word[-8:]}"


def _ticks(ax: Axes, which: str, places: Sequence[float], words: Sequence[str]) -> None:
    from matplotlib.ticker import NullLocator

    side = ax.xaxis if which == "x" else ax.yaxis
    side.set_minor_locator(NullLocator())
    side.set_ticks(list(places), labels=list(words))
