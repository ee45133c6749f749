"""What workers make of canaries: planted by their coins, seen by their own metric alone, found by who knows all."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from difgen_cli.data import _canaries, split
from difgen_cli.data.digits import load
from difgen_cli.engine.plan import recipes
from difgen_cli.engine.plugins import Library
from difgen_cli.engine.store import Store
from difgen_cli.engine.worker.artifacts import Artifacts
from difgen_cli.metrics import least_epsilon

Write, Difgen = Callable[..., Path], Callable[..., subprocess.CompletedProcess[str]]

GRID = """\
# How much does a training show of who was planted?
base:
  data:      {name: digits, held_out: 1500, size: 100, canaries: {count: 20, repeats: [1, 3]}}
  condition: {name: labels}
  model:     {name: analytic, delta: 0.01}
  train:     {batch: 16, steps: 3}
  sample:    {name: heun, steps: 12, count: 60}
  score:     {canaries: {guesses: 10}, memorization: {}}
axes:
  data.canaries.kind: [held_out, noise, mislabelled]
seeds: 2
"""


@pytest.fixture(scope="module")
def digits_with_canaries() -> dict[int, np.ndarray]:
    """The places of T for each seed."""
    return {s: split(load(), {"count": 40}, held_out=1500, size=100, seed=s).train for s in (0, 1)}


def artifacts_of(runs: Path, row: pd.Series) -> tuple[Artifacts, recipes.Recipe]:
    store = Store(runs)
    spec = store.run_folder(row["home"], row["slug"]).spec()
    table = recipes.load(spec["recipe"])
    return Artifacts(store, table, Library(), "cpu", None), table[spec["key"]]  # type: ignore[arg-type]


def test_a_denoiser_in_closed_form_finds_all_and_other_metrics_see_none(
    write_grid: Write, difgen: Difgen, tmp_path: Path, digits_with_canaries: dict[int, np.ndarray]
) -> None:
    run = difgen("sweep", str(write_grid(GRID)), "--cluster", "inline", "--runs", "runs")
    assert run.returncode == 0, run.stderr
    runs = tmp_path / "runs"
    rows = pd.read_parquet(runs / "tables" / "rows.parquet")
    models, others = rows[rows["kind"] == "model"], rows[rows["kind"] != "model"]
    assert len(models) == 6
    assert set(models["canary_right"]) == {20}
    assert set(models["canary_eps_group"]) == {least_epsilon(10, 10, level=0.975)}
    assert others["canary_right"].isna().all()  # nothing was planted in what stands beside the models
    assert len(others) == 6  # the three kinds share T, H and their references
    planted = {seed: _canaries.planted(40, seed) for seed in (0, 1)}
    for _, row in models.iterrows():
        coins, repeats = planted[row["seed"]], _canaries.repeats_of(40, (1, 3))
        assert row["canary_planted"] == coins.sum()
        assert row["canary_rows"] == repeats[coins].sum()
        assert row["train_distinct"] == row["data.size"] == 100
        assert row["canary_extracted_control"] == 0
        check_what_is_trained_on(runs, row, coins, repeats, digits_with_canaries[row["seed"]])


def check_what_is_trained_on(
    runs: Path, row: pd.Series, coins: np.ndarray, repeats: np.ndarray, train: np.ndarray
) -> None:
    """T in its order under its own labels, and each planted canary after it, so often; T alone for the metrics."""
    artifacts, trajectory = artifacts_of(runs, row)
    subset = trajectory.inputs["subset"]
    shown, compared = artifacts.subset(subset.key), artifacts.subset(recipes.measured(subset).key)
    pool, kind = load(), row["data.canaries.kind"]
    np.testing.assert_array_equal(artifacts.pixels(shown.images).numpy()[:100, 0], pool.images[train][..., 0])
    np.testing.assert_array_equal(compared.images, shown.images[:100])
    assert len(shown.images) == 100 + repeats[coins].sum()
    labels = artifacts.conditions(trajectory.inputs["labels"].key, subset.key)
    of_train, of_canaries = labels.train, labels.canaries
    assert of_train is not None
    assert of_canaries is not None
    np.testing.assert_array_equal(of_train[:100], pool.labels[train])  # type: ignore[index]
    out = split(pool, {"count": 40}, held_out=1500).canaries
    own = pool.labels[out]  # type: ignore[index]
    assert ((of_canaries == own).all(), (of_canaries != own).all()) == (kind != "mislabelled", kind == "mislabelled")
    each = np.repeat(np.flatnonzero(coins), repeats[coins])
    np.testing.assert_array_equal(of_train[100:], of_canaries[each])
    are_own = artifacts.pixels(shown.images).numpy()[100:, 0] == pool.images[out][each][..., 0]
    assert bool(are_own.all()) == (kind != "noise")
    np.testing.assert_allclose(labels.proportions, np.bincount(pool.labels[train], minlength=10) / 100)  # type: ignore[index]


TRAINED = (
    GRID[: GRID.index("axes:")]
    .replace("{name: analytic, delta: 0.01}", "{name: mlp, width: 16, depth: 1}")
    .replace("steps: 3}", "steps: 40, flip: FLIP}")
)


@pytest.mark.parametrize("flip", ["true", "false"])
def test_a_training_that_was_stopped_goes_on_to_the_same_numbers(
    write_grid: Write, difgen: Difgen, tmp_path: Path, flip: str
) -> None:
    """20 steps and then 40, and 40 at once: the same weights, so that every number is the same to the last bit."""
    text = TRAINED.replace("FLIP", flip)
    for runs, steps in (("parts", (20, 40)), ("whole", (40,))):
        for at in steps:
            grid = str(write_grid(text))
            run = difgen("sweep", grid, "--cluster", "inline", "--runs", runs, "--set", f"train.steps={at}")
            assert run.returncode == 0, run.stderr
    parts, whole = (pd.read_parquet(tmp_path / runs / "tables" / "canaries.parquet") for runs in ("parts", "whole"))
    last = parts[parts["step"] == 40]
    assert len(last) == len(whole) == 40
    np.testing.assert_array_equal(last["score"], whole["score"])
    assert set(last["key"]) == set(whole["key"])
