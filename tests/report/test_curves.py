"""Aggregation: a per-seed estimate first, then a t interval over seeds; axes as the cells really vary."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
import synthetic
from scipy import stats

from difgen_cli.engine import plugins
from difgen_cli.engine.columns import ColumnSpec
from difgen_cli.engine.store import tables
from difgen_cli.report.plotting import labels
from difgen_cli.report.study import curves

SHARE = {"mem_frac": ColumnSpec("share")}
FOUR = {
    "model.width": [64, 256],
    "train.steps": [250, 1000, 4000],
    "data.size": [32, 128],
    "condition.clusters": [1, 10],
}


def test_mean_and_t_interval_agree_with_scipy_in_every_group():
    study = synthetic.study(FOUR, seeds=4, missing=[0, 5], failed=[9, 10, 11])
    read = curves.read(study)
    numbers = curves.over_seeds(read.done, read.paths, ["gap_max", "fd_test"], read.columns)
    rows = study.rows[(study.rows["kind"] == "model") & (study.rows["state"] == "done")]
    assert len(numbers) == 2 * 24
    for line in numbers.to_dict("records"):
        at = np.all([rows[path].map(labels.text) == line[path] for path in read.paths], axis=0)
        values = rows.loc[at, line["metric"]].to_numpy(float)
        assert line["n"] == len(values)
        if line["metric"] == "fd_test":  # Fréchet distances are averaged on a log scale
            values = np.log(values)
            line |= {end: math.log(line[end]) for end in ("mean", "lo", "hi")}
        assert line["mean"] == pytest.approx(values.mean(), rel=1e-12)
        if len(values) > 1:
            low, high = stats.t.interval(
                0.95, len(values) - 1, loc=values.mean(), scale=values.std(ddof=1) / math.sqrt(len(values))
            )
            assert (line["lo"], line["hi"]) == pytest.approx((low, high), rel=1e-9)
        else:
            assert math.isnan(line["lo"])
            assert math.isnan(line["hi"])


def test_two_rows_of_one_seed_count_as_one_estimate():
    frame = pd.DataFrame({"size": ["a"] * 3, "seed": [0, 0, 1], "mem_frac": [0.0, 0.4, 0.6]})
    line = curves.over_seeds(frame, ["size"], ["mem_frac"], SHARE).iloc[0]
    assert (line["n"], line["mean"], line["seed_0"], line["seed_1"]) == (2, pytest.approx(0.4), 0.2, 0.6)


def test_one_seed_shows_the_rows_own_interval_and_says_so():
    study = synthetic.study({"data.size": [32, 128]}, seeds=1)
    read = curves.read(study)
    numbers = curves.over_seeds(read.done, read.paths, ["mem_frac", "fd_test"], read.columns).set_index(
        ["metric", "data.size"]
    )
    rows = study.rows[study.rows["kind"] == "model"].set_index("data.size")
    assert numbers.loc[("mem_frac", "32"), "lo"] == rows.loc[32, "mem_frac_lo"]
    assert numbers.loc[("mem_frac", "128"), "hi"] == rows.loc[128, "mem_frac_hi"]
    assert numbers.loc[("mem_frac", "32"), "interval"] == "own, one seed"
    assert math.isnan(numbers.loc[("fd_test", "32"), "lo"])  # the row has none


def test_a_single_seed_among_groups_with_more_gets_no_interval():
    frame = pd.DataFrame(
        {
            "size": ["a", "b", "b"],
            "seed": [0, 0, 1],
            "mem_frac": [0.1, 0.2, 0.3],
            "mem_frac_lo": 0.0,
            "mem_frac_hi": 1.0,
        }
    )
    numbers = curves.over_seeds(frame, ["size"], ["mem_frac"], SHARE).set_index("size")
    assert math.isnan(numbers.loc["a", "lo"])
    assert numbers.loc["b", "lo"] < 0.2 < numbers.loc["b", "hi"]


def test_axes_ascend_as_numbers_and_keep_the_grids_order_as_words():
    study = synthetic.study({"data.size": [512, 32, 128], "model.name": ["unet", "mlp"]}, seeds=1)
    size, name = curves.read(study).axes
    assert size.levels == ("32", "128", "512")
    assert size.log
    assert name.levels == ("unet", "mlp")
    assert not name.numeric


def test_an_axis_of_one_value_is_none():
    assert curves.read(synthetic.study({"data.size": [32], "model.width": [64]}, seeds=2)).axes == ()


def test_axes_that_move_together_are_one_and_said():
    study = synthetic.study({"model.width": [64, 128, 256]}, seeds=2)
    rows = study.rows.assign(**{"model.depth": study.rows["model.width"].map({64: 1, 128: 2, 256: 3})})
    said = {**study.axes, "model.depth": [1, 2, 3]}
    (axis,) = curves.found_axes(rows[rows["kind"] == "model"], said)
    assert (axis.path, axis.along) == ("model.width", ("model.depth",))


def test_a_setting_that_differs_within_a_group_becomes_an_axis_and_is_never_averaged_over():
    study = synthetic.study({"data.size": [32, 128]}, seeds=2)
    extra = study.rows[study.rows["kind"] == "model"].assign(**{"guide.weight": 2.0})
    rows = pd.concat([study.rows, extra], ignore_index=True)
    axes = curves.found_axes(rows[rows["kind"] == "model"], study.axes)
    assert [axis.path for axis in axes] == ["data.size", "guide.weight"]


def test_seed_settings_are_what_seeds_vary_and_no_axis():
    study = synthetic.study({"data.size": [32, 128]}, seeds=3)
    assert study.rows["data.seed"].nunique() == 3
    assert curves.read(study).paths == ["data.size"]


def test_keys_of_results_and_clocks_are_neither_axes_nor_metrics():
    study = synthetic.study({"data.size": [32, 128]}, seeds=3)
    keys = [f"{i:04x}" for i in range(len(study.rows))]
    rows = study.rows.assign(**{"result.gap": keys, "train_seconds": np.arange(len(keys)) * 1.0})
    columns = {**study.columns, "train_seconds": ColumnSpec("s"), "step": ColumnSpec("steps")}
    read = curves.read(dataclasses.replace(study, rows=rows, columns=columns))
    assert read.paths == ["data.size"]
    assert not {"train_seconds", "step", "n_gen"} & set(read.metrics)
    assert read.seeds == 3


def test_the_last_snapshot_is_the_last_finished_step_of_each_group():
    axes = {"data.size": [32, 128], "train.steps": [250, 1000]}
    study = synthetic.study(axes, seeds=1, missing=[1])  # size 32 lacks step 1000
    read = curves.read(study)
    last = curves.last_snapshot(read.cells, read.paths)
    assert dict(zip(last["data.size"], last["step"], strict=True)) == {"32": 250, "128": 1000}


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (32, "32"),
        (32.0, "32"),
        (0.001, "0.001"),
        (True, "true"),
        (None, "none"),
        (float("nan"), "none"),
        ([1, 2], "[1, 2]"),
    ],
)
def test_settings_are_written_as_a_person_would(value, word):
    assert labels.text(value) == word


def test_list_and_null_values_are_levels_like_any_other():
    study = synthetic.study({"data.half": [None, "A", "B"]}, seeds=1)
    rows = study.rows.assign(**{"model.widths": pd.Series([[1, 2]] * len(study.rows), dtype=object)})
    (axis,) = curves.found_axes(rows[rows["kind"] == "model"], study.axes)
    assert axis.levels == ("none", "A", "B")


def test_only_inception_features_are_called_fid():
    assert labels.frechet("inception").startswith("FID")
    assert labels.frechet("digits-cnn64") == "Fréchet distance (digits-cnn64 features)"
    assert "FID" not in labels.frechet("dinov2")


def test_how_a_row_came_about_is_no_metric() -> None:
    named = {name for name, unit in tables.UNITS.items() if unit} - {"sampling_seconds"}
    assert named <= {*curves.CLOCKS, *curves.COUNTS}


def test_no_end_of_an_interval_is_rounded_past_its_value() -> None:
    assert labels.interval(0.9993, 0.9965, 0.9999, "share") == "0.999 [0.997, 1.000]"
    rng = np.random.default_rng(0)
    for value, low, high in np.sort(1 - rng.random((1000, 3)) ** 8)[:, [1, 0, 2]]:
        mean, ends = labels.interval(value, low, high, "share").split(" ", 1)
        lower, upper = ends.strip("[]").split(", ")
        assert float(lower) <= float(mean) <= float(upper)


@pytest.mark.parametrize("section", plugins.SECTIONS)
def test_a_setting_of_any_section_of_a_grid_tells_cells_apart(section: str) -> None:
    """Else cells that differ in it would be averaged as if they were seeds, as happened to those of an objective."""
    assert curves._is_setting(f"{section}.name")
    assert not curves._is_setting("provenance.name")
