"""`difgen audit` of a model whose training images nobody knows: what samples alone show, and that it is no more."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

Difgen = Callable[..., subprocess.CompletedProcess[str]]
GRID = """\
# A model of a few steps
base:
  data:   {name: digits, held_out: 900, size: 4}
  model:  {name: mlp, width: 32, depth: 1}
  train:  {batch: 16, steps: 60}
  sample: {count: 8, steps: 2}
  score:  [memorization]
"""


def test_of_unknown_training_images_samples_are_all_that_is_measured(tmp_path: Path, difgen: Difgen) -> None:
    (tmp_path / "grid.yaml").write_text(GRID)
    assert difgen("sweep", "grid.yaml", "--cluster", "inline").returncode == 0
    (snapshot,) = (tmp_path / "runs").glob("trajectories/*/snapshots/*.safetensors")
    neither = difgen("audit", snapshot)
    assert neither.returncode == 2
    assert "name the images that the model was trained on" in neither.stderr
    options = ("--held-out", "digits", "--count", "60", "--set", "sample.steps=12", "--json")
    run = difgen("audit", snapshot, *options)
    assert run.returncode == 0, run.stderr
    content = json.loads(run.stdout)
    assert {answer["state"] for answer in content["answers"]} == {"cannot_be_told", "not_asked"}
    assert set(content["rows"]) == {"model"}
    row = {name: value for name, value in content["rows"]["model"].items() if value is not None}
    assert row["clique_frac"] == 0  # 60 samples of a model that has learnt little
    assert not any(name.startswith(("mem_", "gap_", "mia_", "fd_", "train_pref")) for name in row)
    assert content["left_out"]["membership"] == "needs the training images, which are not known"
    assert "The training images are not known" in content["answers"][0]["text"]
    assert "No sample is nearly the same as another" in content["answers"][0]["text"]
    assert "whose training images are not known" in content["audited"]["heading"]
