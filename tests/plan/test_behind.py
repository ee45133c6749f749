"""What a cell's training waits for: another that failed is the cause, and is tried again with the cell."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Difgen = Callable[..., subprocess.CompletedProcess[str]]
GRID = """\
# What if what a training waits for fails?
base:
  data:   {name: digits, held_out: 900, size: 32}
  model:  {name: mlp, width: 8, depth: 1}
  train:  {batch: 16, steps: 40TRAIN}
  sample: {name: euler, steps: 4, count: 32}
  score:  [memorization]
"""
FORK = "fork: {at: 20, change: [{train.lr: 1e-3}]}\n"
DIVERGES = "{train.steps: 10, train.lr: 1e30}"


@pytest.mark.parametrize(
    ("train", "more", "role"),
    [
        (f", start: {DIVERGES}", "", "start"),
        (", lr: 1e30", FORK, "fork"),
        ("", f"  objective: {{name: distill, steps: 4, teacher: {DIVERGES}}}\n", "teacher"),
        (f", start: {DIVERGES}", FORK, "start"),
    ],
)  # fmt: skip
def test_a_cell_fails_with_the_training_that_it_waits_for(
    write_grid: Callable[..., Path], difgen: Difgen, train: str, more: str, role: str
) -> None:
    path = str(write_grid(GRID.replace("TRAIN", train) + more))
    assert difgen("sweep", path, "--cluster", "inline").returncode == 1
    plan = json.loads(difgen("plan", path, "--json").stdout)
    assert [cell["mark"] for cell in plan["cells"] if cell["kind"] == "model"] == ["failed"]
    assert f"{role}: " in difgen("plan", path).stdout
    again = difgen("sweep", path, "--cluster", "inline", "--retry", "failed")
    assert again.returncode == 1
    assert "lower train.lr" in again.stderr
