"""Held-out images with a near-duplicate in the rest, and training with mirror images: what metrics are given."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from difgen_cli.data import Pool, scaled, split
from difgen_cli.engine.plan import Plan
from difgen_cli.neighbours import mirror

PLUGIN = '''
import numpy as np

from difgen_cli.metrics import Result

COLUMNS = {"seen": ("string", "", "what the metric was given")}


def measure(samples, held_out, held_out_classes, held_out_labels, mirrored, left_out):
    """Says what it was given."""
    parts = held_out, held_out_classes, held_out_labels
    said = ["none" if part is None else f"{part.astype(float).sum():.6e}" for part in parts]
    return Result({"seen": " ".join([str(len(held_out)), *said, str(mirrored), str(left_out)])})
'''

GRID = """\
# Do near-duplicates leave the held-out images?
base:
  data:  {name: npz, path: planted.npz, held_out: 30, size: 40}
  condition: {name: labels}
  model: {name: mlp, width: 8, depth: 1}
  train: {batch: 16, steps: 2}
  sample: {name: euler, steps: 2, count: 8}
  score: [seen, memorization]
"""


@pytest.fixture
def planted(tmp_path: Path) -> tuple[Pool, np.ndarray]:
    """A pool of noise, of which three held-out images are near an image of the rest; their places in H."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (100, 8, 8, 1)).astype(np.uint8)
    parts = split(Pool(images), held_out=30)
    near = np.array([2, 11, 29])
    twins = images[parts.rest[[5, 40, 66]]].astype(int)
    twins[1] = mirror(twins)[1]
    images[parts.held_out[near]] = np.clip(twins + rng.integers(-5, 6, twins.shape), 0, 255)
    labels = rng.integers(0, 4, 100)
    np.savez(tmp_path / "planted.npz", images=images, labels=labels)
    return Pool(images, labels, tuple("abcd")), near


def test_held_out_images_with_a_near_duplicate_are_left_out_with_their_labels(
    planted: tuple[Pool, np.ndarray], tmp_path: Path, write_grid: Callable[..., Path],
    difgen: Callable[..., subprocess.CompletedProcess[str]],
) -> None:  # fmt: skip
    (tmp_path / "plugins" / "metrics").mkdir(parents=True)
    (tmp_path / "plugins" / "metrics" / "seen.py").write_text(PLUGIN)
    done = difgen("sweep", write_grid(GRID + "axes: {train.flip: [false, true]}\n"), "--cluster", "inline")
    assert done.returncode == 0, done.stderr
    rows = pd.read_parquet(tmp_path / "runs" / "tables" / "rows.parquet")
    pool, near = planted
    kept = np.delete(split(pool, held_out=30).held_out, near)
    assert pool.labels is not None
    expected = [f"{part.astype(float).sum():.6e}" for part in (scaled(pool.images[kept]), *[pool.labels[kept]] * 2)]
    models = rows[rows.kind == "model"].set_index("train.flip")["seen"]
    for flip in (False, True):
        assert models[flip] == " ".join(["27", *expected, str(flip), "3"])
    assert (rows["near_duplicates_held_out"] == 3).all()
    assert rows[rows.kind == "heldout"]["sample.count"].notna().all()


def test_held_out_images_that_all_have_a_near_duplicate_are_told_and_copies_are_searched_all_the_same(
    tmp_path: Path, write_grid: Callable[..., Path], difgen: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    one = np.random.default_rng(0).integers(5, 250, (1, 8, 8, 1))
    images = one + np.random.default_rng(1).integers(-2, 3, (70, 8, 8, 1))
    images[30] = 255 - one  # so that T is more than a single image
    np.savez(tmp_path / "planted.npz", images=images.astype(np.uint8), labels=np.arange(70) % 4)
    done = difgen("sweep", write_grid(GRID.replace("seen", "frechet, coverage")), "--cluster", "inline")
    assert done.returncode == 1
    why = "of 30 held-out images can be compared with: an image that may be trained on is nearly the same as each"
    assert f"coverage, frechet: only 0 {why}" in " ".join(done.stderr.split())
    assert "stack" not in done.stdout + done.stderr
    assert not list(tmp_path.rglob("*.broken"))
    rows = pd.read_parquet(tmp_path / "runs" / "tables" / "rows.parquet")
    model = rows[rows.kind == "model"].iloc[0]
    assert (model["mem_frac"] >= 0, np.isnan(model["mem_frac_control"]), model["near_duplicates_held_out"]) == (
        True, True, 30
    )  # fmt: skip


def test_keys_know_of_flips_where_there_are_any(
    write_grid: Callable[..., Path], plan_of: Callable[[Path], Plan]
) -> None:
    text = GRID.replace("data:  {name: npz, path: planted.npz, held_out: 30", "data:  {name: digits, held_out: 900")
    text = text.replace("[seen, memorization]", "[memorization]")
    plain, default, flipped = (
        plan_of(write_grid(text.replace("steps: 2}", f"steps: 2{extra}}}", 1)))
        for extra in (", flip: false", "", ", flip: true")
    )
    assert [c.metrics for c in plain.cells] == [c.metrics for c in default.cells]
    for before, after in zip(default.cells, flipped.cells, strict=True):
        assert before.metrics["memorization"] != after.metrics["memorization"]


def test_both_kinds_of_training_have_references_scored_like_them(
    write_grid: Callable[..., Path], plan_of: Callable[[Path], Plan]
) -> None:
    text = GRID.replace("data:  {name: npz, path: planted.npz, held_out: 30", "data:  {name: digits, held_out: 900")
    text = text.replace("[seen, memorization]", "[memorization]") + "axes: {train.flip: [false, true]}\n"
    plan = plan_of(write_grid(text))
    of_kind = {kind: [c for c in plan.cells if c.kind == kind] for kind in ("model", "heldout", "copycat", "ideal")}
    assert all(len({c.run_key for c in cells}) == len(cells) == 2 for cells in of_kind.values())
    assert len({c.metrics["memorization"] for c in plan.cells}) == 8
