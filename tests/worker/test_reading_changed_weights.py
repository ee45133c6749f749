"""Changed weights in a sweep: every number of a cell is that of the weights which it is said to see."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from difgen_cli.engine.store import sample_files

ROOT = Path(__file__).parent.parent
Write, Difgen = Callable[..., Path], Callable[..., subprocess.CompletedProcess[str]]

GRID = """\
# Are changed weights seen by all that reads them?
base:
  data:   {name: digits, held_out: 900, size: 32}
  model:  {name: mlp, width: 8, depth: 1}
  train:  {batch: 16, steps: 20}
  sample: {name: euler, steps: 4, count: 32}
  score:  [memorization, gap, membership, path]
"""
EARLIER = """\
\"\"\"The weights of another step in the place of these.\"\"\"
def apply(weights, others, train, shape, *, steps: tuple[int, ...] = (10,)):
    assert tuple(train.shape[1:]) == shape == (1, 8, 8)
    return others[steps[0]]
"""
ODD = """\
def apply(weights, *, how: str = "shape"):
    name = next(iter(weights))
    value = weights.pop(name)
    return {**weights, **({name: value / 0} if how == "finite" else {name: value[:1]} if how == "shape" else {})}
"""
MEASURED = ("mem_", "gap_", "mia_", "path_", "train_loss", "heldout_loss")


def plugin(folder: Path, name: str, text: str) -> None:
    file = folder / "plugins" / "post_training" / f"{name}.py"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def models(folder: Path) -> pd.DataFrame:
    rows = pd.read_parquet(folder / "runs" / "tables" / "rows.parquet")
    return rows[rows["kind"] == "model"]


def test_weights_of_another_step_give_the_samples_and_every_number_of_that_step(
    write_grid: Write, difgen: Difgen, tmp_path: Path
) -> None:
    plugin(tmp_path, "earlier", EARLIER)
    path = write_grid(GRID + "axes: {post_training.name: [none, earlier]}\ninclude:\n  - {train.steps: 10}\n")
    run = difgen("sweep", path, "--cluster", "inline")
    assert run.returncode == 0, run.stderr
    rows = models(tmp_path)
    assert rows["home"].nunique() == 1
    plain, earlier, ten = (rows.iloc[k] for k in range(3))
    assert [row["post_training.name"] for row in (plain, earlier, ten)] == ["none", "earlier", "none"]
    measured = [name for name in rows.columns if name.startswith(MEASURED) and not name.endswith("_seconds")]
    numbers = [name for name in measured if rows[name].dtype == float and pd.notna(ten[name])]
    assert {"mem_frac", "gap_max", "path_pref_100"} <= set(numbers)
    assert all(earlier[name] == ten[name] for name in numbers)
    assert any(plain[name] != ten[name] for name in numbers)
    (folder,) = tmp_path.glob("runs/trajectories/*")
    samples = [sample_files.read(folder / "samples" / f"{row['cell']}.parquet")[0] for row in (plain, earlier, ten)]
    assert (samples[1] == samples[2]).all()
    assert (samples[0] != samples[2]).any()
    assert "nothing to do" in difgen("sweep", path, "--cluster", "inline").stderr


def test_each_change_runs_after_one_training_and_noise_of_ones_own_too(
    write_grid: Write, difgen: Difgen, tmp_path: Path
) -> None:
    shutil.copytree(ROOT / "plugins" / "post_training", tmp_path / "plugins" / "post_training")
    text = GRID + (
        "axes: {post_training.name: [none, quantise, prune, rank_one_noise]}\n"
        "include:\n  - {post_training.name: quantise, post_training.bits: 2, post_training.per: tensor}\n"
        "  - {post_training.name: rank_one_noise, post_training.scale: 0}\n"
    )
    run = difgen("sweep", write_grid(text), "--cluster", "inline")
    assert run.returncode == 0, run.stderr
    rows = models(tmp_path)
    assert (len(rows), rows["home"].nunique()) == (6, 1)
    assert len(list(tmp_path.glob("runs/trajectories/*/snapshots/*"))) == 1
    gaps = rows["gap_max"].tolist()
    assert gaps[-1] == gaps[0]  # noise of no length
    assert len(set(gaps)) == 5
    eight, two = (abs(gaps[k] - gaps[0]) for k in (1, 4))
    assert 0 < eight < two
    shown = difgen("show", "post_training.name=quantise", "post_training.bits=2").stdout
    assert "post_training.bits 2 (default 8) post_training.per tensor (default channel)" in " ".join(shown.split())


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("shape", "has the shape (1,"),
        ("finite", "holds values that are not finite"),
        ("missing", "gives other tensors than the network has"),
    ],
)
def test_what_are_no_weights_of_the_network_fails_with_a_sentence(
    write_grid: Write, difgen: Difgen, tmp_path: Path, how: str, words: str
) -> None:
    plugin(tmp_path, "odd", ODD)
    text = GRID.replace(", membership, path", "") + f"  post_training: {{name: odd, how: {how}}}\n"
    run = difgen("sweep", write_grid(text), "--cluster", "inline")
    assert run.returncode == 1
    assert "post_training odd: " in run.stdout + run.stderr
    assert words in run.stdout + run.stderr


def test_of_a_fork_the_weights_before_it_are_those_of_its_trunk(
    write_grid: Write, difgen: Difgen, tmp_path: Path
) -> None:
    plugin(tmp_path, "earlier", EARLIER)
    text = GRID.replace("gap, membership, path", "gap").replace("\nbase:", "\nseeds: 1\nbase:")
    forks = "fork: {at: 15, change: [{}, {train.lr: 0.01}]}\naxes: {post_training.name: [none, earlier]}\n"
    run = difgen("sweep", write_grid(text + forks), "--cluster", "inline")
    assert run.returncode == 0, run.stderr
    rows = models(tmp_path)
    gaps = rows.groupby("post_training.name")["gap_max"].nunique()
    assert rows["home"].nunique() == 2
    assert gaps.to_dict() == {"none": 2, "earlier": 1}
