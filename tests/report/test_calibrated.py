"""Calibrated membership of a study: references, near-duplicates, the tables, the table images, the sentence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import pytest
import synthetic
from shadow_study import AXES, Pictures, planted
from shadow_worlds import Pool

from difgen_cli.report.findings import calibrated as finding
from difgen_cli.report.findings import study
from difgen_cli.report.study import calibrated, curves, images
from difgen_cli.report.study.album import Album


def test_each_setting_and_step_has_a_line_with_what_was_planted_and_each_model_one(tmp_path: Path) -> None:
    pool = Pool(unequal=0)
    tables = calibrated.read(planted(pool))
    assert len(tables.over_seeds) == 4
    assert len(tables.runs) == 12
    line = tables.over_seeds.iloc[0]
    assert (line["seeds"], line["images_in"], line["images_out"], line["cal_models"]) == (3, 200, 400, 2)
    assert line["cal_shift"] == pytest.approx(pool.leak, abs=0.1)
    assert line["cal_out_share"] == pytest.approx(1 - (1 / 3) ** 2, abs=0.06)
    assert line["cal_auc_lo"] > line["plain_auc_hi"]
    assert line["cal_gain"] == pytest.approx(line["cal_auc"] - line["plain_auc"], abs=1e-9)
    assert line["cal_control_heldout_lo"] < 0.5 < line["cal_control_heldout_hi"]
    assert line["cal_control_permuted"] == pytest.approx(0.5, abs=0.03)
    assert line["cal_tpr_10fp_rate"] == pytest.approx(10 / 400)
    assert "cal_tpr_1pct" not in tables.over_seeds, "400 others"
    assert "cal_t_auc" not in tables.over_seeds, "two references"
    files = calibrated.write(tables, tmp_path)
    assert [file.name for file in files] == ["calibrated.csv", "calibrated_runs.csv"]
    assert calibrated.write(calibrated.Calibrated(pd.DataFrame(), pd.DataFrame()), tmp_path) == []
    assert not list(tmp_path.iterdir())


def test_from_eight_references_students_t_stands_beside_and_lira_from_64(monkeypatch: pytest.MonkeyPatch) -> None:
    _, line = calibrated.summary(Pool(images=200, size=80, count=9, held_out=0).models(1))
    assert "lira_auc" not in line
    assert line["cal_t_auc"] == pytest.approx(line["cal_auc"], abs=0.05)
    assert "cal_control_heldout" not in line
    monkeypatch.setattr(calibrated, "LIRA_MIN", 8)
    assert calibrated.summary(Pool(images=200, size=80, count=9).models(1))[1]["lira_auc"] > 0.6


def test_one_per_cent_of_false_alarms_needs_a_thousand_images() -> None:
    (first, *_), line = calibrated.summary(Pool(images=1300, size=250).models(1))
    assert first["cal_tpr_1pct"] == pytest.approx(first["cal_tpr_10fp"], abs=0.02)  # of 1,050
    assert line["cal_tpr_1pct_lo"] < line["cal_tpr_1pct"] < line["cal_tpr_1pct_hi"]


def test_models_of_one_subset_are_no_references_of_each_other_and_one_seed_has_none() -> None:
    models = Pool().models(1)
    assert models.references(0).tolist() == [1, 2]
    trained = models.trained.copy()
    trained[1] = trained[0]
    alike = replace(models, trained=trained)
    assert [alike.references(m).tolist() for m in range(3)] == [[2], [2], [0, 1]]
    assert calibrated.summary(replace(models, trained=np.repeat(trained[:1], 3, axis=0))) == ([], {})
    assert calibrated.read(planted(Pool(count=1))).runs.empty
    assert calibrated.summary(Pool(images=100, size=10).models(1)) == ([], {}), "ten images are too few"


def test_near_duplicates_are_one_image_and_trained_on_together() -> None:
    """Images 2k and 2k + 1 are near-duplicates: 300 of them, and trained on where either is."""
    pool = Pool()
    _, trained, _ = pool.draw(0)
    study = planted(pool, {"model.width": [16]}, groups=np.arange(600) // 2 * 2)
    ((_, models),) = calibrated.groups(study)
    assert models.images.tolist() == list(range(0, 600, 2))
    assert np.array_equal(models.trained, trained[:, ::2] | trained[:, 1::2])


def test_the_table_of_images_counts_seeds_and_orders_by_the_gap(tmp_path: Path) -> None:
    pool = Pool(unequal=0.5)
    study = planted(pool)
    names = {"0" * 16: [f"{place}.png" for place in range(600)]}
    frame, cells = images.named(study, names, cast(Album, Pictures()))
    _, trained, _ = pool.draw(0)
    assert len(frame) == 600
    assert frame["gap"].dropna().is_monotonic_decreasing
    by_place = frame.set_index("image").sort_index()
    assert np.array_equal(by_place["n_in"], trained.sum(axis=0))
    assert np.array_equal(by_place["n_out"], 3 - trained.sum(axis=0))
    assert by_place["gap"].isna().equals(pd.Series((trained.sum(axis=0) % 3) == 0, by_place.index, name="gap"))
    assert by_place.loc[17, "name"] == "17.png"
    assert by_place["gap"].mean() == pytest.approx(pool.leak, abs=0.08)
    assert by_place["gap_se"].dropna().unique() == pytest.approx(pool.noise * np.sqrt(1.5), rel=0.25)
    assert 0.4 < by_place["reliability"].iloc[0] < 0.85
    assert (by_place["hits"] == 0).all()
    ends = by_place.dropna(subset="gap").eval("(gap_hi - gap) / gap_se")
    assert ends.between(1.959, 2.0).all(), "Student's t of some hundred degrees of freedom"
    mine = by_place[by_place["n_in"] > 0]
    assert (mine["d1"] == mine.index + 0.5).all()
    assert (mine["sample"] == mine.index).all()
    assert by_place.loc[by_place["n_in"] == 0, "d1"].isna().all(), "a sample of a model that never saw it"
    assert len(cells) == 600 * 6, "three seeds of two widths at their last step"
    assert set(cells["train.steps"].astype(str)) == {"200"}
    assert not {"trained", "member"} & {*frame, *cells}
    about = cells[(cells["model.width"].astype(str) == "16") & (cells["image"] == 5)].set_index("seed")
    losses = study.exposure[study.exposure["cell"].isin(about["cell"]) & ~study.exposure["held_out"]]
    losses = losses[losses["image"] == 5].set_index("cell")
    assert np.allclose(about["loss"], losses["loss"].reindex(about["cell"]))
    assert about["score"].notna().all()
    assert [file.name for file in images.write((frame, cells), tmp_path)] == ["images.csv", "images_cells.csv"]
    assert images.write(images.NOBODY_ASKED, tmp_path) == []
    assert not list(tmp_path.iterdir())
    bare, _ = images.named(study, {}, None)
    assert not {"name", "d1", "condition"} & set(bare)


def test_images_stand_out_where_training_raises_them_and_not_more_than_chance_where_it_does_not() -> None:
    """Of 600 images about half are in some of three models; one interval in forty lies above 0 by chance."""
    leaking, nothing = planted(Pool(leak=1.5, unequal=0)), planted(Pool(leak=0, unequal=0))
    compared = leaking.images.lines["gap"].notna().sum()
    assert len(leaking.images.exposed) > 0.9 * compared
    assert sum(nothing.images.by_chance.values()) == pytest.approx(compared / 40, rel=0.6)
    assert sum(leaking.images.by_chance.values()) < 0.2 * compared, "subsets that are drawn again tell nothing"
    assert len(nothing.images.exposed) < 3 * compared / 40
    sentence = str(study.RULES["exposed"](leaking, leaking.last))
    assert f"Of {compared} images that some models were trained on and others not" in sentence
    assert f"{len(leaking.images.exposed):,} have a lower loss in the former by more than a 95 % interval" in sentence
    assert "(1: none of it is chance): it ranks images and convicts none." in sentence
    bare = curves.read(synthetic.study(AXES))
    assert study.RULES["exposed"](bare, bare.last) is None


def test_of_two_seeds_no_image_has_an_error_and_the_order_is_not_said_to_be_known() -> None:
    """Each image is in one model and not in the other: nothing says how far models differ by chance."""
    _, trained, _ = Pool().draw(0)
    halves = np.stack([trained[0], ~trained[0]])
    own = images.gaps(np.zeros(halves.shape), halves)
    assert np.isnan(own.error).all()
    assert own.freedom == 0


def test_the_models_own_samples_are_a_control_where_they_were_scored() -> None:
    study = planted(Pool())
    assert calibrated.OWN not in calibrated.read(study).over_seeds
    rows = study.cells.assign(**{calibrated.OF_ROW: 0.6 + 0.01 * study.cells["seed"]})
    tables = calibrated.read(replace(study, cells=rows))
    assert tables.over_seeds[calibrated.OWN].to_numpy() == pytest.approx(np.full(4, 0.61))
    assert (tables.over_seeds[f"{calibrated.OWN}_hi"] > 0.61).all()
    assert set(tables.runs[calibrated.OWN]) == {0.6, 0.61, 0.62}
    rows.loc[rows["seed"] == 2, calibrated.OF_ROW] = np.nan
    assert calibrated.OWN not in calibrated.read(replace(study, cells=rows)).over_seeds


def test_reliability_is_the_share_of_variance_that_is_no_error() -> None:
    chance, n, tau = np.random.default_rng(1), 20_000, 0.4
    trained = np.zeros((6, n), bool)
    for column in trained.T:
        column[chance.permutation(6)[:3]] = True
    phi = chance.standard_normal(n) + tau * chance.standard_normal(n) * trained + 0.3 * chance.standard_normal((6, n))
    own = images.gaps(phi, trained)
    assert own.error == pytest.approx(np.full(n, 0.3 * np.sqrt(2 / 3)), rel=0.05)
    assert images.reliability(own.value, own.error) == pytest.approx(tau**2 / (tau**2 + 0.09 * 2 / 3), abs=0.03)
    assert images.reliability(own.value, np.full(n, 9.0)) == 0
    assert np.isnan(images.reliability(own.value[:2], own.error[:2]))


def test_the_sentence_counts_settings_by_the_last_step_and_says_where_the_control_fails() -> None:
    study = planted(Pool())
    sentence = finding.distinguishes_in_study(study, study.last)
    assert sentence is not None
    assert "distinguishes training images from others of the pool in 2 of 2 settings (most: AUROC 0." in sentence
    assert "which it should not" not in sentence
    nothing = planted(Pool(leak=0, unequal=0))
    assert "in none of 2 settings." in str(finding.distinguishes_in_study(nothing, nothing.last))
    lines = study.calibrated.over_seeds.assign(cal_control_heldout=0.3, cal_control_heldout_hi=0.4)
    study.__dict__["calibrated"] = calibrated.Calibrated(study.calibrated.runs, lines)
    assert "In 2 it also tells the others of the pool from held-out images, which it should not (AUROC 0.3" in str(
        finding.distinguishes_in_study(study, study.last)
    )
    lines = study.calibrated.over_seeds.assign(cal_control_heldout_lo=0.505, cal_control_heldout_hi=0.515)
    study.__dict__["calibrated"] = calibrated.Calibrated(study.calibrated.runs, lines)
    assert "which it should not" not in str(finding.distinguishes_in_study(study, study.last))
    bare = curves.read(synthetic.study(AXES))
    assert finding.distinguishes_in_study(bare, bare.last) is None
