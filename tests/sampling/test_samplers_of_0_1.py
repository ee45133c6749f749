"""A sampler that was written for difgen 0.1 in a user's `plugins/` folder: called as before, with the same samples."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from difgen_cli.engine.grid.document import GridError
from difgen_cli.engine.plan import Plan

OLD = """
from itertools import pairwise
from typing import Annotated
import torch
from annotated_types import Gt
from difgen_cli.sampling import noise_levels, slope


@torch.no_grad()
def sample(model, noise, y, *, steps: Annotated[int, Gt(0)] = 48):
    levels = noise_levels(steps, 7.0, 0.004, 160.0, model.sigma_data)
    x = noise * levels[0]
    yield levels[0], x
    for sigma, next_sigma in pairwise(levels):
        x = x + (next_sigma - sigma) * slope(model, x, sigma, y)
        yield next_sigma, x
"""
GRID = """\
# Is a sampler of 0.1 called as before?
base:
  data:      {name: digits, size: 16, held_out: 900}
  condition: {name: labels}
  model:     {name: mlp, width: 8, depth: 1}
  train:     {batch: 16, steps: 4}
  sample:    {name: old, steps: 3, count: 32}
  score:     {memorization: {}}
axes:
  sample.name: [old, euler]
"""


@pytest.fixture
def plugin(tmp_path: Path) -> None:
    file = tmp_path / "plugins" / "sampling" / "old.py"
    file.parent.mkdir(parents=True)
    file.write_text(OLD)


@pytest.mark.usefixtures("plugin")
def test_it_draws_what_the_sampler_of_today_draws(
    write_grid: Callable[..., Path], difgen: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    write_grid(GRID)
    run = difgen("sweep", "tiny.yaml", "--cluster", "inline")
    assert run.returncode == 0, run.stderr
    files = sorted(tmp_path.glob("runs/trajectories/*/samples/*.parquet"))
    assert len(files) == 2
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.usefixtures("plugin")
def test_its_key_holds_its_own_settings_and_those_of_levels_are_none_of_its(
    write_grid: Callable[..., Path], plan_of: Callable[[Path], Plan]
) -> None:
    cell = next(c for c in plan_of(write_grid(GRID)).cells if c.kind == "model")
    assert (cell.sampler.name, cell.sampler.changed) == ("old", {"steps": 3})
    assert set(cell.sampler.own) == {"count", "seed", "stop", "prior"}
    with pytest.raises(GridError, match=r"sample.start: unknown setting"):
        plan_of(write_grid(GRID.replace("steps: 3", "start: train").replace("[old, euler]", "[old]")))
