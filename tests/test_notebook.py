"""A run directory in a notebook: what it gives is what the sweep made, and what its documents say runs."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import difgen_cli
from difgen_cli import data, sampling
from difgen_cli.engine.grid.document import GridError
from difgen_cli.sampling import euler

GRID = """# What does a notebook see?
base:
  data: {name: digits, held_out: 900, size: 8}
  model: {name: mlp, width: 8, depth: 1}
  train: {batch: 16}
  condition: {name: labels}
  sample: {name: euler, steps: 4, count: 16}
  post_training: {name: quantise, bits: 3}
  score: {memorization: , gap: }
axes:
  train.steps: [2, 4]
"""


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory, difgen_in: Callable[..., subprocess.CompletedProcess[str]]) -> Path:
    """A run directory with one grid."""
    folder = tmp_path_factory.mktemp("notebook")
    (folder / "seen.yaml").write_text(GRID, encoding="utf-8")
    done = difgen_in(folder, "sweep", "seen.yaml", "--cluster", "inline")
    assert done.returncode == 0, done.stderr
    return folder / "runs"


def test_rows_are_those_of_the_report(swept: Path) -> None:
    runs = difgen_cli.open(swept)
    rows = runs.rows()
    models = rows[rows["kind"] == "model"]
    assert runs.grids == ["seen"]
    assert models["train.steps"].tolist() == [2, 4]
    assert models["state"].tolist() == ["done", "done"]
    cell = runs.cell("train.steps=4")
    assert cell.metrics["mem_frac"] == models["mem_frac"].tolist()[1]
    assert cell.settings["model.width"] == 8


def test_the_denoiser_is_the_one_that_drew_the_samples(swept: Path) -> None:
    """With the weights as the samples saw them: quantised."""
    cell = difgen_cli.open(swept).cell("train.steps=4")
    labels = np.bincount(cell.train_labels, minlength=10) / len(cell.train)
    walk = partial(euler.sample)
    drawn = sampling.draw(cell.denoiser(), walk, (1, 8, 8), labels, steps=4, count=16)
    assert np.array_equal(data.to_uint8(drawn.x), cell.samples)
    assert np.array_equal(drawn.labels, cell.sample_labels)
    weights = cell.denoiser().state_dict()
    assert max(len(tensor.unique()) for tensor in weights.values() if tensor.ndim == 2) <= 7 * 64


def test_images_are_those_of_the_training_subset(swept: Path) -> None:
    cell = difgen_cli.open(swept).cell("train.steps=4")
    assert cell.train.shape == (8, 8, 8, 1)
    assert cell.held_out.shape[1:] == (8, 8, 1)
    both = np.concatenate([cell.train, cell.held_out]).reshape(-1, 64)
    assert len(np.unique(both, axis=0)) == len(both)


def test_a_notebook_changes_nothing(swept: Path) -> None:
    def state() -> dict[str, str]:
        files = sorted(path for path in swept.rglob("*") if path.is_file())
        return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    before = state()
    runs = difgen_cli.open(swept)
    runs.rows()
    for cell in runs.cells():
        cell.denoiser()(torch.zeros(1, 1, 8, 8), torch.ones(1), torch.zeros(1, dtype=torch.int64))
        assert len(cell.samples) == 16
    assert len(runs.cells()) == 2
    assert state() == before


def test_threads_of_the_notebook_stay(swept: Path) -> None:
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(threads + 1)
        difgen_cli.open(swept).cell("train.steps=4").denoiser()
        assert torch.get_num_threads() == threads + 1
    finally:
        torch.set_num_threads(threads)


def test_a_run_directory_that_was_moved_is_read(swept: Path, tmp_path: Path) -> None:
    shutil.copytree(swept, tmp_path / "moved")
    cell = difgen_cli.open(tmp_path / "moved").cell("train.steps=4")
    assert torch.equal(
        next(cell.denoiser().parameters()), next(difgen_cli.open(swept).cell("train.steps=4").denoiser().parameters())
    )


def test_what_is_not_there_is_one_sentence(swept: Path, tmp_path: Path) -> None:
    with pytest.raises(GridError, match="no run directory; make one"):
        difgen_cli.open(tmp_path)
    with pytest.raises(GridError, match=r"2 cells of grid seen match; add train\.steps"):
        difgen_cli.open(swept).cell("model.width=8")
    with pytest.raises(GridError, match="--grid other: no such grid"):
        difgen_cli.open(swept).rows(grid="other")


def test_the_lines_of_the_documents_run(swept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (Path(__file__).parent.parent / "docs" / "commands.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(import difgen_cli\n.*?)```", text, re.DOTALL)
    monkeypatch.chdir(swept.parent)
    names: dict[str, object] = {}
    exec(code.replace("data.size=64", "data.size=8"), names)  # noqa: S102
    assert "cell" in names


def test_rows_are_exported_with_every_digit(
    swept: Path, tmp_path: Path, difgen: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    runs = difgen_cli.open(swept)
    assert difgen("export", "all.csv", "--runs", swept).stderr == f"all.csv: {len(runs.rows())} rows\n"
    assert difgen("export", "one.parquet", "--runs", swept, "--only", "train.steps=4").returncode == 0
    every, one = pd.read_csv(tmp_path / "all.csv"), pd.read_parquet(tmp_path / "one.parquet")
    assert one["step"].tolist() == [4]
    assert one["gap_max"].tolist() == runs.rows("train.steps=4")["gap_max"].tolist()
    kept = every[every["cell"].isin(one["cell"])]
    assert kept["gap_max"].tolist() == one["gap_max"].tolist()
    wrong = difgen("export", "rows.txt", "--runs", swept)
    assert (wrong.returncode, wrong.stderr) == (2, "export: rows.txt must end with .csv or .parquet\n")
    assert difgen("export", "no.csv", "--runs", swept, "--only", "train.steps=5").returncode == 2
    assert not (tmp_path / "no.csv").exists()
