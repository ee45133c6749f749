"""What a grid means counts, and not how it is written: in skip, in --only, on an axis, in a key."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from difgen_cli.engine.grid.document import GridError
from difgen_cli.engine.plan import Plan
from difgen_cli.engine.plan.filters import filter_by

HEAD = """\
# Does the way of writing matter?
base:
  data:   {name: digits, held_out: 300}
  model:  {name: mlp, width: 8, depth: 1}
  train:  {batch: 16, steps: 10}
  sample: {name: euler, steps: 2, count: 16}
  score:  [memorization]
"""
Make = Callable[[str], Plan]


@pytest.fixture
def made(write_grid: Callable[..., Path], plan_of: Callable[[Path], Plan]) -> Make:
    return lambda rest: plan_of(write_grid(HEAD + rest))


def _sizes(plan: Plan) -> list[int]:
    return [cell.settings()["data.size"] for cell in plan.models]


@pytest.mark.parametrize(
    ("axis", "skipped", "left"),
    [
        ("[1k, 16]", "1000", [16]),
        ("[1000, 16]", "1k", [16]),
        ("[1k, 16]", "[1_000]", [16]),
        ("[1k, 16]", "'>= 1k'", [16]),
        ("{geom: [16, 768, 4]}", "58", [16, 211, 768]),
        ("{geom: [16, 768, 4]}", "'< 59'", [211, 768]),
        ("{lin: [16, 17, 3]}", "16", [17]),
    ],
)
def test_skip_compares_what_values_mean(made: Make, axis: str, skipped: str, left: list[int]) -> None:
    plan = made(f"axes: {{data.size: {axis}}}\nskip: [{{data.size: {skipped}}}]")
    assert _sizes(plan) == left
    assert not [note for note in plan.warnings if "skip" in note]


def test_a_skip_that_drops_nothing_is_said_with_its_line(made: Make) -> None:
    plan = made("axes: {data.size: [8, 16]}\nskip:\n- {data.size: 58}\n- {data.size: 8, model.width: 64}")
    assert _sizes(plan) == [8, 16]
    assert [note for note in plan.warnings if "skip" in note] == [
        "skip in line 10 drops no cell",
        "skip in line 11 drops no cell",
    ]


def test_a_skip_of_base_settings_alone_drops_nothing_where_they_differ(made: Make) -> None:
    assert len(made("skip: [{model.width: 64}]").models) == 1


def test_seeds_are_not_skipped(made: Make) -> None:
    with pytest.raises(GridError, match="seeds are not skipped"):
        made("seeds: 3\nskip: [{seed: 1}]")


@pytest.mark.parametrize(
    ("only", "left"), [("data.size=1k", [1000]), ("data.size=58", [58]), ("data.size=1000,16", [16, 1000])]
)
def test_only_compares_what_values_mean(made: Make, only: str, left: list[int]) -> None:
    plan = made("axes: {data.size: {geom: [16, 768, 4]}}\ninclude: [{data.size: 1k}]")
    passes = filter_by(plan, [only])
    assert [cell.settings()["data.size"] for cell in plan.models if passes(cell)] == left


def test_only_that_matches_nothing_names_the_values_that_exist(made: Make) -> None:
    plan = made("axes: {data.size: [8, 1k]}")
    with pytest.raises(GridError, match=r"--only data\.size=17: no cell of this grid matches; data\.size is 8, 1000$"):
        filter_by(plan, ["data.size=17"])
    with pytest.raises(GridError, match="no cell of this grid has this setting"):
        filter_by(plan, ["data.sise=8"])


@pytest.mark.parametrize("axis", ["[1k, 1000]", "[1.0, 1]"])
def test_one_value_in_two_ways_of_writing_stands_twice(made: Make, axis: str) -> None:
    with pytest.raises(GridError, match="stands twice"):
        made(f"axes: {{data.size: {axis}}}")


def test_spaced_values_that_are_rounded_to_the_same_are_said(made: Make) -> None:
    plan = made("axes: {data.size: {geom: [1, 8, 20]}}")
    assert "data.size: 20 values that are 8 different ones once they are rounded" in plan.warnings


def test_spaced_values_are_those_that_a_person_would_write(made: Make) -> None:
    spaced = made("axes: {train.lr: {lin: [0.1, 0.4, 4]}}\nseeds: 1")
    written = made("axes: {train.lr: [0.1, 0.2, 0.3, 0.4]}\nseeds: 1")
    assert [c.samples for c in spaced.models] == [c.samples for c in written.models]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("axes: {data.size: [1497]}", "axes: {data.size: [null]}"),
        ("axes: {data.size: [749], data.half: [A]}", "axes: {data.half: [A]}"),
        ("axes: {train.decay_start: [500]}", ""),
        ("axes: {train.decay_start: [500], train.schedule: [cosine]}", "axes: {train.schedule: [cosine]}"),
    ],
)
def test_one_computation_has_one_key(made: Make, one: str, other: str) -> None:
    assert list(made(one).trajectories) == list(made(other).trajectories)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("axes: {data.size: [1496]}", "axes: {data.size: [null]}"),
        ("axes: {train.decay_start: [500], train.schedule: [inverse_sqrt]}", "axes: {train.schedule: [inverse_sqrt]}"),
    ],
)
def test_two_computations_have_two(made: Make, one: str, other: str) -> None:
    assert list(made(one).trajectories) != list(made(other).trajectories)


def test_a_cell_of_the_product_is_not_included_again(made: Make) -> None:
    with pytest.raises(GridError, match=r"include: \{data.size: 16\} is a cell of this grid already") as refused:
        made("axes: {data.size: [8, 16]}\ninclude: [{data.size: 16}]")
    assert refused.value.place is not None
    assert refused.value.place.line == 9
    with pytest.raises(GridError, match="a cell of this grid already"):
        made("include: [{data.size: 16}, {data.size: 16, model.width: 8}]")


def test_a_setting_of_base_and_of_an_axis_is_said(made: Make) -> None:
    plan = made("axes: {model.width: [16, 32]}")
    assert "model.width is set in base and by an axis: the axis counts" in plan.warnings
    assert [c.settings()["model.width"] for c in plan.models] == [16, 32]
