"""What may be said of how many images a condition saves."""

from __future__ import annotations

import pandas as pd

from difgen_cli.report.findings.numbers import count
from difgen_cli.report.plotting import labels
from difgen_cli.report.study.curves import STEPS, Curves
from difgen_cli.report.study.efficiency import RATIO


def saved(curves: Curves, _: pd.DataFrame) -> str | None:
    """In how many settings a condition needs fewer images, by the interval over seeds, for the unconditional best."""
    settings = curves.efficiency.over_seeds
    if settings.empty:
        return None
    lower, upper = f"{RATIO}_lo", f"{RATIO}_hi"
    bounded = settings.dropna(subset=[lower]) if lower in settings else settings.iloc[:0]
    fewer, more = (
        bounded[bounded[lower] > 1] if len(bounded) else bounded,
        bounded[bounded[upper] < 1] if len(bounded) else bounded,
    )
    sentence = (
        "By the interval over seeds a condition reaches the least Fréchet distance of the unconditional model with "
        f"fewer images in {len(fewer)} of {count(len(settings), 'setting')}, and with more in {len(more)}"
    )
    if len(fewer):
        top = fewer.sort_values(RATIO, kind="stable", ascending=False).iloc[0]
        named = [labels.level(axis.path, str(top[axis.path])) for axis in curves.axes if axis.path != STEPS]
        sentence += f" (most: {labels.number(float(top[RATIO]))} times fewer at {', '.join(named)})"
    if never := int((settings["right"] > 0).sum()):
        sentence += f". In {never} a seed does not reach it"
    if early := int((settings["left"] > 0).sum()):
        sentence += f". In {early} a seed is there at its first snapshot, so that the ratio is not known"
    if ends := int((settings["at_end"] > 0).sum()):
        sentence += f". In {ends} the unconditional model of a seed is best at its last snapshot, and may still improve"
    return f"{sentence}."
