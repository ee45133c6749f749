"""What a study of forks says: a planted change over paired seeds, and no wider than its interval."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd
from synthetic import study as made_up

from difgen_cli.report.findings import study
from difgen_cli.report.study import curves

CHANGES = ["none", "train.lr=0.0001", "data.size=64"]


def sentence_for(shares: dict[str, float], seeds: int = 3, spread: float = 0.0, **more: list[Any]) -> str | None:
    """The sentence for such shares among 1,000 samples of each seed; seeds differ in common by 0.1 a seed."""
    base = made_up({"fork.change": list(shares), **more}, seeds)
    rows = base.rows.assign(**{"fork.at": 2000})
    own = pd.Series([spread * ((seed or 0) - 1) for seed in rows["seed"].fillna(1)], rows.index)
    common = pd.Series([0.1 * (seed - 1) for seed in rows["seed"].fillna(1)], rows.index)
    moved = rows["fork.change"].ne("none").astype(float)
    copies = (rows["fork.change"].map(shares).astype(float).fillna(0.0) + common + own * moved).clip(0, 1)
    width = 1.96 * (copies * (1 - copies) / 1000 + 1e-6) ** 0.5
    rows = rows.assign(
        mem_frac=copies, mem_frac_lo=(copies - width).clip(0), mem_frac_hi=(copies + width).clip(upper=1)
    )
    read = curves.read(type(base)(**{**vars(base), "rows": rows}))
    return study.RULES["forked"](read, read.last)


def test_each_change_is_compared_with_the_empty_fork_by_seed() -> None:
    """Seeds that differ by much in common hide nothing: only what they do not share widens the interval."""
    sentence = sentence_for({"none": 0.5, "train.lr=0.0001": 0.3, "data.size=64": 0.51})
    assert sentence is not None
    assert sentence.startswith(
        "Compared at the last snapshots with going on unchanged from step 2,000 on, over paired seeds: "
    )
    assert re.search(r"train.lr=0.0001 lowers mem_frac \(−0\.200 \[−0\.2\d+, −0\.1\d+\]\)", sentence)
    assert re.search(r"data.size=64 does not surely change mem_frac \(0\.0100 \[−0\.0\d+, 0\.0\d+\]\)\.$", sentence)
    assert "raises mem_frac (0.200" in str(sentence_for({"none": 0.3, "train.lr=0.0001": 0.5}))


def test_what_seeds_do_not_share_widens_the_interval() -> None:
    assert "lowers" in str(sentence_for({"none": 0.5, "data.size=64": 0.4}, spread=0.0))
    assert "does not surely change" in str(sentence_for({"none": 0.5, "data.size=64": 0.4}, spread=0.2))


def test_several_settings_are_counted_and_nothing_is_said_without_the_empty_fork_or_an_interval() -> None:
    sentence = sentence_for({"none": 0.5, "data.size=64": 0.3}, **{"model.width": [32, 64]})
    assert "data.size=64 lowers mem_frac in 2 of 2 settings and raises it in 0." in str(sentence)
    assert sentence_for({"train.lr=0.0001": 0.5, "data.size=64": 0.3}) is None
    assert sentence_for({"none": 0.5, "data.size=64": 0.3}, seeds=1) is None
