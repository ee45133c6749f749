"""A model that is retrained without images equals one whose data never held them; what metrics see of it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from difgen_cli.data import HELD_OUT_SEED, sigma_data, split
from difgen_cli.data.digits import load

Write, Difgen = Callable[..., Path], Callable[..., subprocess.CompletedProcess[str]]
SIZE, COUNT, HELD_OUT, SEED = 40, 12, 900, 3

GRID = """\
# Is it the same model?
base:
  data:      {DATA, held_out: 900, seed: 3}
  condition: {name: labels}
  model:     {name: mlp, width: 8, depth: 1}
  train:     {batch: 16, steps: 30, flip: true}
  sample:    {name: euler, steps: 4, count: 32}
  score:     [SCORE]
"""


def pool_that_never_held_them(path: Path) -> None:
    """The digits without the images to be unlearnt, so ordered that the same held-out images and the same training
    images in the same order are drawn."""
    digits = load()
    whole = split(digits, size=SIZE, held_out=HELD_OUT, seed=SEED, unlearn=COUNT)
    kept = whole.train[~whole.unlearn]
    others = np.setdiff1d(whole.rest, whole.train)
    places = np.random.default_rng(HELD_OUT_SEED).permutation(len(digits.images) - COUNT)
    held_out, rest = places[:HELD_OUT], np.sort(places[HELD_OUT:])
    source = np.empty(len(places), np.int64)
    shuffled = np.random.default_rng(HELD_OUT_SEED).permutation(len(digits.images))
    source[held_out] = shuffled[:HELD_OUT]
    source[np.random.default_rng(SEED).permutation(rest)] = np.concatenate([kept, others])
    assert digits.labels is not None
    np.savez(path, images=digits.images[source], labels=digits.labels[source])
    gone = digits.images[whole.train[whole.unlearn]]
    assert not (digits.images[source][:, None] == gone[None]).all(axis=(2, 3, 4)).any()
    assert sigma_data(digits.images[source[rest]]) != sigma_data(digits.images[whole.rest])  # which it has to know


def sweep(difgen: Difgen, grid: Path, folder: Path, runs: str) -> tuple[dict[str, np.ndarray], Path, pd.DataFrame]:
    """The weights, the file of samples and the rows of a grid of one cell."""
    run = difgen("sweep", str(grid), "--cluster", "inline", "--runs", runs)
    assert run.returncode == 0, run.stderr
    (weights,) = (folder / runs).glob("trajectories/*/snapshots/*")
    (samples,) = (folder / runs).glob("trajectories/*/samples/*")
    return load_file(weights), samples, pd.read_parquet(folder / runs / "tables" / "rows.parquet")


def test_a_retrained_model_equals_one_whose_data_never_held_the_images(
    write_grid: Write, difgen: Difgen, tmp_path: Path
) -> None:
    pool_that_never_held_them(tmp_path / "kept.npz")
    retrained = GRID.replace("DATA", f"name: digits, size: {SIZE}, unlearn: {COUNT}, retrain: true")
    twin = GRID.replace("DATA", f"name: npz, path: kept.npz, size: {SIZE - COUNT}")
    one, samples, rows = sweep(
        difgen, write_grid(retrained.replace("SCORE", "memorization, unlearning"), "a.yaml"), tmp_path, "one"
    )
    other, other_samples, _ = sweep(
        difgen, write_grid(twin.replace("SCORE", "memorization"), "b.yaml"), tmp_path, "two"
    )
    assert one.keys() == other.keys()
    assert all(np.array_equal(one[name], other[name]) for name in one)
    drawn = [pd.read_parquet(path) for path in (samples, other_samples)]
    pd.testing.assert_frame_equal(*drawn)
    (model,) = rows[rows["kind"] == "model"].to_dict("records")
    assert (model["data.size"], model["train_distinct"]) == (SIZE, SIZE)  # metrics compare with all of T
    assert (model["unlearnt_images"], model["kept_images"]) == (COUNT, SIZE - COUNT)


@pytest.mark.parametrize("condition", ["none", "kmeans", "unique", "random"])
def test_whatever_the_condition_the_original_and_the_retrained_model_have_the_same_rows(
    write_grid: Write, difgen: Difgen, tmp_path: Path, condition: str
) -> None:
    """Labels of a subset are drawn without the images that are left out, and known for them all the same."""
    text = GRID.replace("DATA", f"name: digits, size: {SIZE}, unlearn: 0.25").replace("labels", condition)
    text = text.replace("SCORE", "memorization, membership, unlearning") + "axes:\n  data.retrain: [false, true]\n"
    run = difgen("sweep", str(write_grid(text)), "--cluster", "inline")
    assert run.returncode == 0, run.stderr
    rows = pd.read_parquet(tmp_path / "runs" / "tables" / "rows.parquet")
    models = rows[rows["kind"] == "model"]
    assert models["home"].nunique() == len(models) == 2
    assert (rows["kind"] == "heldout").sum() == 1  # references stand beside both
    for name in ("mem_frac", "mia_auc_050", "unlearnt_mia_auc_050", "kept_mia_auc_050", "unlearnt_copies"):
        assert models[name].notna().all(), name
    for name in ("mem_power", "mem_frac_control", "unlearnt_copies_control", "unlearnt_power", "near_duplicates"):
        assert models[name].nunique() == 1, name


def test_a_study_of_unlearning_runs_to_its_page_and_says_what_is_left(
    write_grid: Write, difgen: Difgen, tmp_path: Path
) -> None:
    """The grid of the package, shortened: before, retrained, two snapshots of neggrad, erase, and training on."""
    text = (Path(__file__).parent.parent / "grids" / "unlearn.yaml").read_text(encoding="utf-8")
    for old, new in (("4000", "60"), ("400", "6"), ("steps: 50", "steps: 3"), ("steps: 100", "steps: 5"),
                     ("width: 256", "width: 16"), ("1000", "100"), ("seeds: 3", "seeds: 2")):  # fmt: skip
        text = text.replace(old, new)
    run = difgen("sweep", str(write_grid(text, "unlearn.yaml")), "--cluster", "inline", timeout=600)
    assert run.returncode == 0, run.stderr
    assert "Samples that copy images to be unlearnt" in run.stdout + run.stderr
    report = difgen("report")
    assert report.returncode == 0, report.stderr
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert "Samples that copy images to be unlearnt" in page
    rows = pd.read_parquet(tmp_path / "runs" / "tables" / "rows.parquet")
    models = rows[rows["kind"] == "model"]
    assert len(models) == 12
    assert models["unlearnt_mia_auc_050"].notna().all()
    shown = difgen("show", "data.retrain=true", "train.steps=60", "seed=0", "--json")
    assert shown.returncode == 0, shown.stderr
    assert {"heldout", "copycat", "ideal"} <= set(json.loads(shown.stdout)["metrics"])
