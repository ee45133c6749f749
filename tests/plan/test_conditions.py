"""Conditions in a plan: what alters labels is in the key, what alters nothing is not, and a file counts by content."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from difgen_cli.engine.grid.document import GridError
from difgen_cli.engine.plan import Plan

Write, PlanOf = Callable[..., Path], Callable[[Path], Plan]
TEXT = """
base:
  data:      {name: digits, held_out: 900, size: 64}
  condition: {%s}
  model:     {name: mlp, width: 8, depth: 1}
  train:     {batch: 16, steps: 5}
  sample:    {name: euler, steps: 3, count: 64}
  score:     [memorization, clusters]
"""


@pytest.fixture
def home(write_grid: Write, plan_of: PlanOf) -> Callable[[str], str]:
    """The trajectory's key under a condition."""

    def key(condition: str) -> str:
        (trajectory,) = plan_of(write_grid(TEXT % condition)).trajectories
        return trajectory

    return key


@pytest.mark.parametrize(
    ("condition", "key"),
    [
        ("name: none", "10862564223889b1"),
        ("name: labels", "30f128be682bbf4d"),
        ("name: kmeans, clusters: 7, seed: 3", "bc10facb9a8fc836"),
        ("name: unique", "1eec487faae97659"),
    ],
)
def test_keys_from_before_labels_could_be_altered_are_the_same(
    write_grid: Write, plan_of: PlanOf, condition: str, key: str
) -> None:
    """As planned by the version of this tool that had neither noise nor permutation."""
    plan = plan_of(write_grid(TEXT % condition))
    assert [r.key for r in plan.recipes.values() if r.operation.kind == "labels"] == [key]


@pytest.mark.parametrize("name", ["labels", "kmeans", "temi", "random", "unique"])
def test_what_alters_labels_is_in_the_key_of_every_conditioning(home: Callable[[str], str], name: str) -> None:
    altered = ["noise: 0.1", "noise: 0.2", "permuted: true", "noise: 0.1, permuted: true", "noise: 0.1, seed: 1"]
    keys = {home(f"name: {name}"), *(home(f"name: {name}, {more}") for more in altered)}
    assert len(keys) == 6
    assert home(f"name: {name}, noise: 0.0, permuted: false") == home(f"name: {name}")


@pytest.mark.parametrize("condition", ["name: none, noise: 0.3", "name: temi, clusters: 1, permuted: true, seed: 4"])
def test_without_a_condition_there_is_nothing_to_alter(home: Callable[[str], str], condition: str) -> None:
    assert home(condition) == home("name: none")


def test_fitted_labels_are_shared_by_all_that_alters_them(write_grid: Write, plan_of: PlanOf) -> None:
    axes = "axes: {condition.noise: [0, 0.1, 0.2], data.size: [16, 64], train.lr: [1e-3, 1e-4]}\n"
    plan = plan_of(write_grid(TEXT % "name: kmeans" + axes))
    labels = [r for r in plan.recipes.values() if r.operation.kind == "labels"]
    assert [r.name for r in labels].count("kmeans") == 1
    assert [r.name for r in labels].count("altered") == 4  # two shares of noise under two subsets


def test_what_is_measured_of_labels_alone_lies_with_each_trajectory_once(write_grid: Write, plan_of: PlanOf) -> None:
    """One conditioning under two networks is two results, and at two steps one; images that are real have none."""
    plan = plan_of(write_grid(TEXT % "name: kmeans" + "axes: {train.steps: [5, 10], model.width: [8, 16]}\n"))
    keys = {(cell.run_key, cell.metrics["clusters"]) for cell in plan.models}
    assert len(plan.models) == 4
    assert len(keys) == len({key for _, key in keys}) == 2
    real = [cell for cell in plan.cells if cell.kind in ("heldout", "copycat")]
    assert real
    assert not any("clusters" in cell.metrics for cell in real)


def given(path: Path, labels: np.ndarray) -> str:
    if path.suffix == ".csv":
        pd.DataFrame({"index": range(len(labels)), "label": labels}).to_csv(path, index=False)
    else:
        np.save(path, labels)
    return f"name: file, path: {path}"


def test_a_file_of_labels_counts_by_its_content_and_not_by_its_path(home: Callable[[str], str], tmp_path: Path) -> None:
    labels = np.arange(1797) % 5
    one, other = given(tmp_path / "one.csv", labels), given(tmp_path / "other.npy", labels)
    assert home(one) == home(other)
    assert home(given(tmp_path / "third.npy", (labels + 1) % 5)) != home(one)
    assert home("name: file, path: one.csv") == home(one)  # relative to the data root


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("name: file", r"condition\.path: not given: name a CSV, Parquet or \.npy file"),
        ("name: file, path: missing.csv", r"condition\.path: .*missing\.csv: there is no such file"),
        ("name: file, path: short.npy", r"condition\.path: .*short\.npy: 3 labels do not fit 1797 images"),
        ("name: labels, noise: 1.5", r"condition\.noise: must be less than or equal to 1"),
        ("name: labels, permuted: 1", r"condition\.permuted: must be a valid boolean"),
        ("name: labels, nois: 0.1", r"condition\.nois: unknown setting .* did you mean noise\?"),
    ],
)
def test_what_no_condition_can_be_is_refused_with_its_place(
    write_grid: Write, plan_of: PlanOf, tmp_path: Path, condition: str, words: str
) -> None:
    np.save(tmp_path / "short.npy", np.zeros(3, int))
    with pytest.raises(GridError, match=words) as caught:
        plan_of(write_grid(TEXT % condition))
    assert caught.value.place is not None
    assert caught.value.place.line == 4


def test_a_study_of_given_noisy_and_permuted_labels_runs_to_its_rows(
    write_grid: Write, difgen: Callable[..., object], tmp_path: Path
) -> None:
    """From the file to the labels that samples are drawn with; what is done is not done again."""
    path = tmp_path / "mine.csv"
    axes = "axes: {condition.noise: [0, 1], condition.permuted: [false, true]}\n"
    grid = write_grid(TEXT % given(path, 10 * (np.arange(1797) % 4)) + axes)
    for words in ("4 cells", "nothing to do"):
        done = difgen("sweep", grid, "--cluster", "inline", "--runs", "runs")
        assert done.returncode == 0, done.stderr  # type: ignore[attr-defined]
        assert words in done.stdout + done.stderr  # type: ignore[attr-defined]
    rows = pd.read_parquet(tmp_path / "runs" / "tables" / "rows.parquet").query("kind == 'model'")
    assert len(rows) == 4
    assert rows["clusters_used"].tolist() == [4] * 4
    plain, permuted = (rows[(rows["condition.noise"] == 0) & (rows["condition.permuted"] == p)] for p in (False, True))
    assert plain["clusters_effective"].item() == pytest.approx(permuted["clusters_effective"].item())
    samples = [pd.read_parquet(p)["label"] for p in (tmp_path / "runs").glob("trajectories/*/samples/*.parquet")]
    assert {label for drawn in samples for label in drawn} == {0, 1, 2, 3}
