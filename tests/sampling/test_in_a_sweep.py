"""Starts, priors, new samplers and new terms of guidance from a grid to samples, as a worker draws them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from difgen_cli.engine.grid.document import GridError
from difgen_cli.engine.plan import Plan

GRID = """\
# Do samples begin where they should?
base:
  data:      {name: digits, size: 40, held_out: 60}
  condition: {name: labels}
  model:     {name: mlp, width: 8, depth: 1}
  train:     {batch: 16, steps: 4}
  sample:    {steps: 3, count: 32}
  guide:     {name: none}
  score:     {memorization: {}}
axes:
  sample.name: [heun, ddpm]
include:
  - {sample.name: dpmpp, sample.prior: uniform}
  - {sample.name: euler, sample.start: train, sample.levels: [0.001, 0]}
  - {sample.name: euler, sample.start: held_out, sample.levels: [0.001, 0]}
  - {sample.name: heun, guide.name: away, guide.away.weight: -1}
  - {sample.name: heun, guide.name: classifier}
"""


def test_every_way_of_drawing_runs(
    write_grid: Callable[..., Path], difgen: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    write_grid(GRID)
    run = difgen("sweep", "tiny.yaml", "--cluster", "inline")
    assert run.returncode == 0, run.stderr + run.stdout
    rows = pd.read_parquet(tmp_path / "runs" / "tables" / "rows.parquet")
    rows = rows[rows.kind == "model"]
    assert len(rows) == 7
    assert np.allclose(rows[rows["sample.start"] == "train"]["mem_frac"], 1), "nearly clean training images come out"
    assert np.allclose(rows[rows["sample.start"] == "held_out"]["mem_frac"], 0)
    guided = rows.set_index("guide.name")
    assert guided.loc["away", "mem_frac"] == 1, "a weight of -1 puts the nearest training image in D's place"
    assert guided.loc["away", "nfe"] == guided.loc["classifier", "nfe"] == 5


def test_classifier_guidance_needs_labels(write_grid: Callable[..., Path], plan_of: Callable[[Path], Plan]) -> None:
    with pytest.raises(GridError, match=r"guide.classifier: there are no labels"):
        plan_of(write_grid(GRID.replace("condition: {name: labels}", "condition: {name: none}")))


def test_samples_begin_from_held_out_images_only_where_there_are_some(
    write_grid: Callable[..., Path], plan_of: Callable[[Path], Plan]
) -> None:
    with pytest.raises(GridError, match=r"sample.start: there are no held-out images"):
        plan_of(write_grid(GRID.replace("held_out: 60", "held_out: 0")))
