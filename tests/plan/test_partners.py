"""Metrics that compare with another trajectory: it is planned, trained once, and waited for."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from difgen_cli.engine.grid.document import GridError
from difgen_cli.engine.plan import Plan

GRID = """\
# Do two halves agree?
base:
  data:  {name: digits, held_out: 900, half: A, size: 32}
  model: {name: mlp, width: 8, depth: 1}
  train: {batch: 16, steps: 20}
  sample: {name: euler, steps: 3, count: 32}
  score: [twins, twin_membership]
"""


def test_partners_are_planned_beside_the_cells_that_name_them(
    write_grid: Callable[..., Path], plan_of: Callable[[Path], Plan]
) -> None:
    plan = plan_of(write_grid(GRID + "axes: {train.steps: [10, 20]}\n"))
    assert len(plan.models) == 2
    cell = plan.models[0]
    twin, sibling = cell.partners["twin"], cell.partners["sibling"]
    assert {cell.run_key, twin.run_key, sibling.run_key} == set(plan.trajectories)
    settings = {name: plan.trajectories[p.run_key].settings for name, p in cell.partners.items()}
    assert (settings["twin"]["data.half"], settings["sibling"]["data.half"]) == ("B", "A")
    assert settings["twin"]["train.seed"] == settings["sibling"]["train.seed"] != 0
    assert plan.trajectories[twin.run_key].steps == (10, 20)


def test_both_halves_as_an_axis_share_their_partners(
    write_grid: Callable[..., Path], plan_of: Callable[[Path], Plan]
) -> None:
    plan = plan_of(write_grid(GRID + "axes: {data.half: [A, B]}\n"))
    assert len(plan.trajectories) == 4, "A and B, and each with other initial weights"


def test_without_halves_there_are_no_twins(write_grid: Callable[..., Path], plan_of: Callable[[Path], Plan]) -> None:
    with pytest.raises(GridError, match=r"score.twins: .* data.half"):
        plan_of(write_grid(GRID.replace("half: A, ", "")))


def test_a_cell_waits_for_its_partners_and_a_second_sweep_finds_nothing(
    tmp_path: Path, write_grid: Callable[..., Path], difgen: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    write_grid(GRID, "grid.yaml")
    done = difgen("sweep", "grid.yaml", "--cluster", "local", "--workers", "2")
    assert done.returncode == 0, done.stderr
    rows = pd.read_parquet(tmp_path / "runs" / "tables" / "rows.parquet")
    (row,) = rows[rows.kind == "model"].to_dict("records")
    assert -1 <= row["twin_cos"] <= 1
    assert row["mia_twin_auc_050_lo"] <= row["mia_twin_auc_050"] <= row["mia_twin_auc_050_hi"]
    trained = list((tmp_path / "runs").glob("trajectories/*/attempts/train.*.json"))
    assert len(trained) == 3
    assert "nothing to do" in difgen("sweep", "grid.yaml").stderr
    assert "3 done" in difgen("status", "runs").stdout
    snapshots = set((tmp_path / "runs").glob("trajectories/*/snapshots/*"))
    assert difgen("gc", "runs", "--yes").returncode == 0
    assert set((tmp_path / "runs").glob("trajectories/*/snapshots/*")) == snapshots
    assert "nothing to do" in difgen("sweep", "grid.yaml").stderr
