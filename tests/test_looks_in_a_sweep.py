"""The metrics of looks, partitions, detection and rare images in one small sweep, and detection between folders."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from difgen_cli.data.digits import load

Run = Callable[..., subprocess.CompletedProcess[str]]

GRID = """
base:
  data: {name: digits, held_out: 60, size: 60}
  condition: {name: labels}
  model: {name: mlp, width: 16, depth: 1}
  train: {batch: 16, weight_path: true}
  sample: {steps: 2, count: 24}
  score:
    cluster_classes:
    appearance: {features: pixels}
    minority:
    ood_classes: {features: pixels, against: {name: npz, path: other.npz}}
axes: {train.steps: [3, 6]}
"""


@pytest.fixture
def files(tmp_path: Path) -> None:
    """Digits in three parts, and noise."""
    digits = load()
    for name, rows in (("train", slice(0, 120)), ("test", slice(120, 200)), ("made", slice(200, 240))):
        np.savez(tmp_path / f"{name}.npz", images=digits.images[rows], labels=digits.labels[rows])  # type: ignore[index]
    np.savez(tmp_path / "other.npz", images=np.random.default_rng(0).integers(0, 256, (50, 8, 8, 1), np.uint8))


@pytest.mark.usefixtures("files")
def test_rows_have_what_was_measured_and_what_training_saw_of_its_steps(
    tmp_path: Path, write_grid: Callable[..., Path], difgen: Run
) -> None:
    done = difgen("sweep", write_grid(GRID), "--cluster", "inline")
    assert done.returncode == 0, done.stderr
    rows = pd.read_parquet(tmp_path / "runs" / "tables" / "rows.parquet")
    models = rows[rows["kind"] == "model"].set_index("step")
    assert (models["clusters_acc"] == 1).all(), "the condition is the class"
    assert (models["ood_mahalanobis_auroc"] > 0.9).all()
    assert (models["saturation"] == 0).all()
    assert models["class_tv"].between(0, 1).all()
    lines = pd.read_parquet(tmp_path / "runs" / "tables" / "minority.parquet")
    assert len(lines) == rows["minority_images"].sum()
    (progress,) = (tmp_path / "runs" / "trajectories").glob("*/progress.*.jsonl")
    said = [json.loads(line) for line in progress.read_text(encoding="utf-8").splitlines()]
    assert models["grad_norm"].to_dict() == {line["step"]: line["grad_norm"] for line in said if line["step"] in (3, 6)}
    assert all(line["grad_norm"] != line["loss"] for line in said)
    assert 0 < models["weight_path"][3] < models["weight_path"][6]


@pytest.mark.usefixtures("files")
def test_folders_are_compared_without_a_model(tmp_path: Path, difgen: Run) -> None:
    others = [
        f"--set={metric}.against.{key}" for metric in ("ood", "ood_classes") for key in ("name=npz", "path=other.npz")
    ]
    done = difgen(
        "score", "made.npz", "--against", "train.npz", "--held-out", "test.npz", "--features", "pixels", "--json",
        "--metrics", "ood,ood_classes", *others,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    row = json.loads(done.stdout)["rows"]["model"]
    for name in ("ood", "ood_mahalanobis"):
        assert row[f"{name}_auroc"] > 0.9, name
    assert row["ood_samples_auroc_lo"] < 0.5 < row["ood_samples_auroc_hi"]
    assert row["ood_knn_acc"] > 0.8
