"""Roofline and MFU wherever a speed is told: progress, log, snapshot, rows, status, show."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from difgen_cli.cli import progress
from difgen_cli.engine.cost import flops
from difgen_cli.engine.progress import RunningUnit
from difgen_cli.engine.store import Store, tables
from difgen_cli.models import mlp

Run = Callable[..., subprocess.CompletedProcess[str]]
GRID = """\
# How fast is it?
base:
  data:      {name: digits, held_out: 900}
  model:     {name: mlp, width: 64}
  train:     {batch: 32}
  sample:    {name: euler, steps: 3, count: 32}
  score:     [memorization]
axes:
  train.steps: [20, 300]
  data.size:   [8]
"""
PEEKING = '''
from torch import Tensor, nn


def build(shape: tuple[int, ...], classes: int) -> nn.Module:
    """A network that looks at the values of its input."""
    return Peeking()


class Peeking(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, x: Tensor, noise: Tensor, labels: Tensor | None) -> Tensor:
        return self.layer(x) if float(x.mean()) > 0 else -self.layer(x)
'''


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A sweep in a cache of its own, which lies beside the run directory."""
    folder = tmp_path_factory.mktemp("speed")
    (folder / "speed.yaml").write_text(GRID)
    done = subprocess.run(
        [sys.executable, "-m", "difgen_cli", "sweep", "speed.yaml", "--cluster", "local", "--workers", "1"],
        cwd=folder, env={**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return Store(folder / "runs")


def test_a_sweep_tells_how_near_the_limit_it_is(swept: Store, difgen: Run) -> None:
    run = next(f for f in swept.run_folders() if f.path.parent.name == "trajectories")
    lines = [json.loads(line) for file in run.path.glob("progress.*.jsonl") for line in file.read_text().splitlines()]
    assert (lines[0]["step"], lines[-1]["step"]) == (20, 300), "a start-up of seconds has no reading of its own"
    rows = {line["step"]: line for line in tables.fold(swept).to_pylist() if line["kind"] == "model"}
    limits = json.loads(next((swept.root.parent / "cache" / "difgen").glob("machine-*.json")).read_text())["found"]
    work = flops.training(mlp.build((1, 8, 8), 0, width=64), (1, 8, 8), 32)
    assert work is not None
    kept = json.loads(next((swept.root.parent / "cache" / "difgen").glob("work-*.json")).read_text())["found"]
    assert kept == vars(work)
    for line in [*lines, *rows.values()]:
        expected = work.flops * line["images_per_second"] / limits["flops_per_second"]
        assert line["mfu"] == pytest.approx(expected, rel=1e-3)
        assert 0 < line["mfu"] <= line["roofline"] < 1.5
    assert rows[300]["images_per_second"] > rows[300]["images_seen"] / rows[300]["train_seconds"], "start-up left out"
    log = difgen("logs", "train.steps=300", "--runs", swept.root).stdout
    assert f"{lines[-1]['roofline']:.0%} of the roofline, MFU {lines[-1]['mfu']:.0%}" in log
    shown = difgen("show", "train.steps=300", "--runs", swept.root).stdout
    assert f"{rows[300]['roofline']:.0%} of the roofline, MFU {rows[300]['mfu']:.0%}" in shown
    status = json.loads(difgen("status", swept.root, "--json").stdout)["trajectories"][0]
    assert 0 < status["mfu"] <= status["roofline"]


def test_columns_say_what_they_are_and_references_have_none(swept: Store) -> None:
    rows = tables.fold(swept)
    for name in ("roofline", "mfu"):
        about = rows.schema.field(name).metadata
        assert about[b"unit"] == b"share"
        assert b"measured" in about[b"meaning"]
    references = rows.filter(pc.not_equal(rows["kind"], "model"))
    assert references.num_rows > 0
    assert set(references["mfu"].to_pylist()) == {None}


@pytest.mark.parametrize(("width", "words"), [(150, "31,234/s 55%"), (80, "31,234/s")])
def test_the_live_view_tells_the_share_where_there_is_room(width: int, words: str) -> None:
    unit = RunningUnit("mlp", "training", images_per_second=31234.4, roofline=0.553)
    assert progress.speed(unit, width) == words
    assert progress.speed(replace(unit, roofline=None), width) == "31,234/s"


def test_rows_from_before_have_null(swept: Store, tmp_path: Path) -> None:
    """Results that were written and folded when nobody counted."""
    swept = Store(Path(shutil.copytree(swept.root, tmp_path / "runs")))
    rows = tables.fold(swept)
    for path in swept.root.glob("*/*/results/*.json"):
        result = json.loads(path.read_text())
        for name in ("roofline", "mfu"):
            result["provenance"].pop(name, None)
        path.write_text(json.dumps(result))
    for path in (swept.tables / "metrics").glob("*.parquet"):
        table = pq.read_table(path)
        pq.write_table(table.drop_columns(["roofline", "mfu"]), path)
    (swept.tables / "rows.parquet").unlink()
    assert tables.fold(swept).num_rows == rows.num_rows
    for path in swept.tables.rglob("*.parquet"):
        path.unlink()
    anew = tables.fold(swept)
    assert set(anew["roofline"].to_pylist()) == {None}
    assert anew["images_per_second"].to_pylist() == rows["images_per_second"].to_pylist()


def test_a_network_that_cannot_be_counted_is_trained_as_any_other(
    tmp_path: Path, write_grid: Callable[..., Path], difgen: Run
) -> None:
    plugin = tmp_path / "plugins" / "models" / "peeking.py"
    plugin.parent.mkdir(parents=True)
    plugin.write_text(PEEKING)
    text = GRID.replace("{name: mlp, width: 64}", "{name: peeking}").replace("[20, 300]", "[20]")
    done = difgen("sweep", write_grid(text), "--cluster", "inline")
    assert done.returncode == 0, done.stderr
    row = next(line for line in tables.fold(Store(tmp_path / "runs")).to_pylist() if line["kind"] == "model")
    assert row["images_per_second"] > 0
    assert (row["roofline"], row["mfu"]) == (None, None)
    assert "images/s" in difgen("show", "train.steps=20").stdout
