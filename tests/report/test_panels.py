"""Panels stand for settings that were measured, under words that break where a reader would break them."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from difgen_cli.report import table
from difgen_cli.report.plotting import facets, layout
from difgen_cli.report.plotting.paper import PAGE
from difgen_cli.report.study.curves import CurveAxis

STEPS = CurveAxis("objective.teacher.train.steps", ("none", "500", "1000", "4000"), (0.0, 1.0, 2.0, 3.0), False)
EVERY = CurveAxis("objective.every", ("none", "2", "4"), (0.0, 1.0, 2.0), False)
MEASURED = [
    ("none", "none"),
    ("500", "2"),
    ("1000", "2"),
    ("4000", "2"),
    ("4000", "4"),
]
FRAME = pd.DataFrame(MEASURED, columns=[STEPS.path, EVERY.path])


@pytest.mark.parametrize(("most", "shown"), [(12, MEASURED), (5, MEASURED), (3, [MEASURED[k] for k in (0, 3, 4)])])
def test_no_panel_is_empty_and_those_that_do_not_fit_are_counted(most: int, shown: list[tuple[str, str]]) -> None:
    panels, left_out = layout.panels([STEPS, EVERY], FRAME, most)
    assert [tuple(panel.values()) for panel in panels] == shown
    assert left_out == len(MEASURED) - len(shown)


def test_an_axis_that_the_numbers_do_not_have_has_all_its_panels() -> None:
    panels, left_out = layout.panels([STEPS, EVERY], FRAME[[EVERY.path]], 99)
    assert (len(panels), left_out) == (12, 0)


def test_each_column_of_panels_has_the_numbers_of_its_axis_below_the_last_one() -> None:
    tiles = facets.tiles([STEPS, EVERY], FRAME, None, PAGE, most=12, across_most=4)
    tiles.sheet.figure.canvas.draw()
    numbered = [ax.xaxis.get_tick_params()["labelbottom"] for ax, _ in tiles.panels]
    assert numbered == [False, False, True, True, True]  # three across


def test_a_dotted_path_above_a_panel_is_broken_after_a_dot() -> None:
    sheet = replace(layout.lattice(PAGE, 1, 1, None), panel_inches=20 * PAGE.letter_inches - 0.4)
    title = sheet.title("sample.sigma_max 160.5, objective.teacher.train.steps none")
    assert title == "sample.sigma_max\n160.5, objective.\nteacher.train.\nsteps none"


def test_a_column_of_a_table_is_named_by_what_tells_it_apart_from_the_training_steps_too() -> None:
    named = table.names([STEPS.path, EVERY.path, "sample.every", "data.size"])
    assert list(named.values()) == ["teacher.train.steps", "objective.every", "sample.every", "size"]
    assert table.names(["train.steps", STEPS.path]) == {"train.steps": "train.steps", STEPS.path: "teacher.train.steps"}
