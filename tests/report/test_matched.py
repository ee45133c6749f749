"""Comparison at equal distance: planted curves whose difference there is known, whatever it is at equal steps."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import synthetic

from difgen_cli import report
from difgen_cli.report import Study
from difgen_cli.report.figures import matched as matched_figure
from difgen_cli.report.study import curves, matched

STEPS = [125, 250, 500, 1000, 2000, 4000]


def planted(shift: float, faster: float = 2.0, seeds: int = 3, apart: float = 1.0, turns: bool = False) -> Study:
    """Ten clusters learn `faster` times as fast as one; their preference is `shift` higher at the same distance.

    Preference is 0.9 − 0.2 log distance, and both have noise of their own. apart: times which the distances of ten
    clusters are larger. turns: the last snapshot is at the distance of the third, with all of its preference.
    """
    study = synthetic.study({"train.steps": STEPS, "condition.clusters": [1, 10]}, seeds=seeds)
    rows = study.rows.copy()
    model = (rows["kind"] == "model").to_numpy()
    step = pd.to_numeric(rows["step"]).to_numpy(float)
    ten = (rows["condition.clusters"] == 10).to_numpy()
    rng = np.random.default_rng(3)
    noise = 1 + 0.02 * rng.standard_normal(len(rows))
    distance = 3000 / (np.where(ten, faster, 1.0) * step) * noise * np.where(ten, apart, 1.0)
    pref = 0.9 - 0.2 * np.log(distance) + np.where(ten, shift, 0.0) + 0.003 * rng.standard_normal(len(rows))
    if turns:
        last = step == STEPS[-1]
        distance, pref = np.where(last, 3000 / 500, distance), np.where(last, 1.0, pref)
    rows.loc[model, "fd_test"] = distance[model]
    rows["train_pref_share"] = np.where(model, pref, np.nan)
    columns = {**study.columns, "train_pref_share": synthetic.declared("train_pref_share", "share")}
    return dataclasses.replace(study, rows=rows, columns=columns)


def table(study: Study) -> pd.DataFrame:
    found = matched.compared(curves.read(study))
    return found[found["axis"] == "condition.clusters"]


def at_equal_steps(study: Study) -> float:
    rows = study.rows[(study.rows["kind"] == "model") & (study.rows["step"] == 500)]
    means = rows.groupby("condition.clusters")["train_pref_share"].mean()
    return float(means[10] - means[1])


@pytest.mark.parametrize("shift", [0.0, 0.1, -0.05])
def test_the_difference_at_equal_distance_is_the_planted_one_whatever_it_is_at_equal_steps(shift: float) -> None:
    study = planted(shift)
    assert at_equal_steps(study) == pytest.approx(shift + 0.2 * np.log(2), abs=0.02)
    found = table(study)
    assert len(found) == matched.POINTS
    assert (found["level"] == "10").all()
    assert (found["against"] == "1").all()
    assert (found["n"] == 3).all()
    assert found["difference"].to_numpy() == pytest.approx(shift, abs=0.015)
    held = (found["lo"] <= shift) & (shift <= found["hi"])
    assert held.sum() >= 4
    assert found["metric"].unique().tolist() == ["train_pref_share"]
    assert found["a"].to_numpy() == pytest.approx(0.9 - 0.2 * np.log(found["distance"]), abs=0.015)


def test_distances_are_those_that_every_seed_of_both_reaches() -> None:
    study = planted(0.0)
    found, rows = table(study), study.rows[study.rows["kind"] == "model"]
    spans = rows.groupby(["condition.clusters", "seed"])["fd_test"].agg(["min", "max"])
    assert found["distance"].min() == pytest.approx(spans["min"].max())
    assert found["distance"].max() == pytest.approx(spans["max"].min())


def test_curves_without_a_common_distance_have_one_line_and_no_number() -> None:
    (line,) = table(planted(0.0, apart=1000.0)).to_dict("records")
    assert line["n"] == 0
    assert np.isnan([line[name] for name in ("distance", "a", "b", "difference", "lo", "hi")]).all()


def test_past_its_best_snapshot_a_run_is_not_read() -> None:
    turned = table(planted(0.0, turns=True))
    assert turned["difference"].to_numpy() == pytest.approx(0, abs=0.02)
    distance, value = matched.branch(np.array([9.0, 4, 5, 2, 3]), np.array([0.1, 0.2, 0.3, 0.4, 0.5]))
    np.testing.assert_allclose(np.exp(distance), [2, 4, 9])
    np.testing.assert_allclose(value, [0.4, 0.2, 0.1])


def test_one_seed_has_differences_without_an_interval() -> None:
    found = table(planted(0.1, seeds=1))
    assert found["difference"].notna().all()
    assert found["lo"].isna().all()


def test_rows_of_older_versions_are_compared_by_the_excess() -> None:
    study = planted(0.0)
    old = dataclasses.replace(study, rows=study.rows.drop(columns="train_pref_share"))
    assert table(old)["metric"].unique().tolist() == ["train_pref_excess"]


def test_without_steps_or_distance_nothing_is_compared() -> None:
    flat = synthetic.study({"condition.clusters": [1, 10]}, seeds=2)
    assert matched.compared(curves.read(flat)).empty
    blind = synthetic.study({"train.steps": STEPS, "condition.clusters": [1, 10]}, seeds=2, drop=["fd_test"])
    assert matched.compared(curves.read(blind)).empty
    assert matched_figure.draw(curves.read(blind)) == []


def test_every_axis_is_compared_within_the_levels_of_the_others() -> None:
    axes = {"train.steps": STEPS, "condition.clusters": [1, 10, 50], "data.size": [32, 128]}
    found = matched.compared(curves.read(synthetic.study(axes, seeds=2)))
    pairs = found[["axis", "level", "condition.clusters", "data.size"]].drop_duplicates().astype(str)
    assert len(pairs) == 2 * 2 + 3
    assert set(pairs["axis"]) == {"condition.clusters", "data.size"}


def test_the_report_writes_the_table_and_the_figure(tmp_path: Path) -> None:
    report.write(planted(0.1), tmp_path)
    found = pd.read_csv(tmp_path / "matched.csv")
    assert len(found) == matched.POINTS
    caption = (tmp_path / "figures" / "preference-at-equal-distance.txt").read_text(encoding="utf-8")
    assert "At equal distance 5 of 5 differences have a 95 % interval above 0" in caption
    assert "linear in log distance" in caption
    assert (tmp_path / "figures" / "preference-at-equal-distance.png").exists()
    report.write(synthetic.study({"data.size": [32, 128]}, seeds=1), tmp_path)
    assert not (tmp_path / "matched.csv").exists()
