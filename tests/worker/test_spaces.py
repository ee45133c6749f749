"""Published networks as feature spaces in a sweep: each set of images goes through them once, whoever asks."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import published
import pytest
import torch
from safetensors.torch import save_file

from difgen_cli.engine.plan.recipes import Operation, Recipe
from difgen_cli.engine.plugins import Library
from difgen_cli.engine.store import Arrays, Store
from difgen_cli.engine.store.attempts import Claimant
from difgen_cli.engine.worker import feature_cache
from difgen_cli.engine.worker.artifacts import Artifacts
from difgen_cli.engine.worker.feature_cache import Space
from difgen_cli.engine.worker.parts import Holdout

GRID = """\
# Is the distance the same for two seeds?
base:
  data:   {name: digits, held_out: 30, size: 20}
  model:  {name: mlp, width: 8, depth: 1}
  train:  {batch: 16, steps: 2}
  sample: {name: euler, steps: 2, count: 20}
  score:  {frechet: {features: dinov2_small}, kernel: {features: dinov2_small}}
axes:
  train.seed: [0, 1]
"""


class Counted:
    """An embedding that remembers what it was asked for, and a store in which some sets last."""

    def __init__(self, root: Path, *lasting: np.ndarray) -> None:
        self.asked: list[int] = []
        self.lasting, self.store = lasting, Store(root)
        self.space = Space("counted", self.embed, self.once, lambda images: any(images is own for own in lasting))

    def embed(self, images: np.ndarray) -> np.ndarray:
        self.asked.append(len(images))
        return images.reshape(len(images), -1).astype(np.float32) + 1

    def once(self, name: str, compute: Callable[[], Arrays]) -> Arrays:
        return self.store.once("0123456789abcdef", name, compute)


def test_a_set_of_images_is_embedded_once_and_told_by_its_content(tmp_path: Path) -> None:
    counted = Counted(tmp_path)
    images = np.arange(48.0).reshape(3, 4, 4)
    first = counted.space(images)
    np.testing.assert_array_equal(first, images.reshape(3, 16) + 1)
    assert counted.space(images.copy()) is first
    assert counted.asked == [3]
    for other in (images + 1, images[:2], images.astype(np.float32), images.reshape(3, 2, 8), images[:, ::-1]):
        np.testing.assert_array_equal(counted.space(other), other.reshape(len(other), 16) + 1)
    assert counted.asked == [3, 3, 2, 3, 3, 3]
    assert not list(tmp_path.rglob("*.npz"))


def test_what_was_asked_for_longest_ago_is_let_go_when_memory_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted(tmp_path)
    a, b, c = (np.full((2, 4), value) for value in range(3))
    monkeypatch.setattr(feature_cache, "HELD_BYTES", 2 * counted.space(a).nbytes)
    for images in (b, a, c, a, b):  # c takes the place of b
        counted.space(images)
    assert counted.asked == [2, 2, 2, 2]
    monkeypatch.setattr(feature_cache, "HELD_BYTES", 1)
    np.testing.assert_array_equal(counted.space(c), c + 1)  # larger than the memory, and yet given


def test_features_of_the_data_sets_own_images_are_kept_for_other_workers(tmp_path: Path) -> None:
    own = np.arange(8.0).reshape(2, 4)
    first = Counted(tmp_path, own)
    expected = first.space(own)
    second = Counted(tmp_path, own)
    np.testing.assert_array_equal(second.space(own), expected)
    assert (first.asked, second.asked) == ([2], [])


@pytest.fixture
def sweep(
    tmp_path: Path, write_grid: Callable[..., Path], difgen: Callable[..., subprocess.CompletedProcess[str]]
) -> Callable[[], pd.DataFrame]:
    """Run the grid with the weights folder of the test, and give its rows."""
    grid = write_grid(GRID)

    def run() -> pd.DataFrame:
        done = difgen("sweep", grid, "--cluster", "inline", DIFGEN_WEIGHTS=str(tmp_path / "weights"))
        assert done.returncode == 0, done.stderr + done.stdout
        return pd.read_parquet(tmp_path / "runs" / "tables" / "rows.parquet").query("kind == 'model'")

    return run


def test_own_weights_name_the_space_and_references_are_embedded_once_for_all_cells(
    tmp_path: Path, sweep: Callable[[], pd.DataFrame]
) -> None:
    (tmp_path / "weights").mkdir()
    own = tmp_path / "weights" / "dinov2_small.safetensors"
    save_file(published.dinov2(4, width=64, hidden=64, depth=1), own)
    rows = sweep()
    assert len(rows) == 2
    (name,) = rows["fd_features"].unique()
    assert name == rows["kd_features"].iloc[0]
    assert name.startswith("dinov2_small@")
    assert (rows["fd_test"] > 0).all()
    kept = list((tmp_path / "runs" / "shared").rglob("embedded-*.npz"))
    assert sorted(len(np.load(file)["features"]) for file in kept) == [20, 30]  # T and the held-out images

    times = {file: file.stat().st_mtime_ns for file in kept}
    entries = published.dinov2(4, width=64, hidden=64, depth=1)
    save_file(entries | {"norm.bias": torch.ones(64), "norm.weight": 2 * entries["norm.weight"]}, own)
    other = sweep()
    assert other["fd_features"].iloc[0] != name  # another file is another space, with rows of its own
    assert (other["fd_test"].to_numpy() > rows["fd_test"].to_numpy()).all()
    assert times == {file: file.stat().st_mtime_ns for file in kept}


def test_weights_that_were_exchanged_since_the_plan_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIFGEN_WEIGHTS", str(tmp_path))
    save_file(published.dinov2(4, width=64, hidden=64, depth=1), tmp_path / "dinov2_small.safetensors")
    recipe = Recipe(Operation("features", "dinov2_small", 1, {"weights": "0123abcd" * 8}), {})
    artifacts = Artifacts(Store(tmp_path / "runs"), {recipe.key: recipe}, Library(), "cpu", Claimant())
    nothing, none = np.zeros((0, 8, 8, 1), np.float32), np.zeros(0, np.int64)
    with pytest.raises(ValueError, match="planned with 0123abcd: put those back, or run `difgen sweep` again"):
        artifacts.embed(
            recipe.key, Holdout(nothing, None, none, nothing, None, none, none, nothing, 0.5, nothing, None, none)
        )
