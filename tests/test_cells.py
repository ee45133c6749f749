"""Which cell a person means: by index, beginning of a key or settings; and what is said where that is not clear."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from difgen_cli.engine import select
from difgen_cli.engine.grid.document import GridError
from difgen_cli.sweep import prepare, record

Write = Callable[..., Path]
Run = Callable[..., subprocess.CompletedProcess[str]]

WIDE = """\
# Does a grid with words, numbers and lists on its axes tell its cells apart?
base:
  data:  {name: digits, held_out: 900, size: 8}
  model: {name: mlp, width: 8}
  train: {batch: 16}
  score: [memorization]
axes:
  train.steps:        [10, 20]
  condition.name:     [none, kmeans]
  model.width:        [8, 16]
seeds: 2
"""


@pytest.fixture
def recorded(tmp_path: Path, write_grid: Write) -> select.Store:
    """A run directory with the plans of two grids, and nothing run; `wide` is the newer one."""
    for age, path in enumerate((write_grid(WIDE, "wide.yaml"), write_grid(name="tiny.yaml"))):
        planned = prepare(path, tmp_path / "runs", {})
        record(planned)
        plan = planned.folder / "plan.parquet"
        moment = plan.stat().st_mtime - 100 * age
        os.utime(plan, (moment, moment))
    return select.Store(tmp_path / "runs")


def test_an_index_is_the_line_of_the_plan(recorded: select.Store) -> None:
    every = select.find(recorded, ["seed=0,1"])
    assert len(every) == 16
    for cell in every:
        assert select.one(recorded, [str(cell.index)]) == cell


def test_the_beginning_of_a_key_names_a_cell_or_all_of_a_trajectory(recorded: select.Store) -> None:
    cell = select.one(recorded, ["0"])
    assert select.one(recorded, [cell.key[:8]]) == cell
    of_trajectory = select.find(recorded, [cell.trajectory[:8]])
    assert {c.step for c in of_trajectory} == {10, 20}
    assert {c.trajectory for c in of_trajectory} == {cell.trajectory}
    folder = f"runs/trajectories/{cell.slug}-{cell.trajectory}/"
    assert select.find(recorded, [folder]) == of_trajectory
    assert select.one(recorded, [cell.trajectory[:8], f"train.steps={cell.step}"]) == cell


def test_filters_are_those_of_only_and_all_must_hold(recorded: select.Store) -> None:
    found = select.find(recorded, ["model.width=<10", "condition.name=kmeans", "train.steps=20", "seed=1"])
    assert [(c.settings["model.width"], c.settings["condition.name"], c.step, c.seed) for c in found] == [
        (8, "kmeans", 20, 1)
    ]
    assert len(select.find(recorded, ["model.width=8,16", "step=10"])) == 8


def test_a_number_may_be_given_as_it_is_shown(tmp_path: Path, write_grid: Write) -> None:
    spread = WIDE.replace("model.width:        [8, 16]", "train.lr: {geom: [1e-4, 1e-2, 4]}")
    record(prepare(write_grid(spread), tmp_path / "runs", {}))
    store = select.Store(tmp_path / "runs")
    with pytest.raises(GridError, match=r"train.lr is 0.0001, 0.000464159, 0.00215443, 0.01$"):
        select.one(store, ["train.lr=7"])
    assert {c.settings["train.lr"] for c in select.find(store, ["train.lr=0.000464159"])} == {1e-4 * 100 ** (1 / 3)}


def test_references_are_meant_only_where_their_kind_is_said(recorded: select.Store) -> None:
    assert {c.kind for c in select.find(recorded, ["data.size=8"])} == {"model"}
    assert {c.kind for c in select.find(recorded, ["kind=heldout"])} == {"heldout"}


def test_the_newest_grid_is_meant_unless_another_is_named(recorded: select.Store) -> None:
    assert select.one(recorded, ["0"]).grid.startswith("wide-")
    tiny = select.one(recorded, ["0"], "tiny")
    assert tiny.grid.startswith("tiny-")
    assert select.one(recorded, ["0"], tiny.grid) == tiny
    with pytest.raises(GridError, match=r"--grid moon: no such grid .*\(tiny, wide\)"):
        select.one(recorded, ["0"], "moon")


def test_several_cells_are_told_apart_by_the_fewest_settings(recorded: select.Store) -> None:
    with pytest.raises(GridError) as caught:
        select.one(recorded, ["model.width=8", "seed=0"])
    assert "4 cells of grid wide match" in str(caught.value)
    assert str(caught.value).endswith("add train.steps=10|20 condition.name=none|kmeans")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["999"], "an index below"),
        (["moon"], "KEY=VALUE filters such as data.size=64"),
        (["beef"], "no such cell in grid wide"),
        (["model.widht=8"], "did you mean model.width"),
        (["model.width=7"], "model.width is 8, 16"),
        (["model.width="], "write KEY=VALUE"),
        (["=8"], "no cell of grid wide has the setting"),
        (["0", "train.steps=>99"], "no cell matches"),
    ],
)
def test_a_word_that_names_no_cell_is_one_sentence(recorded: select.Store, words: list[str], sentence: str) -> None:
    with pytest.raises(GridError) as caught:
        select.one(recorded, words)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_command_line_says_it_with_exit_code_2(recorded: select.Store, difgen: Run) -> None:
    done = difgen("logs", "model.width=7")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.strip() == "model.width=7: no cell matches; model.width is 8, 16"
