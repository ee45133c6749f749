"""A plan says how many training images will have a reference that was not trained on them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from difgen_cli.data import split
from difgen_cli.data.digits import load
from difgen_cli.engine.plan import Plan

Write, PlanOf = Callable[..., Path], Callable[[Path], Plan]
BASE = "base: {data: {name: digits, held_out: 900%s}, model: {name: mlp}, score: [%s]}\n"


def said(plan: Plan) -> list[str]:
    return [note for note in plan.warnings if note.startswith("score.exposure")]


def test_the_share_is_that_of_the_subsets_that_are_drawn(write_grid: Write, plan_of: PlanOf) -> None:
    (note,) = said(plan_of(write_grid(BASE % (", size: 768", "exposure") + "seeds: 3")))
    assert note == (
        "score.exposure: 3 training subsets, 768 of 897 images: 27% of the training images will have a reference that "
        "was not trained on them"
    )
    pool, shares = load(), []
    for first in range(0, 60, 3):
        own, *others = (split(pool, size=768, held_out=900, seed=seed).train for seed in range(first, first + 3))
        shares.append(1 - np.isin(own, np.intersect1d(*others)).mean())
    assert np.mean(shares) == pytest.approx(1 - (768 / 897) ** 2, abs=0.01)


def test_each_size_has_its_own_and_the_steps_and_widths_none(write_grid: Write, plan_of: PlanOf) -> None:
    axes = "axes: {data.size: [128, 768], model.width: [16, 64], train.steps: [10, 20]}\nseeds: 2"
    notes = said(plan_of(write_grid(BASE % ("", "exposure") + axes)))
    assert [note.split(":")[2].split("%")[0] for note in notes] == [" 86", " 14"]


@pytest.mark.parametrize(
    ("data", "seeds", "why"),
    [(", size: 768", "1", "one training subset"), ("", "3", "every training subset is the same")],
)
def test_without_other_subsets_there_is_no_reference(
    data: str, seeds: str, why: str, write_grid: Write, plan_of: PlanOf
) -> None:
    (note,) = said(plan_of(write_grid(BASE % (data, "exposure") + f"seeds: {seeds}")))
    assert why in note


def test_where_it_is_not_scored_nothing_is_said(write_grid: Write, plan_of: PlanOf) -> None:
    assert not said(plan_of(write_grid(BASE % (", size: 768", "memorization, membership") + "seeds: 3")))
