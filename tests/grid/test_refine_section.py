"""The `refine` of a grid: what it says is read, and what it cannot mean is refused with its place while planning."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from difgen_cli.engine.grid import read
from difgen_cli.engine.grid.document import GridError
from difgen_cli.engine.plan import Plan, refinement

Difgen = Callable[..., subprocess.CompletedProcess[str]]
GRID = """\
# Where is it half?
base:
  data:   {name: digits, held_out: 900}
  model:  {name: mlp, width: 8, depth: 1}
  train:  {batch: 16, steps: 20}
  sample: {steps: 2, count: 32}
  score:  [memorization]
axes:
  data.size: {geom: [4, 64, 9]}
  model.width: [8, 16]
refine: {axis: data.size, metric: mem_frac, level: 0.5, first: 3}
seeds: 2
"""
REFINE = "{axis: data.size, metric: mem_frac, level: 0.5, first: 3}"


def _with(refine: str) -> str:
    return GRID.replace(REFINE, refine)


def test_what_it_says_is_read_and_counts_in_the_name_of_the_grids_folder(write_grid: Callable[..., Path]) -> None:
    grid = read(write_grid(_with(REFINE)))
    assert grid.refine is not None
    assert (grid.refine.axis, grid.refine.metric, grid.refine.level, grid.refine.first) == (
        "data.size", "mem_frac", 0.5, 3,
    )  # fmt: skip
    dense = read(write_grid(_with(REFINE).replace(f"refine: {REFINE}\n", ""), "dense.yaml"))
    other = read(write_grid(_with(REFINE.replace("0.5", "0.4")), "other.yaml"))
    assert len({grid.hash, dense.hash, other.hash}) == 3


def test_refine_changes_no_cell_and_no_key(
    write_grid: Callable[..., Path], plan_of: Callable[[Path], Plan]
) -> None:  # fmt: skip
    refined = plan_of(write_grid(_with(REFINE)))
    dense = plan_of(write_grid(_with(REFINE).replace(f"refine: {REFINE}\n", ""), "dense.yaml"))
    assert [(c.run_key, c.samples, c.metrics) for c in refined.cells] == [
        (c.run_key, c.samples, c.metrics) for c in dense.cells
    ]
    assert refinement.of(dense) is None


def test_a_flag_that_sets_the_axis_leaves_nothing_to_refine(write_grid: Callable[..., Path]) -> None:
    assert read(write_grid(_with(REFINE)), {"data.size": "8"}).refine is None
    assert read(write_grid(_with(REFINE)), {"model.width": "8"}).refine is not None


@pytest.mark.parametrize(
    ("refine", "words"),
    [
        ("{axis: data.sise, metric: mem_frac, level: 0.5, first: 3}",
         "11:16: refine.axis: data.sise is no axis of this grid (data.size, model.width); did you mean data.size?"),
        ("{axis: seed, metric: mem_frac, level: 0.5, first: 3}",
         "11:16: refine.axis: all seeds of a value are run together; name an axis such as data.size"),
        ("{axis: model.width, metric: mem_frac, level: 0.5, first: 2}",
         "11:16: refine.axis: model.width has 2 values, and with fewer than 4 none is left out; "
         "remove refine, or give the axis more values"),
        ("{axis: data.size, metric: mem_fraction, level: 0.5, first: 3}",
         "11:35: refine.metric: mem_fraction is a column of none of the metrics of this grid (memorization); "
         "did you mean mem_frac?"),
        ("{axis: data.size, metric: fd_test, level: 0.5, first: 3}",
         "11:35: refine.metric: fd_test is a column of none of the metrics of this grid (memorization)"),
        ("{axis: data.size, metric: mem_unique, level: 0.5, first: 3}",
         "11:35: refine.metric: mem_unique has no interval by which a value could be decided (mem_unique_lo and "
         "mem_unique_hi); use mem_frac, "),
        ("{axis: data.size, metric: 3, level: 0.5, first: 3}",
         "11:35: refine.metric: must be the name of a column, such as mem_frac, not 3"),
        ("{axis: data.size, metric: mem_frac, level: 1.5, first: 3}",
         "11:52: refine.level: mem_frac is a share, so its level must lie between 0 and 1, not at 1.5"),
        ("{axis: data.size, metric: mem_frac, level: half, first: 3}",
         "11:52: refine.level: must be a number, such as 0.5, not 'half'"),
        ("{axis: data.size, metric: mem_frac, level: 0.5, first: 1}",
         "11:64: refine.first: must be a whole number from 2 to 9, the values of the axis, not 1"),
        ("{axis: data.size, metric: mem_frac, level: 0.5, first: 10}",
         "11:64: refine.first: must be a whole number from 2 to 9, the values of the axis, not 10"),
        ("{axis: data.size, metric: mem_frac, level: 0.5}", "11:9: refine.first: not given; write first: 6"),
        ("{axis: data.size, metric: mem_frac, level: 0.5, first: 3, most: 9}",
         "11:67: refine.most: refine has axis, metric, level, first"),
        ("data.size", "11:9: refine must be a map such as {name: value}"),
    ],
)  # fmt: skip
def test_what_cannot_be_refined_is_one_sentence_with_its_place(
    write_grid: Callable[..., Path], plan_of: Callable[[Path], Plan], refine: str, words: str
) -> None:
    with pytest.raises(GridError) as refused:
        plan_of(write_grid(_with(refine)))
    assert f"tiny.yaml:{words}" in refused.value.shown()


def test_the_command_ends_with_2_where_an_axis_of_words_has_no_order(
    write_grid: Callable[..., Path], difgen: Difgen
) -> None:  # fmt: skip
    text = _with(REFINE.replace("data.size", "data.half").replace("first: 3", "first: 2"))
    run = difgen("plan", str(write_grid(text.replace("  model.width: [8, 16]", "  data.half: [A, B]"))))
    assert run.returncode == 2
    assert "refine.axis: data.half has the value 'A', and refine needs numbers, which have an order" in run.stderr
