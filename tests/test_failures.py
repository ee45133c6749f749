"""Failures have names, stay failed until they are asked for, and are then tried alone."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]

GRID = """\
# What happens to a unit that fails?
base:
  data:  {name: digits, held_out: 900}
  model: {name: fragile}
  train: {batch: 16, steps: 20}
  sample: {name: euler, steps: 3, count: 32}
  score: [memorization]
axes:
  model.width: [8, 9, 10]
"""
FRAGILE = '''\
"""An MLP that cannot be built at some widths, as long as a file says so."""

from pathlib import Path

import torch

from difgen_cli.models import mlp

VERSION = 1
TROUBLE = Path("%s")


def build(shape, classes, *, width: int = 8):
    """width: of the layers."""
    trouble = TROUBLE.read_text().split() if TROUBLE.exists() else []
    if f"error{width}" in trouble:
        raise RuntimeError(f"no network of width {width}")
    if f"memory{width}" in trouble:
        torch.empty(1 << 60)
    return mlp.build(shape, classes, width=width, depth=1)
'''


@pytest.fixture
def trouble(tmp_path: Path) -> Path:
    """A grid whose network fails where this file says so."""
    folder = tmp_path / "plugins" / "models"
    folder.mkdir(parents=True)
    (folder / "fragile.py").write_text(FRAGILE % (tmp_path / "trouble"))
    (tmp_path / "grid.yaml").write_text(GRID)
    return tmp_path / "trouble"


def _attempts(folder: Path, unit: str = "train") -> dict[str, list[dict[str, Any]]]:
    """Attempts at a unit, by width of the network."""
    found: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(folder.glob(f"runs/trajectories/*/attempts/{unit}.*.json")):
        width = path.parts[-3].partition("width")[2].partition("-")[0]
        found.setdefault(width or "8", []).append(json.loads(path.read_text()))
    return found


def test_failures_say_what_they_are_and_what_to_do(tmp_path: Path, trouble: Path, difgen: Run) -> None:
    trouble.write_text("error8 memory9")
    done = difgen("sweep", "grid.yaml", "--cluster", "local", "--workers", "1")
    assert done.returncode == 1, done.stderr
    attempts = _attempts(tmp_path)
    assert [a["ending"] for a in attempts["8"]] == ["error"], "an error of the code is not tried again by itself"
    assert "no network of width 8" in attempts["8"][0]["cause"]
    assert any("fragile.py" in line for line in attempts["8"][0]["words"])
    assert attempts["8"][0]["owner"]["host"]
    assert [a["ending"] for a in attempts["9"]] == ["out_of_memory"]
    assert "lower train.batch" in attempts["9"][0]["cause"]
    status = difgen("status", "runs")
    assert "2 failed" in status.stdout
    assert "lower train.batch" in status.stdout
    again = difgen("sweep", "grid.yaml", "--cluster", "local")
    assert again.returncode == 1
    assert "--retry failed" in again.stderr
    assert {w: len(a) for w, a in _attempts(tmp_path).items()} == {"8": 1, "9": 1, "10": 1}


def test_retrying_what_failed_tries_that_alone(tmp_path: Path, trouble: Path, difgen: Run) -> None:
    trouble.write_text("error8")
    assert difgen("sweep", "grid.yaml", "--cluster", "inline", "--only", "model.width=8,9").returncode == 1
    trouble.unlink()
    done = difgen("sweep", "grid.yaml", "--cluster", "inline", "--retry", "failed")
    assert done.returncode == 0, done.stderr
    assert {w: [a["state"] for a in tries] for w, tries in _attempts(tmp_path).items()} == {
        "8": ["failed", "released", "done"],
        "9": ["done"],
    }, "width 10 has not been run"


def test_nothing_of_the_run_directory_is_writable_for_all(tmp_path: Path, trouble: Path, difgen: Run) -> None:
    before = os.umask(0o022)
    try:
        assert difgen("sweep", "grid.yaml", "--cluster", "local", "--workers", "1").returncode == 0
    finally:
        os.umask(before)
    everything = [tmp_path / "runs", *(tmp_path / "runs").rglob("*")]
    open_to_all = [p for p in everything if p.stat().st_mode & (stat.S_IWOTH | stat.S_IWGRP)]
    assert not open_to_all
