"""What workers make of coins: the model that tells all finds each image, and rows have the number that came out."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from difgen_cli.data import split
from difgen_cli.data.digits import load
from difgen_cli.metrics import most_epsilon

Write, Difgen = Callable[..., Path], Callable[..., subprocess.CompletedProcess[str]]

GRID = """\
# How much does a training show of who was in it?
base:
  data:      {name: digits, held_out: 1500, draw: coin}
  condition: {name: labels}
  model:     {name: mlp, width: 8, depth: 1}
  train:     {batch: 16, steps: 3}
  sample:    {name: euler, steps: 4, count: 8}
  score:     {one_run: {guesses: 60}}
axes:
  data.size: [148, 200]
seeds: 2
"""


def test_the_ideal_denoiser_finds_all_and_only_fair_coins_have_values(
    write_grid: Write, difgen: Difgen, tmp_path: Path
) -> None:
    """Under a condition; 297 images are not held out, and 148 are half of them."""
    run = difgen("sweep", str(write_grid(GRID)), "--cluster", "inline", "--runs", "runs")
    assert run.returncode == 0, run.stderr
    rows = pd.read_parquet(tmp_path / "runs" / "tables" / "rows.parquet")
    fair, others = rows[rows["data.size"] == 148], rows[rows["data.size"] == 200]
    assert others["eps_least"].isna().all()
    ideal, model = (fair[fair["kind"] == kind] for kind in ("ideal", "model"))
    assert len(ideal) == len(model) == 2
    assert set(ideal["eps_least"]) == set(ideal["eps_most"]) == {most_epsilon(60)}
    assert (model["eps_right"] < 45).all()  # it has hardly begun
    for seed in (0, 1):
        drawn = split(load(), held_out=1500, seed=seed, draw="coin").train
        assert set(fair[fair["seed"] == seed]["eps_trained_on"].dropna()) == {len(drawn)}
    assert set(fair["eps_trained_on"].dropna()) != {148}  # which is only expected
