"""Inside a person's own SLURM job difgen calls nothing of SLURM: their other jobs and their array are not its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from difgen_cli.data import digits

FOREIGN = {"SLURM_JOB_ID": "4711", "SLURM_ARRAY_JOB_ID": "4700", "SLURM_ARRAY_TASK_ID": "3", "SLURM_RESTART_COUNT": "0"}


@pytest.fixture
def recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """A foreign job's environment, with commands of SLURM that write down how they are called; gives the calls."""
    programs, calls = tmp_path / "bin", tmp_path / "calls"
    programs.mkdir()
    for name in ("scancel", "scontrol", "sbatch", "squeue", "sacct"):
        (programs / name).write_text(f'#!/bin/sh\necho {name} "$@" >> {calls}\n')
        (programs / name).chmod(0o755)
    for name, value in (FOREIGN | {"PATH": f"{programs}:{os.environ['PATH']}"}).items():
        monkeypatch.setenv(name, value)
    return lambda: calls.read_text().splitlines() if calls.exists() else []


@pytest.mark.long
@pytest.mark.parametrize("cluster", ["local", "inline"])
def test_a_sweep_that_ends_cancels_nothing(
    cluster: str, write_grid: Callable[..., Path], difgen: Callable[..., subprocess.CompletedProcess[str]],
    recording: Callable[[], list[str]],
) -> None:  # fmt: skip
    done = difgen("sweep", write_grid(), "--cluster", cluster, "--workers", 1)
    assert done.returncode == 0, done.stderr
    assert [call for call in recording() if not call.startswith(("scontrol ping", "squeue", "sacct"))] == []


def test_a_score_that_ends_cancels_nothing(
    tmp_path: Path, difgen: Callable[..., subprocess.CompletedProcess[str]], recording: Callable[[], list[str]]
) -> None:
    images = digits.load().images
    for name, some in {"made": images[:20], "train": images[20:60], "test": images[60:100]}.items():
        np.savez(tmp_path / f"{name}.npz", images=some)
    words = ("score", "made.npz", "--against", "train.npz", "--held-out", "test.npz", "--metrics", "memorization")
    done = difgen(*words)
    assert done.returncode == 0, done.stderr
    assert recording() == []


LONG = """\
# Is a training that is interrupted inside a foreign job left alone, and does it leave that job alone?
base:
  data:   {name: digits, held_out: 900, size: 64}
  model:  {name: mlp, width: 16}
  train:  {batch: 16, steps: 2000000}
  sample: {count: 16}
  score:  [memorization]
"""


@pytest.mark.long
def test_a_stopped_sweep_ends_soon_and_requeues_nothing(
    tmp_path: Path, write_grid: Callable[..., Path], recording: Callable[[], list[str]]
) -> None:
    grid = write_grid(LONG, "long.yaml")
    command = [sys.executable, "-m", "difgen_cli", "sweep", str(grid), "--cluster", "local", "--workers", "1"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 120
    while not list(tmp_path.glob("runs/trajectories/*/progress.*")) and time.monotonic() < until:
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert [call for call in recording() if call.startswith(("scancel", "scontrol requeue"))] == []
