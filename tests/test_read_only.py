"""To look is to leave all as it is: no command that only looks writes into a run directory, whatever it finds there."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from difgen_cli import sweep
from difgen_cli.cli import app
from difgen_cli.engine.plan.work import Work
from difgen_cli.engine.store import Store, processes
from difgen_cli.engine.store.attempts import Claimant

GRID = """\
# What does a look leave behind?
base:
  data:   {name: digits, held_out: 900, size: 8}
  model:  {name: mlp, width: 8, depth: 1}
  train:  {batch: 16, steps: 4}
  sample: {name: euler, steps: 2, count: 16}
  score:  [memorization]
"""
DEAD = {"started": "0"}  # no process of today began with the machine


@pytest.fixture
def disturbed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A swept run directory in which everything lies that some command would mend, give free or remove."""
    monkeypatch.chdir(tmp_path)
    Path("grid.yaml").write_text(GRID)
    planned = sweep.prepare(Path("grid.yaml"), Path("runs"), {})
    assert sweep.run(planned, sweep.Options(cluster="inline"), Console(quiet=True)) == "done"
    (home,) = (h for h in Store(Path("runs")).run_folders() if h.path.parent.name == "trajectories")
    _a_failed_unit(home.path / "attempts")
    shutil.rmtree("runs/tables")
    next(Path("runs/references").glob("*/results/*.json")).write_text('{"cut')
    held = home.claim("score-0123456789abcdef", Claimant())
    assert held is not None
    dead = processes.process_identity() | DEAD
    held.path.write_text(json.dumps(held.record | {"owner": dead}))
    folder = planned.folder / "submissions" / "2"
    (folder / "workers").mkdir(parents=True)
    said = json.loads((planned.folder / "submissions" / "1" / "submission.json").read_text())
    (folder / "submission.json").write_text(json.dumps(said | {"launcher": "local", "owner": dead}))
    (folder / "launcher.json").write_text(json.dumps({"owner": dead}))
    (folder / "work.json").write_text(Work().dump())
    at = {"home": home.path.name, "unit": held.unit, "attempt": held.number}
    (folder / "workers" / "0.json").write_text(json.dumps({"owner": dead, "state": "running", "at": at}))
    old = home.path / ".left.tmp"
    old.write_text("of a worker that was killed while it wrote")
    os.utime(old, (0, 0))
    return tmp_path


def _a_failed_unit(folder: Path) -> None:
    """The scoring of the only model cell failed, and its result is not there."""
    (scored,) = folder.glob("score-*.1.json")
    scored.write_text(json.dumps(json.loads(scored.read_text()) | {"state": "failed", "cause": "by the test"}))
    for result in (folder.parent / "results").iterdir():
        result.unlink()


def _tree(root: Path) -> Iterator[tuple[str, int, str]]:
    for path in sorted(root.rglob("*")):
        content = b"" if path.is_dir() else path.read_bytes()
        yield str(path.relative_to(root)), path.lstat().st_mode, hashlib.sha256(content).hexdigest()


def test_no_command_that_looks_changes_the_run_directory(disturbed: Path) -> None:
    runner, before = CliRunner(), list(_tree(disturbed / "runs"))
    for said, words in {
        "1 failed": "plan grid.yaml",
        "cells": "plan grid.yaml --json",
        "1 trajector": "sweep grid.yaml --dry-run",
        "1 new": "sweep grid.yaml --retry failed --dry-run",
        "! digits": "status runs",
        '"failed"': "status runs --json",
        "by the test": "logs kind=model",
        "no metric yet": "show kind=model",
        "run directory": "doctor",
        "temporary": "gc runs --dry-run",
        "last checkpoints": "gc runs --all --dry-run",
    }.items():
        done = runner.invoke(app, words.split())
        assert done.exit_code == 0, (words, done.output, done.exception)
        assert said in done.output, (words, done.output)
        assert list(_tree(disturbed / "runs")) == before, words


def test_what_a_look_finds_dead_a_sweep_writes_down(disturbed: Path) -> None:
    runner = CliRunner()
    assert "workers" not in runner.invoke(app, ["status", "runs"]).output, "the second submission is over"
    assert len(list(disturbed.rglob("closed.json"))) == 1
    done = runner.invoke(app, ["sweep", "grid.yaml", "--retry", "failed", "--cluster", "inline"])
    assert done.exit_code == 0, done.output
    assert len(list(disturbed.rglob("closed.json"))) == 3
    assert list(disturbed.rglob("score-0123456789abcdef.1.ending.json"))


def test_what_a_look_remembers_lies_with_the_person(disturbed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(disturbed / "cache"))
    CliRunner().invoke(app, ["status", "runs"])
    assert len(list((disturbed / "cache").rglob("attempts-*.json"))) == 1
