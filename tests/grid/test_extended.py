"""The text of a grid with more levels: what changes, and what stays as its author wrote it."""

from __future__ import annotations

from pathlib import Path

import pytest

from difgen_cli.engine import grid as grids
from difgen_cli.engine.grid.document import GridError
from difgen_cli.engine.grid.extended import Changes, extended

FLOW = """# Where does it stop?
base:
  data: {name: digits, held_out: 900}   # never trained on
  sample: {steps: 8, count: 64}
axes:
  train.steps: {geom: [100, 400, 3]}    # snapshots
  data.size: [16, 64]
seeds: 2  # replicates
skip: [{data.size: 16, train.steps: "> 200"}]
"""
BLOCK = """# Where does it stop?
base:
  data:
    name: digits
    held_out: 900
axes:
  data.size:
    - 16
    - 64  # the last
  # between two axes
  train.steps:
    - 100
    - 400
skip:
  - data.size: 16
    train.steps: "> 200"
"""


def values(text: str, folder: Path) -> grids.Grid:
    file = folder / "grid.yaml"
    file.write_text(text, encoding="utf-8")
    return grids.read(file)


@pytest.mark.parametrize("text", [FLOW, BLOCK])
def test_axes_seeds_settings_and_skipped_cells_are_changed_and_comments_stay(text: str, tmp_path: Path) -> None:
    skip = [{"data.size": '"> 64"', "train.steps": '"> 400"'}]
    axes = {"data.size": [16, 32, 64], "train.steps": [100, 200, 400, 800]}
    after = extended(text, Changes(axes, [0, 1, 2], {"sample.count": 128}, skip))
    read, before = values(after, tmp_path), values(text, tmp_path)
    assert read.values == {path: axes[path] for path in before.values}
    assert read.seeds == (0, 1, 2)
    assert {path: given.value for path, given in read.base.items()} == {
        **{path: given.value for path, given in before.base.items()}, "sample.count": 128,
    }  # fmt: skip
    assert len(read.skip) == 2
    assert read.question == before.question
    for comment in ("# never trained on", "# snapshots", "# replicates", "# between two axes"):
        assert (comment in after) == (comment in text)
    assert len(list(read.points())) == 12 - 2  # of 16 images nothing after step 200; no size is above 64


def test_a_list_of_seeds_that_is_no_count_is_written_out(tmp_path: Path) -> None:
    assert values(extended(FLOW, Changes({}, [0, 2, 5])), tmp_path).seeds == (0, 2, 5)
    assert values(extended(BLOCK, Changes({}, [0, 1])), tmp_path).seeds == (0, 1)
    assert extended(FLOW, Changes({})) == FLOW


def test_what_is_no_axis_cannot_have_more_levels() -> None:
    with pytest.raises(GridError, match=r"model\.width: no axis of this grid"):
        extended(FLOW, Changes({"model.width": [64, 128]}))
    grid = "base: {data: {name: digits}}\n"
    assert extended(grid, Changes({}, [0, 1, 2])) == f"{grid}seeds: 3\n"
