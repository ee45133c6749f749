"""The newer instruments' figures: they appear where their columns or tables are; what cannot be told is drawn so."""

import dataclasses
import re
from pathlib import Path
from xml.etree import ElementTree

import instruments
import numpy as np
import pandas as pd
import pytest
import synthetic

from difgen_cli import report
from difgen_cli.report import Written, custom
from difgen_cli.report.figures import _path_overlap, noise_map, other_metrics, path_over_noise, twins
from difgen_cli.report.plotting.paper import PAGE
from difgen_cli.report.study import curves

STEPS_SIZE = {"train.steps": [60, 240, 960, 3840], "data.size": [8, 64, 512]}
NEW = {
    "gap-by-step-and-noise",
    "path-over-noise",
    "path-against-data-size",
    "path-against-train-steps",
    "twins-against-size",
    "membership",
    "deviation-over-noise",
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Written:
    study = instruments.added(synthetic.study(STEPS_SIZE, seeds=3))
    return report.write(study, tmp_path_factory.mktemp("whole"))


def names(written: Written) -> set[str]:
    return {file.stem for file in written.figures}


def caption(written: Written, name: str) -> str:
    return (written.page.parent / "figures" / f"{name}.txt").read_text(encoding="utf-8")


def numbers(written: Written, name: str) -> pd.DataFrame:
    return pd.read_csv(written.page.parent / "figures" / f"{name}.csv")


def test_every_instrument_has_its_figure_with_seeds_counts_and_features(whole: Written) -> None:
    assert names(whole) >= NEW
    for name in NEW:
        words = caption(whole, name)
        assert "3 seeds" in words
        assert "1000 generated samples; 512 reference images" in words
        assert "ixel" in words, "in which space it was measured"
        svg = (whole.page.parent / "figures" / f"{name}.svg").read_text(encoding="utf-8")
        ElementTree.fromstring(svg)  # noqa: S314 - our own file


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("path-over-noise", "1000 states at each level"),
        ("twins-against-size", "256 pairs of samples"),
        ("membership", "8 to 512 images of T and as many of H"),
        ("deviation-over-noise", "1024 pairs of image and noise"),
    ],
)
def test_captions_say_how_much_was_measured(whole: Written, name: str, words: str) -> None:
    assert words in caption(whole, name)


def test_without_columns_and_tables_none_of_them_appears(tmp_path: Path) -> None:
    written = report.write(synthetic.study(STEPS_SIZE, seeds=2, drop=["gap_max"]), tmp_path)
    assert not names(written) & NEW
    assert "flow-field" not in names(written)


def test_what_has_a_figure_of_its_own_is_not_among_the_others(whole: Written) -> None:
    others = set(numbers(whole, "other-metrics")["metric"])
    assert others
    assert not {name for name in others if name.startswith(("path_", "twin_", "mia_auc_", "ideal_dev_"))}


def test_overlap_without_power_is_left_out_of_the_line_and_marked_as_such(whole: Written) -> None:
    told = numbers(whole, "path-over-noise")
    at_four = told[told["sigma_rel"] == 4.0]
    assert "path_overlap" not in set(at_four["metric"])
    assert (at_four.loc[at_four["metric"] == "path_power", "mean"] < _path_overlap.POWER_MIN).all()
    study = instruments.added(synthetic.study(STEPS_SIZE, seeds=3))
    (svg,) = path_over_noise.draw(curves.read(study))
    everywhere = study.tables["path"].assign(path_power=0.99, path_overlap=0.5)
    (seen,) = path_over_noise.draw(curves.read(dataclasses.replace(study, tables={"path": everywhere})))
    assert svg.svg.count("<use") > 0
    crosses = "M -1.75 1.75"  # the marker x of 3.5 points
    assert crosses in svg.svg
    assert crosses not in seen.svg


def test_path_power_too_low_everywhere_is_said(whole: Written) -> None:
    study = instruments.added(synthetic.study(STEPS_SIZE, seeds=2))
    blind = study.tables["path"].assign(path_power=0.55, path_overlap=np.nan)
    (drawn,) = path_over_noise.draw(curves.read(dataclasses.replace(study, tables={"path": blind})))
    assert "no overlap is given" in drawn.alt


def test_the_crossing_of_twins_is_interpolated_per_seed_in_log_size() -> None:
    frame = pd.DataFrame(
        {"data.size": ["8", "32", "128"], "metric": "twin_win", "seed_0": [0.0, 0.25, 0.75], "seed_1": [0.1, 0.5, 0.9]}
    )
    axis = curves.CurveAxis("data.size", ("8", "32", "128"), (8.0, 32.0, 128.0), True)
    at, low, high, n = twins.crossing(frame, axis) or (0, 0, 0, 0)
    assert at == pytest.approx(np.sqrt(64 * 32))
    assert low < at < high
    assert n == 2


