"""Guidance without effect is in no key, and in the rows all the same: a curve over weights starts there."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from test_guidance import GRID, WEAK, Difgen, PlanOf, Write, guided, only


def test_a_weight_of_zero_stands_in_the_row_and_in_no_key(write_grid: Write, plan_of: PlanOf) -> None:
    plain = only(plan_of(write_grid(GRID)))
    text = guided(WEAK) + "axes: {guide.name: [cfg, auto], guide.weight: [0, 1]}"
    cells = plan_of(write_grid(text, "b.yaml")).models
    said = [(c.settings()["guide.name"], c.settings()[f"guide.{c.settings()['guide.name']}.weight"]) for c in cells]
    assert said == [("cfg", 0), ("cfg", 1), ("auto", 0), ("auto", 1)]
    assert cells[0].samples == cells[2].samples == plain.samples
    assert cells[0].identity() == cells[2].identity() == plain.identity(), "an older plan's row of it is known as stale"
    assert "guide.auto.weight" not in cells[0].settings()


def test_a_worse_self_without_effect_keeps_its_weight_in_the_row(write_grid: Write, plan_of: PlanOf) -> None:
    """At 10 steps the worse self, of 10 steps, is the network itself."""
    first, second = plan_of(write_grid(guided(WEAK) + "axes: {train.steps: [10, 20]}")).models
    assert [c.settings()["guide.auto.weight"] for c in (first, second)] == [1.0, 1.0]
    assert first.guidance.terms == {}


def test_a_pivot_over_weights_of_a_real_run_has_its_baseline(tmp_path: Path, write_grid: Write, difgen: Difgen) -> None:
    text = guided(WEAK).replace("[memorization, gap]", "[memorization]")
    write_grid(text + "axes: {guide.name: [auto, cfg], guide.weight: [0, 1]}", "grid.yaml")
    done = difgen("sweep", "grid.yaml", "--cluster", "inline")
    assert done.returncode == 0, done.stderr
    rows = pd.read_parquet(tmp_path / "runs" / "tables" / "rows.parquet")
    rows = rows[rows.kind == "model"]
    for name in ("auto", "cfg"):
        table = rows.pivot_table("mem_frac", f"guide.{name}.weight", "guide.name")
        assert table.index.tolist() == [0, 1]
        assert table.columns.tolist() == [name]
    assert rows.groupby("cell").size().tolist().count(2) == 1, "the baseline has a row under each name"
