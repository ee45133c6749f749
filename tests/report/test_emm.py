"""The largest memorized size: what was seen needs no power, what was not seen does."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_onset import STEPS, planted, table

from difgen_cli import report


def memorized(share: dict[int, float], power: dict[int, float]) -> pd.DataFrame:
    """The onsets of one seed at sizes whose last snapshot has such a memorized share, and such a power of the rule."""
    study = planted({(size, 0): 50.0 for size in share})
    size, model = study.rows["data.size"], study.rows["kind"] == "model"
    rows = study.rows.assign(
        mem_frac=size.map(share).where(model & (study.rows["step"] == STEPS[-1]), 0.0), mem_power=size.map(power)
    )
    found = table(dataclasses.replace(study, rows=rows))
    assert len(found[["emm", "emm_next", "censored"]].drop_duplicates()) == 1
    return found


@pytest.mark.parametrize(
    ("share", "power", "emm", "following", "censored"),
    [
        ([1.0, 0.95, 0.3], [1.0, 0.95, 0.95], 32, 128, ""),
        ([1.0, 0.95, 0.3], [0.95, 0.8, 0.95], 32, 128, ""),  # what was seen to be memorized needs no power
        ([1.0, 0.95, 0.3], [0.95, 0.8, 0.2], 32, None, "emm blind"),  # measures.md 5, as on CIFAR-10
        ([1.0, 0.95, 0.3], [0.95, 0.95, np.nan], 32, None, "emm blind"),
        ([1.0, 0.95, 0.93], [1.0, 0.9, 0.9], 128, None, "emm right"),
        ([0.5, 0.2, 0.0], [1.0, 0.9, 0.9], None, 16, "emm left"),
        ([0.5, 0.2, 0.0], [0.8, 0.9, 0.9], None, None, "emm blind"),
        ([0.95, 0.2, 0.95], [1.0, 0.9, 0.5], 128, None, "emm right"),  # the largest, though one below it is not
    ],
)
def test_the_size_after_the_largest_memorized_one_needs_power(
    share: list[float], power: list[float], emm: float | None, following: float | None, censored: str
) -> None:
    sizes = (16, 32, 128)
    line = memorized(dict(zip(sizes, share, strict=True)), dict(zip(sizes, power, strict=True))).iloc[0]
    assert line["emm"] == emm or (emm is None and np.isnan(line["emm"]))
    assert line["emm_next"] == following or (following is None and np.isnan(line["emm_next"]))
    assert [word for word in line["censored"].split(", ") if word.startswith("emm")] == [censored][: bool(censored)]


def test_without_a_power_the_largest_memorized_size_is_told_and_no_next_one() -> None:
    study = planted({(size, 0): 50.0 for size in (16, 32)})
    rows = study.rows.drop(columns="mem_power").assign(mem_frac=study.rows["data.size"].map({16: 1.0, 32: 0.1}))
    line = table(dataclasses.replace(study, rows=rows)).iloc[0]
    assert (line["emm"], line["censored"].split(", ")[-1]) == (16, "emm blind")
    assert np.isnan(line["emm_next"])


def test_the_figure_says_where_the_rule_was_blind_above_the_largest_memorized_size(tmp_path: Path) -> None:
    study = planted({(size, 0): 300.0 for size in (16, 32)}, mem_power=0.5)
    rows = study.rows.assign(mem_frac=study.rows["mem_frac"].where(study.rows["data.size"] == 32, 1.0))
    report.write(dataclasses.replace(study, rows=rows), tmp_path)
    caption = (tmp_path / "figures" / "onset-against-size.txt").read_text(encoding="utf-8")
    assert "(emm): 16 (blind at the next size)" in caption
    assert "mem_power is below 0.9" in caption