def test_twins_that_never_agree_have_no_crossing(tmp_path: Path) -> None:
    study = instruments.added(synthetic.study({"data.size": [8, 64]}, seeds=2))
    study = dataclasses.replace(study, rows=study.rows.assign(twin_win=0.1 * study.rows["twin_win"].notna()))
    written = report.write(study, tmp_path)
    assert "does not rise through one half within these sizes" in caption(written, "twins-against-size").lower()


def test_the_map_holds_every_step_and_level_and_dots_what_may_be_nothing() -> None:
    read = curves.read(synthetic.study(STEPS_SIZE, seeds=3))
    (drawn,) = noise_map.draw(read)
    assert len(drawn.data) == 4 * 3 * len(synthetic.SIGMAS)
    assert "dots: the 95 % interval over seeds contains 0" in drawn.caption
    assert "no value" not in drawn.svg
    assert set(drawn.palette) == set(drawn.palette.values()), "a map keeps its colours on a dark page"
    holes = read.tables["noise"].query("step != 240 or `data.size` != '8'")
    (holed,) = noise_map.draw(dataclasses.replace(read, tables={"noise": holes}))
    assert "no value" in holed.svg


def test_the_map_shows_every_size_and_the_widest_network_where_not_all_settings_have_room() -> None:
    axes = {"train.steps": [60, 120], "data.size": [8, 16, 32], "model.width": [2, 4, 8], "condition.clusters": [1, 5]}
    (drawn,) = noise_map.draw(curves.read(synthetic.study(axes)))
    titles = re.findall(r"<!-- (N = \d+.*?) -->", drawn.svg)
    assert titles == ["N = 8", "N = 16", "N = 32"]
    assert "one panel per training images N, at width 8 and 5 clusters." in drawn.caption
    assert "15 more combinations of settings" in drawn.caption


@pytest.mark.parametrize("seeds", [1, 2])
def test_a_model_in_closed_form_has_its_report_without_steps(tmp_path: Path, seeds: int) -> None:
    axes = {"model.width": [1, 2, 3], "data.size": [8, 16, 32]}
    study = instruments.closed_form(instruments.field(synthetic.study(axes, seeds=seeds)))
    written = report.write(study, tmp_path)
    assert {"gap-over-noise", "gap-over-noise-by-model-width", "against-data-size", "flow-field"} <= names(written)
    assert "training steps" not in caption(written, "against-data-size")
    last = pd.read_csv(tmp_path / "last.csv")
    assert (last["seeds"] == seeds).all()
    assert last["gap_max"].notna().all()
    assert not (tmp_path / "onset.csv").exists()


def test_a_network_beside_a_closed_form_keeps_both(tmp_path: Path) -> None:
    study = synthetic.study(
        {"model.name": ["mlp", "analytic"], "data.size": [8, 16], "train.steps": [60, 120]}, seeds=1
    )
    closed = study.rows["model.name"] == "analytic"
    rows = study.rows.assign(step=study.rows["step"].where(~closed, None))
    report.write(dataclasses.replace(study, rows=rows), tmp_path)
    last = pd.read_csv(tmp_path / "last.csv")
    assert dict(zip(last["model.name"], last["step"].isna(), strict=True)) == {"mlp": False, "analytic": True}
    assert (last["seeds"] == 1).all()


def test_a_flow_field_shows_both_kinds_of_points_and_says_how_many(tmp_path: Path) -> None:
    axes = {"model.delta": [1.2, 1.6, 1.8, 2.2], "data.size": [8, 16, 32]}
    study = instruments.closed_form(instruments.field(synthetic.study(axes, seeds=1)))
    written = report.write(study, tmp_path)
    words = caption(written, "flow-field")
    assert "25 grid points, 1 training and 1 held-out points" in words
    assert "N = 16" in words, "the other axis at its middle level"
    assert "1 more combinations" in words
    assert set(numbers(written, "flow-field")["kind_of_point"]) == {"grid", "train", "held_out"}


@pytest.mark.long
def test_a_study_of_every_size_of_one_seed_is_drawn_without_warnings(tmp_path: Path) -> None:
    axes = {"data.size": [8, 64], "model.width": [64, 256], "guide.weight": [1.0, 2.0], "train.steps": [60, 240]}
    written = report.write(instruments.added(synthetic.study(axes, seeds=1)), tmp_path)
    assert names(written) >= NEW
    assert "at w = 2" in caption(written, "path-against-data-size")


def test_a_cosine_of_twins_is_drawn_between_its_baseline_and_its_ceiling_without_an_axis_of_sizes_too() -> None:
    study = instruments.added(synthetic.study({"model.width": [64, 256], "train.steps": [60, 240]}, seeds=2))
    read = curves.read(study)
    (others,) = other_metrics.draw(read)
    assert "twin_cos" in others.caption or "twin_cos" in others.alt
    assert {"twin_cos", "twin_baseline", "twin_ceiling"} <= set(others.data["metric"])
    drawn = custom.draw(study, custom.Choice("model.width", "twin_cos"), PAGE)
    assert {"twin_cos", "twin_baseline", "twin_ceiling"} == set(drawn.data["metric"])
