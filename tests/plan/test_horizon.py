"""An objective whose settings depend on where the run ends: a shorter run is another one, and it is told the end."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from difgen_cli.engine.grid.document import GridError
from difgen_cli.engine.plan import Plan

Write, PlanOf = Callable[..., Path], Callable[[Path], Plan]
Difgen = Callable[..., subprocess.CompletedProcess[str]]

OBJECTIVE = '''\
"""A weight that falls to nothing at the end of the run."""

HORIZON = {"falling": (True,)}


def loss(denoiser, batch, *, falling: bool = True):
    error = (denoiser(batch.noised, batch.sigma, batch.labels) - batch.images).square().flatten(1).mean(1)
    return (batch.drawn["weight"] * batch.weight * error).mean()


def draw(batch, draws, *, falling: bool):
    left = 1 - draws.step / draws.steps if falling else 1.0 if draws.steps is None else float("nan")
    return {"weight": batch.sigma.new_tensor(left)}
'''
GRID = """\
# Does it end where the run ends?
base:
  data:   {name: digits, held_out: 900, size: 32}
  model:  {name: mlp, width: 8, depth: 1}
  train:  {batch: 16, steps: STEPS, warmup: 0, ema: 0, optimizer: sgd, momentum: 0, lr: 0.1}
  objective: {name: falling, falling: WHETHER}
  sample: {steps: 4, count: 32}
  score:  [memorization]
"""


def grid(steps: int | str, falling: bool) -> str:
    return GRID.replace("STEPS", str(steps)).replace("WHETHER", str(falling).lower())


@pytest.fixture
def objective(tmp_path: Path) -> None:
    file = tmp_path / "plugins" / "objectives" / "falling.py"
    file.parent.mkdir(parents=True)
    file.write_text(OBJECTIVE, encoding="utf-8")


@pytest.mark.usefixtures("objective")
def test_where_the_run_ends_is_in_the_key_where_a_setting_depends_on_it(write_grid: Write, plan_of: PlanOf) -> None:
    def home(steps: int, falling: bool) -> str:
        (cell,) = plan_of(write_grid(grid(steps, falling))).models
        return cell.run_key

    assert home(10, True) != home(20, True)
    assert home(10, False) == home(20, False)
    assert home(10, False) not in (home(10, True), home(20, True))


@pytest.mark.usefixtures("objective")
def test_several_ends_in_one_grid_are_refused(write_grid: Write, plan_of: PlanOf) -> None:
    axis = "axes:\n  train.steps: [10, 20]\n"
    with pytest.raises(GridError, match=r"objective.falling: True ends at train.steps, .* use another value, or"):
        plan_of(write_grid(grid(10, True) + axis))
    assert len(plan_of(write_grid(grid(10, False) + axis)).trajectories) == 1


@pytest.mark.usefixtures("objective")
def test_the_run_is_told_its_end_and_only_where_it_asks(write_grid: Write, difgen: Difgen, tmp_path: Path) -> None:
    """The second of two steps weighs the loss by 1/2: by plain gradient descent the weights move half as far."""

    def run(text: str) -> Path:
        done = difgen("sweep", str(write_grid(text)), "--cluster", "inline")
        assert done.returncode == 0, done.stderr  # NaN, were it told where it does not ask
        (cell,) = {path.parents[1] for path in tmp_path.glob("runs/trajectories/*/snapshots/*")} - folders
        folders.add(cell)
        return cell / "snapshots"

    folders: set[Path] = set()
    plain = run(grid(2, False) + "axes:\n  train.steps: [1, 2]\n")
    falling = run(grid(2, True))
    (first, second), (half,) = (sorted(map(str, folder.iterdir())) for folder in (plain, falling))
    begun, whole, reached = (load_file(path) for path in (first, second, half))
    assert max(abs(whole[name] - begun[name]).max() for name in begun) > 1e-3
    for name in begun:
        np.testing.assert_allclose(reached[name], (begun[name] + whole[name]) / 2, atol=1e-6)
