"""Sentences for which images of the pool a grid's models know: how many stand out, and how far the order is chance."""

from __future__ import annotations

import pandas as pd

from difgen_cli.report.findings.numbers import count
from difgen_cli.report.plotting import labels
from difgen_cli.report.study.curves import Curves

RANKS = "it ranks images and convicts none"


def stand_out(curves: Curves, _: pd.DataFrame) -> str | None:
    """How many images have a gap that is surely above 0, beside how many would by chance, and the reliability."""
    ranked = curves.images
    compared = ranked.lines.dropna(subset=["gap", "gap_se"])
    if compared.empty:
        return None
    by_chance = sum(ranked.by_chance.values())
    return (
        f"Of {count(len(compared), 'image')} that some models were trained on and others not, "
        f"{len(ranked.exposed):,} {'has' if len(ranked.exposed) == 1 else 'have'} a lower loss in the former by more "
        f"than a 95 % interval; {labels.number(by_chance)} would with all training subsets drawn again. "
        f"{order(curves)}."
    )


def order(curves: Curves) -> str:
    """`The order of images has a reliability of 0.45 (1: none of it is chance): it ranks images and convicts none`."""
    values = curves.images.lines["reliability"].dropna().drop_duplicates()
    if values.empty:
        return f"How much of the order of images is chance is not known: {RANKS}"
    ends = list(dict.fromkeys(labels.number(float(value), 2) for value in (values.min(), values.max())))
    return f"The order of images has a reliability of {' to '.join(ends)} (1: none of it is chance): {RANKS}"
