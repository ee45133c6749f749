"""A student of an exact teacher goes where its teacher goes in twice as many steps, and so does its own student."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from gaussian import DIMENSIONS, Exact, data

from difgen_cli.diffusion import DenoiserLike
from difgen_cli.diffusion.objective import Objective
from difgen_cli.diffusion.randomness import initialise
from difgen_cli.diffusion.training import train
from difgen_cli.engine.store import sample_files
from difgen_cli.models import mlp
from difgen_cli.objectives import distill
from difgen_cli.sampling import draw, euler

SIGMA_DATA = 0.4
LEVELS = {"steps": 16, "rho": 7.0, "sigma_min": 0.004, "sigma_max": 160.0}


def student_of(teacher: DenoiserLike, every: int) -> DenoiserLike:
    settings = LEVELS | {"every": every}
    objective = Objective(
        partial(distill.loss, **settings),
        draw=partial(distill.draw, **settings),
        inputs={"teacher": teacher, "sigma_data": SIGMA_DATA},
        asks=("teacher",),
        draw_asks=("sigma_data",),
    )
    points = data(4096, SIGMA_DATA, torch.Generator().manual_seed(0))
    network = initialise(lambda: mlp.build((DIMENSIONS,), 0, width=64, depth=2), 0)
    *_, state = train(
        network, points, None, SIGMA_DATA, objective=objective, steps=800, batch=256, lr=4e-3, schedule="cosine",
        ema=0.99,
    )  # fmt: skip
    return state.ema


def ends(denoiser: DenoiserLike, every: int) -> np.ndarray:
    return draw(denoiser, euler.sample, (DIMENSIONS,), None, count=512, every=every, **LEVELS).x  # type: ignore[arg-type]


def rms(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.sqrt(np.square(one - other).mean()))


def test_a_student_of_an_exact_teacher_ends_where_twice_as_many_steps_end() -> None:
    """Nearer than the teacher itself in as few steps: 25 times with 8 in the place of 16, and 40 times with 4."""
    exact = Exact(SIGMA_DATA)
    goal = ends(exact, 1)
    student = student_of(exact, 2)
    error = rms(ends(student, 2), goal)
    assert error < rms(ends(exact, 2), goal) / 25
    assert rms(ends(student, 1), goal) > 10 * error, "a student is for its own levels alone"
    assert rms(ends(student_of(student, 4), 4), goal) < rms(ends(exact, 4), goal) / 40


GRID = """\
# Does a student learn from a teacher that was never trained?
base:
  data:   {name: gaussians, components: 1, dimension: 3, anisotropy: 4, held_out: 100, size: 2000}
  model:  {name: population}
  sample: {name: euler, steps: 16, count: 64}
  score:  [memorization]
axes:
  sample.every: [1, 2]
include:
  - model.name: mlp
    model.width: 64
    model.depth: 2
    objective.name: distill
    objective.teacher.model.name: population
    train.steps: 600
    train.lr: 4.0e-3
    train.schedule: cosine
    train.ema: 0.98
    sample.every: 2
"""


def test_a_teacher_in_closed_form_teaches_in_a_sweep(
    write_grid: Callable[..., Path], difgen: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """Nothing is trained but the student, which ends 8 times nearer to its 16 steps than its own 8 steps do."""
    run = difgen("sweep", str(write_grid(GRID)), "--cluster", "inline")
    assert run.returncode == 0, run.stderr
    rows = pd.read_parquet(tmp_path / "runs" / "tables" / "rows.parquet")
    models = rows[rows["kind"] == "model"].set_index(["model.name", "sample.every"])
    goal, half, student = (
        sample_files.read(next(tmp_path.glob(f"runs/trajectories/*/samples/{models.loc[cell, 'cell']}.parquet")))[0]
        for cell in (("population", 1), ("population", 2), ("mlp", 2))
    )
    assert rms(student, goal) < rms(half, goal) / 8
    assert len(list(tmp_path.glob("runs/trajectories/*/snapshots/*"))) == 1
