"""Another data set that a metric compares with: named by its plug-in, part of the metric's key, fitted to the data."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from difgen_cli.engine.grid.document import GridError
from difgen_cli.engine.plan import Cell, Plan

GRID = """\
# Are clothes told from digits?
base:
  data:   {name: digits, held_out: 900, size: 64}
  model:  {name: mlp, width: 8, depth: 1}
  train:  {batch: 16, steps: 20}
  sample: {name: euler, steps: 3, count: 32}
  score:
    memorization:
    ood: {against: {name: npz, path: other.npz}}
"""

WITHOUT_TRAINING = GRID.replace("{against", "{features: random_conv, against")  # a classifier is 6 s of training

PlanOf = Callable[[Path], Plan]
Write = Callable[..., Path]


def other(folder: Path, name: str = "other.npz", level: int = 200) -> Path:
    """Forty coloured images of 12 × 10 pixels, with noise about a level."""
    noise = np.random.default_rng(level).integers(-30, 30, (40, 12, 10, 3))
    np.savez(folder / name, images=(level + noise).clip(0, 255).astype(np.uint8))
    return folder / name


def cell(plan: Plan) -> Cell:
    (model,) = plan.models
    return model


def test_the_content_of_the_other_data_set_is_in_the_metrics_key_and_in_no_other(
    tmp_path: Path, write_grid: Write, plan_of: PlanOf
) -> None:
    other(tmp_path)
    other(tmp_path, "same.npz")
    first, again = (cell(plan_of(write_grid(GRID.replace("other.npz", name)))) for name in ("other.npz", "same.npz"))
    assert first.metrics == again.metrics, "a path is in no key"
    other(tmp_path, level=90)
    changed = cell(plan_of(write_grid(GRID)))
    assert changed.metrics["ood"] != first.metrics["ood"]
    assert changed.metrics["memorization"] == first.metrics["memorization"]
    assert (changed.run_key, changed.samples) == (first.run_key, first.samples)
    assert changed.settings()["score.ood.against.name"] == "npz"


def test_other_data_sets_may_be_an_axis(tmp_path: Path, write_grid: Write, plan_of: PlanOf) -> None:
    other(tmp_path)
    other(tmp_path, "dark.npz", 50)
    plan = plan_of(write_grid(GRID + "axes: {score.ood.against.path: [other.npz, dark.npz]}\n"))
    assert len(plan.models) == 2
    assert len(plan.trajectories) == 1
    assert len({c.metrics["ood"] for c in plan.models}) == 2
    assert [str(c.axis_values()["score.ood.against.path"]) for c in plan.models] == ["other.npz", "dark.npz"]


def test_another_plugin_of_the_axis_may_have_settings_that_this_one_lacks(
    tmp_path: Path, write_grid: Write, plan_of: PlanOf
) -> None:
    other(tmp_path)
    text = GRID.replace("name: digits, held_out: 900", "name: npz, path: images.npz, held_out: 10").replace("64", "20")
    other(tmp_path, "images.npz", 80)
    plan = plan_of(write_grid(text + "axes: {score.ood.against.name: [npz, digits]}\n"))
    assert [c.settings()["score.ood.against.name"] for c in plan.models] == ["npz", "digits"]
    assert "score.ood.against.path" not in plan.models[1].settings()


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("ood:", r"score.ood.against: name another data set, by its plug-in and its settings: \{name: digits\}"),
        ("ood: {against: digits}", "name another data set"),
        ("ood: {against: {path: other.npz}}", "name another data set"),
        ("ood: {against: {name: digit}}", r"score.ood.against.name: no data plug-in .* did you mean digits"),
        ("ood: {against: {name: npz}}", "score.ood.against.path: not given"),
        (
            "ood: {against: {name: npz, path: other.npz, pth: 3}}",
            r"score.ood.against.pth: unknown .* did you mean path",
        ),
        ("ood: {against: {name: npz, path: other.npz, held_out: 3}}", "score.ood.against.held_out: unknown setting"),
        (
            "ood: {against: {name: npz, path: nowhere.npz}}",
            "score.ood.against.path: .*nowhere.npz: there is no such file",
        ),
        ("ood: {against: {name: digits}}", "digits is this data set itself"),
        ("ood: {against: {name: circle}}", "circle holds points of 2 values, and this data set images"),
        ("gap: {against: {name: digits}}", "score.gap.against.name: unknown setting"),
    ],
)
def test_a_data_set_that_cannot_be_compared_with_is_refused_with_its_place(
    tmp_path: Path, write_grid: Write, plan_of: PlanOf, said: str, words: str
) -> None:
    other(tmp_path)
    with pytest.raises(GridError, match=words) as refused:
        plan_of(write_grid(GRID.replace("ood: {against: {name: npz, path: other.npz}}", said)))
    assert refused.value.place is not None
    assert refused.value.place.line == 9


def test_points_are_compared_with_points_of_as_many_values(write_grid: Write, plan_of: PlanOf) -> None:
    text = GRID.replace("name: digits, held_out: 900", "name: molrg, dimension: 12, rank: 3, held_out: 900")
    for dimension, fits in ((12, True), (13, False)):
        said = f"ood: {{against: {{name: gaussians, dimension: {dimension}}}}}"
        path = write_grid(text.replace("ood: {against: {name: npz, path: other.npz}}", said))
        if fits:
            assert "ood" in cell(plan_of(path)).metrics
        else:
            with pytest.raises(GridError, match="points of 13 values, and this data set points of 12 values"):
                plan_of(path)


def test_cells_that_share_samples_and_differ_in_a_metrics_settings_are_all_measured_at_once(
    tmp_path: Path, write_grid: Write, difgen: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    other(tmp_path)
    write_grid(WITHOUT_TRAINING + "axes: {score.ood.similarity: [nearest, cosine, top_k]}\n", "grid.yaml")
    options = ("--cluster", "inline")
    done = difgen("sweep", "grid.yaml", *options, "--only", "score.ood.similarity=nearest")
    assert done.returncode == 0, done.stderr
    done = difgen("sweep", "grid.yaml", *options)
    assert done.returncode == 0, done.stderr
    rows = pd.read_parquet(tmp_path / "runs" / "tables" / "rows.parquet")
    model = rows[rows.kind == "model"].set_index("score.ood.similarity")
    assert set(model.index) == {"nearest", "cosine", "top_k"}
    assert model.loc["cosine", "ood_samples_auroc"] != model.loc["top_k", "ood_samples_auroc"]


def test_a_sweep_imports_the_other_data_set_and_a_second_one_finds_nothing_to_do(
    tmp_path: Path, write_grid: Write, difgen: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    path = other(tmp_path)
    write_grid(WITHOUT_TRAINING, "grid.yaml")
    done = difgen("sweep", "grid.yaml", "--cluster", "inline")
    assert done.returncode == 0, done.stderr
    rows = pd.read_parquet(tmp_path / "runs" / "tables" / "rows.parquet").set_index("kind")
    assert rows.loc["model", "ood_auroc_lo"] > 0.9
    assert rows.loc["model", "ood_images"] == 40
    assert rows.loc["model", "score.ood.against.name"] == "npz"
    assert rows.loc["copycat", "ood_samples_auroc"] == 0
    assert pd.isna(rows.loc["heldout", "ood_samples_auroc"])
    assert rows.loc["heldout", "ood_auroc"] == rows.loc["model", "ood_auroc"]
    path.rename(tmp_path / "moved.npz")
    assert "nothing to do" in difgen("sweep", "grid.yaml", "--set", "score.ood.against.path=moved.npz").stderr
    done = difgen("report", "runs", "--out", "report")
    assert done.returncode == 0, done.stderr
