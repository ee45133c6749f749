"""Metrics that ask a network for more than it learnt are refused while planning; new settings change no other key."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from difgen_cli.engine.grid.document import GridError
from difgen_cli.engine.plan import Plan

Write, PlanOf = Callable[..., Path], Callable[[Path], Plan]
Difgen = Callable[..., subprocess.CompletedProcess[str]]

GRID = """\
# What does the condition pull to?
base:
  data:  {name: digits, held_out: 300, size: 32, half: A}
  condition: {name: labels}
  model: {name: mlp, width: 8, depth: 1}
  train: {batch: 16, steps: 20, condition_dropout: 0.1}
  sample: {name: euler, steps: 5, count: 40}
  score: [condition_pull]
"""


def test_a_pull_needs_a_network_that_learnt_without_its_condition(write_grid: Write, difgen: Difgen) -> None:
    write_grid(GRID.replace(", condition_dropout: 0.1", ""), "grid.yaml")
    done = difgen("plan", "grid.yaml")
    assert done.returncode == 2
    assert (
        "score.condition_pull: this network never learnt to do without its condition; set train.condition_dropout "
        "above 0, such as 0.1" in " ".join(done.stderr.split())
    )
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("old", "new"), [("name: labels", "name: none"), ("name: mlp, width: 8, depth: 1", "name: analytic")]
)
def test_without_a_condition_or_a_training_nothing_is_refused(
    write_grid: Write, plan_of: PlanOf, old: str, new: str
) -> None:
    text = GRID.replace(old, new).replace(", condition_dropout: 0.1", "")
    (cell,) = plan_of(write_grid(text)).models
    assert "condition_pull" in cell.metrics


def test_reproducibility_needs_halves(write_grid: Write, plan_of: PlanOf) -> None:
    text = GRID.replace(", half: A", "").replace("[condition_pull]", "[reproducibility]")
    with pytest.raises(GridError, match=r"score.reproducibility: compares two disjoint halves; set data.half: A"):
        plan_of(write_grid(text))


def test_a_space_is_an_axis_and_thresholds_are_in_the_key_where_they_are_no_defaults(
    write_grid: Write, plan_of: PlanOf
) -> None:
    def keys(settings: str) -> set[str]:
        text = GRID.replace("[condition_pull]", f"{{memorization: {{}}, feature_copies: {settings}}}")
        cells = plan_of(write_grid(text)).models
        return {cell.metrics["feature_copies"] for cell in cells}

    plain = keys("{}")
    assert keys("{threshold: 0.5, features: pixels, gl_threshold: 0.6}") == plain
    assert len(plain | keys("{threshold: 0.4}") | keys("{features: pca}") | keys("{gl_threshold: 0.5}")) == 4


def test_a_sweep_has_the_pull_of_each_label_and_what_two_halves_have_in_common(
    write_grid: Write, difgen: Difgen, tmp_path: Path
) -> None:
    text = GRID.replace("[condition_pull]", "[memorization, condition_pull, feature_copies, reproducibility]")
    done = difgen("sweep", write_grid(text), "--cluster", "inline")
    assert done.returncode == 0, done.stderr
    tables = tmp_path / "runs" / "tables"
    rows = pd.read_parquet(tables / "rows.parquet").set_index("kind")
    assert rows.loc["model", "cfg_mag"] > 0
    assert rows.loc["ideal", "cfg_mag"] > 0
    assert np.isnan(rows.loc["heldout", "cfg_mag"])
    assert rows.loc["ideal", "space_ratio"] == rows.loc["copycat", "space_ratio"] == 1
    assert rows.loc["model", "gl"] + rows.loc["model", "space_near"] <= 1
    assert 0 <= rows.loc["model", "rp_uncopied"] <= rows.loc["model", "rp"] <= 1
    assert np.isnan(rows.loc["ideal", "rp"])
    lines = pd.read_parquet(tables / "condition_pull.parquet").query("kind == 'model'")
    assert lines["samples"].sum() == 40
    assert lines["train_images"].sum() <= 32
    assert (lines["samples"] * lines["cfg_mag"]).sum() / 40 == pytest.approx(rows.loc["model", "cfg_mag"])
    levels = pd.read_parquet(tables / "condition_pull_levels.parquet").query("kind == 'model'")
    assert levels["cfg_mag"].mean() == pytest.approx(rows.loc["model", "cfg_mag"])
