"""Sentences for the least epsilon of a training: at least so much is shown, or nothing; never that there is none."""

from __future__ import annotations

import pandas as pd

from difgen_cli.report.findings.numbers import Row, count
from difgen_cli.report.plotting import labels
from difgen_cli.report.study.curves import STEPS, Curves, last_snapshot, per_group

LEAST, MOST, RIGHT, GUESSES, IMAGES = "eps_least", "eps_most", "eps_right", "eps_guesses", "eps_images"
DELTA, COINS = "score.one_run.delta", "data.seed"
NOT_SHOWN = "which does not show that there is none"


def shown(row: Row, _: Row) -> str | None:
    """What one training shows; read at a snapshot that was not chosen for it."""
    if not row.has_values(LEAST, MOST, RIGHT, GUESSES):
        return None
    return _sentence("This training", row.number(LEAST), row.number(MOST), row.number(RIGHT), row.number(GUESSES))


def shown_in_study(curves: Curves, _: pd.DataFrame) -> str | None:
    """What the trainings of each setting show together at their last snapshots, where their coins are different."""
    cells = last_snapshot(curves.cells, curves.paths)
    if LEAST not in cells or cells[LEAST].isna().all():
        return None
    by = [path for path in curves.paths if path != STEPS]
    pooled = [_pooled(group) for _, group in per_group(cells.dropna(subset=[LEAST]), by)]
    if len(pooled) == 1:
        least, most, right, guesses, seeds = pooled[0]
        trainings = f"{count(seeds, 'training')} with coins of {'its' if seeds == 1 else 'their'} own"
        return f"At the last snapshots: {_sentence(trainings, least, most, right, guesses, seeds)}"
    bounds = sorted(line[0] for line in pooled)
    above = [bound for bound in bounds if bound > 0]
    sentence = (
        f"At the last snapshots an epsilon above 0 for one image is shown in {len(above) or 'none'} of "
        f"{count(len(pooled), 'setting')}"
    )
    if not above:
        return f"{sentence}, {NOT_SHOWN}."
    sentence += f", at least {labels.number(above[0])}"
    sentence += f" to {labels.number(above[-1])}, each with 95 % confidence" if len(above) > 1 else ""
    return f"{sentence}." if len(above) == len(pooled) else f"{sentence}; elsewhere nothing is shown, {NOT_SHOWN}."


def _pooled(group: pd.DataFrame) -> tuple[float, float, float, float, int]:
    """Least and most epsilon, right guesses, guesses, and trainings, of one training for each draw of the coins."""
    from difgen_cli.metrics import least_epsilon, most_epsilon

    once = group.drop_duplicates(COINS) if COINS in group else group.head(1)
    right, guesses, images = (int(once[name].sum()) for name in (RIGHT, GUESSES, IMAGES))
    delta = float(once[DELTA].iloc[0]) if DELTA in once else 0.0
    least = least_epsilon(right, guesses, canaries=images, delta=delta)
    return least, most_epsilon(guesses, canaries=images, delta=delta), right, guesses, len(once)


def _sentence(trainings: str, least: float, most: float, right: float, guesses: float, seeds: int = 1) -> str:
    numbers = f"{right:,.0f} of {guesses:,.0f} guesses of who was trained on are right"
    show = "shows" if seeds == 1 else "show"
    if least <= 0:
        return f"{trainings} {show} no epsilon above 0 for one image, {NOT_SHOWN}: {numbers}."
    return (
        f"{trainings} {show} an epsilon of at least {labels.number(least)} for one image, with 95 % confidence: "
        f"{numbers}, and all of them could show {labels.number(most)}."
    )
