"""A plan of an older difgen knows its results as its own: settings that came later are left out at their default."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from difgen_cli.engine.plan import Plan

GRID = """# Is a cell the same as it was?
base:
  data:  {name: digits, held_out: 900, size: 8}
  model: {name: mlp, width: 8}
  score: [deviation]
"""
BEFORE = "08faa5f0488f1e2c"  # as it was before canaries and patches were settings


def test_settings_that_came_later_leave_a_cell_what_it_was(
    write_grid: Callable[..., Path], plan_of: Callable[[Path], Plan]
) -> None:
    (cell,) = plan_of(write_grid(GRID)).models
    assert cell.identity() == BEFORE
    (other,) = plan_of(write_grid(GRID.replace("[deviation]", "{deviation: {patch: 3}}"), "other.yaml")).models
    assert other.identity() != BEFORE
