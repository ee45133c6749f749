"""The figure that was asked for: the rows' own numbers, nothing averaged that differs, errors that say what is near."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import synthetic

from difgen_cli.engine.grid.document import GridError
from difgen_cli.report import custom
from difgen_cli.report.custom import Choice
from difgen_cli.report.plotting.paper import COLUMN, TEXT

AXES = {"train.steps": [250, 1000, 4000], "data.size": [32, 128], "model.width": [64, 256]}


@pytest.fixture(scope="module")
def study():
    return synthetic.study(AXES, seeds=3)


def models(study):
    return study.rows[study.rows["kind"] == "model"]


def test_a_metric_against_a_setting_is_the_mean_over_seeds_at_the_last_snapshot(study):
    drawn = custom.draw(study, Choice("data.size", "mem_frac", "model.width"), TEXT)
    rows = models(study)
    expected = rows[rows["step"] == 4000].groupby(["data.size", "model.width"])["mem_frac"].mean()
    assert len(drawn.data) == len(expected) == 4
    for line in drawn.data.to_dict("records"):
        at = (int(line["data.size"]), int(line["model.width"]))
        assert line["mean"] == pytest.approx(expected[at])
        assert line["n"] == 3
    assert "At 4000 training steps." in drawn.caption
    assert "one line per value of model width" in drawn.caption
    assert "95 % t intervals over seeds" in drawn.caption


def test_axes_that_are_not_asked_for_stand_side_by_side_and_are_never_averaged(study):
    drawn = custom.draw(study, Choice("train.steps", "fd_test"), COLUMN)
    assert set(map(str, drawn.data.columns)) >= set(AXES)
    assert len(drawn.data) == 12
    assert drawn.svg.count("<svg") == 1
    assert "one panel per model width" in drawn.caption


def test_a_clock_or_a_metric_runs_across_along_the_training(study):
    drawn = custom.draw(study, Choice("epochs", "mem_frac", "data.size"), TEXT)
    rows = models(study)
    at = drawn.data[(drawn.data["metric"] == "epochs") & (drawn.data["train.steps"] == "1000")]
    assert set(at["mean"].round(9)) == set(rows.loc[rows["step"] == 1000, "epochs"].round(9))
    assert "along a line training grows from 250 to 4000" in drawn.caption


def test_seeds_can_be_the_lines_and_then_have_no_interval(study):
    drawn = custom.draw(study, Choice("data.size", "mem_frac", "seed"), TEXT)
    rows = models(study)
    last = rows[rows["step"] == 4000].set_index(["data.size", "model.width", "seed"])["mem_frac"]
    for line in drawn.data.to_dict("records"):
        assert line["mean"] == last[int(line["data.size"]), int(line["model.width"]), int(line["the seed"])]
    assert "Each seed is a line of its own" in drawn.caption


def test_what_moves_with_an_axis_can_be_the_colour(study):
    rows = study.rows.assign(**{"train.lr": study.rows["model.width"].map({64: 0.01, 256: 0.001})})
    zipped = dataclasses.replace(study, rows=rows, axes={**AXES, "train.lr": [0.01, 0.001]})
    drawn = custom.draw(zipped, Choice("data.size", "mem_frac", "train.lr"), TEXT)
    assert set(drawn.data["train.lr"]) == {"0.01", "0.001"}
    assert len(drawn.data) == 4
    assert "model.width" not in drawn.data


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        (Choice("data.sise", "mem_frac"), "--x data.sise: grid size has no such column; did you mean data.size"),
        (Choice("width", "mem_frac"), "did you mean model.width"),
        (Choice("data.size", "mem_frc"), "--y mem_frc: grid size has no such column; did you mean mem_frac"),
        (Choice("data.size", "mem_frac", "seeed"), "--by seeed: grid size has no such column; did you mean seed"),
        (Choice("data.size", "data.name"), "--y data.name: its values are words, such as digits"),
        (Choice("sample.steps", "mem_frac"), "--x sample.steps: it is 24 in every finished cell"),
        (Choice("data.size", "mem_frac", "fd_test"), "--by fd_test: 36 values; choose a column with at most 20"),
        (Choice("data.size", "cell"), "--y cell: grid size has no such column"),
    ],
)
def test_a_wrong_column_is_one_sentence_that_says_what_is_near(study, choice, words):
    with pytest.raises(GridError, match=None) as raised:
        custom.draw(study, choice, TEXT)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_column_without_values_is_refused(study):
    empty = dataclasses.replace(study, rows=study.rows.assign(ct=np.nan))
    with pytest.raises(GridError, match="no finished cell"):
        custom.check(empty, Choice("data.size", "ct"))


def test_the_file_of_a_figure_has_a_plain_name():
    assert Choice("data.size", "../x", "a/b").name == "-x-against-data-size-by-a-b"
    assert pd.notna(Choice("x", "y").name)
