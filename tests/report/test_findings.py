"""What is said of rows: one test for each rule, with what it must and must not say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from losses import planted, valley
from synthetic import study as made_up
from unlearnt import study_of_unlearning

from difgen_cli.engine.columns import ColumnSpec
from difgen_cli.report import Study, findings
from difgen_cli.report.findings import samples, study
from difgen_cli.report.study import curves

# A row where nothing was found and every measure could see.
CLEAN: dict[str, Any] = {
    "sample.count": 300, "sample_distinct": 300, "sample_constant": 0, "train_distinct": 1000, "near_duplicates": 0,
    "near_duplicates_held_out": 0, "mem_identical": 0, "mem_unique": 0,
    "mem_frac": 0.0, "mem_frac_lo": 0.0, "mem_frac_hi": 0.0126,
    "mem_frac_control": 0.0, "mem_frac_control_lo": 0.0, "mem_frac_control_hi": 0.0055, "mem_power": 0.97,
    "copy_tail": 0.01, "copy_tail_lo": 0.002, "copy_tail_hi": 0.03,
    "tile_copy_frac": 0.0, "tile_copy_frac_lo": 0.0, "tile_copy_frac_hi": 0.0126,
    "tile_copy_frac_control": 0.0, "tile_copy_frac_control_lo": 0.0, "tile_copy_frac_control_hi": 0.0055,
    "aligned_frac": 0.0, "aligned_frac_lo": 0.0, "aligned_frac_hi": 0.0126,
    "aligned_control": 0.0, "aligned_control_lo": 0.0, "aligned_control_hi": 0.0055,
    "aligned_shifted": 0.0, "aligned_mirrored": 0.0, "aligned_toned": 0.0, "aligned_smoothed": 0.0,
    "aligned_smoothed_control": 0.0, "aligned_smoothed_control_lo": 0.0, "aligned_smoothed_control_hi": 0.0055,
    "train_pref_excess": 0.01, "train_pref_excess_lo": -0.05, "train_pref_excess_hi": 0.07,
    "train_pref_copycat": 0.31, "train_pref_share": 0.03, "train_pref_share_lo": -0.16, "train_pref_share_hi": 0.23,
    "train_pref_winners": 120.0, "train_pref_distinct": 300, "train_pref_constant": 0,
}  # fmt: skip
COPIES = {"mem_frac": 1 / 3, "mem_frac_lo": 0.282, "mem_frac_hi": 0.389, "mem_unique": 30,
          "first_copy": 2, "copy_every": 3.0, "copy_every_lo": 2.56, "copy_every_hi": 3.58}  # fmt: skip
LEANS = {"train_pref_excess": 0.2, "train_pref_excess_lo": 0.1, "train_pref_excess_hi": 0.3,
         "train_pref_share": 0.65, "train_pref_share_lo": 0.3, "train_pref_share_hi": 0.97}  # fmt: skip
ALL_GREY = {"sample_constant": 300, "sample_distinct": 1, "train_pref_excess": None, "train_pref_excess_lo": None,
            "train_pref_excess_hi": None, "train_pref_share": None, "train_pref_distinct": 0}  # fmt: skip
ONE_IMAGE = {"sample_distinct": 1, "train_pref_excess_lo": None, "train_pref_excess_hi": None,
             "train_pref_winners": 1.4}  # fmt: skip


def told(copycat: dict[str, Any] | None = None, **changed: Any) -> dict[str, str]:
    """Rule -> sentence, of the clean row with some values changed; NaN is null."""
    return dict(samples.rules_that_speak(CLEAN | changed, copycat))


def test_a_clean_row_says_what_was_not_seen_and_claims_nothing() -> None:
    assert list(told()) == ["ratio_silent", "lean", "nothing_found"]
    said = " ".join(told().values())
    assert (
        "No preference of the samples for the training images was found: train_pref_excess 0.0100 [−0.0500, 0.0700]"
        in said
    )
    assert "the interval ends at 23.0 % of an exact copier's value" in said
    assert "samples are copies" not in said
    assert said.endswith("never trained on; copies that are changed more (for example, rotated) can be missed.")


def test_no_rule_says_that_there_are_no_copies() -> None:
    """The sentence of 0.1.0, `0 % of the samples are copies`, cannot come back."""
    for changed in ({}, COPIES, {"mem_power": 0.1}, ALL_GREY, ONE_IMAGE, {"mem_frac": None}):
        for sentence in told(**changed).values():
            assert not re.match(r"0 % .*copies", sentence)
            assert "no copies" not in sentence


@pytest.mark.parametrize(
    ("rule", "changed", "says", "silent"),
    [
        ("one_colour", ALL_GREY, "All samples are of a single colour", ("lean", "ratio_silent", "nothing_found")),
        ("one_colour", {"sample_constant": 1}, "1 of 300 samples is of a single colour", ("nothing_found",)),
        ("few_distinct", ONE_IMAGE, "All samples are one image", ("nothing_found", "ratio_copies")),
        ("few_distinct", {"sample_distinct": 3}, "only 3 distinct images", ("nothing_found",)),
        ("few_distinct", {"sample_distinct": 150}, "The 300 samples are 150 distinct images.", ()),
        ("old_version", {"near_duplicates": 60, "train_distinct": None}, "60 training images have a near-duplicate",
         ("nothing_found", "repeats")),
        ("ratio_is_blind", {"mem_frac": None, "train_distinct": 1}, "single distinct image",
         ("ratio_silent", "nothing_found")),
        ("ratio_is_blind", {"mem_frac_control": 0.11, "mem_frac_control_lo": 0.08, "mem_frac_control_hi": 0.14},
         "it calls 11.0 % [8.00 %, 14.0 %] of the held-out images copies", ("ratio_silent", "nothing_found")),
        ("identical", {"mem_identical": 100}, "100 of 300 samples are identical to a training image in every value",
         ("nothing_found",)),
        ("identical", {"mem_identical": 1}, "1 of 300 samples is identical", ()),
        ("ratio_copies", COPIES, "33.3 % of the samples are copies by the ratio rule, of 30 distinct training images: "
         "mem_frac 0.333 [0.282, 0.389], more than held-out images: 0 [0, 0.0055].", ("ratio_silent", "nothing_found")),
        ("ratio_copies", COPIES | {"mem_frac_control": None, "mem_frac_control_lo": None, "mem_frac_control_hi": None},
         "without held-out images it is not known how many", ("ratio_silent", "nothing_found")),
        ("ratio_silent", {"mem_frac": 0.003, "mem_frac_lo": 0.001, "mem_power": 0.45},
         "within the 95 % intervals: mem_frac 0.0030 [0.0010, 0.0126], held-out images 0 [0, "
         "0.0055]", ("ratio_copies", "power")),
        ("ratio_silent", {"mem_power": 0.45}, "it would miss 55.0 % of copies with noise of 0.1 a pixel", ()),
        ("changed_copies", {"aligned_frac": 1.0, "aligned_frac_lo": 0.987, "aligned_shifted": 0.9,
         "aligned_mirrored": 0.1}, "moved by a pixel (90.0 %), mirrored (10.0 %)", ("nothing_found",)),
        ("changed_copies", {"aligned_smoothed": 0.6}, "smoothed (60.0 %)", ("nothing_found",)),
        ("changed_copies", {"aligned_frac": 0.3, "aligned_frac_lo": 0.2, "aligned_control": 0.2,
         "aligned_control_lo": 0.15, "aligned_control_hi": 0.25}, "cannot be decided here", ()),
        ("copies_by_parts", {"tile_copy_frac": 1.0, "tile_copy_frac_lo": 0.98, "tile_copy_frac_hi": 1.0},
         "each quarter is a copy", ("nothing_found",)),
        ("unusually_near", {"copy_tail": 0.98, "copy_tail_lo": 0.95, "copy_tail_hi": 0.99},
         "98.0 % [95.0 %, 99.0 %] of the samples lie nearer to one training image than 99 %", ("nothing_found",)),
        ("lean", LEANS, "The samples lie nearer to the training images than held-out images do: train_pref_excess "
         "0.200 [0.100, 0.300], 65.0 % [30.0 %, 97.0 %] of an exact copier's value.", ("nothing_found",)),
        ("lean", {"train_pref_excess": -0.2, "train_pref_excess_lo": -0.3, "train_pref_excess_hi": -0.1},
         "nearer to the held-out images than other held-out images do", ()),
        ("lean", {"train_pref_copycat": 0.05},
         "cannot be decided: the value of an exact copier, 0.0500, is within the interval", ("nothing_found",)),
        ("lean", ONE_IMAGE,
         "cannot be decided: the answer depends on about 1 distinct image, too few", ("nothing_found",)),
        ("lean", {"train_pref_excess": None, "train_pref_distinct": 300, "train_pref_images": 0,
         "train_pref_excess_lo": None},
         "cannot be decided: repeats leave too few distinct held-out images to compare with.", ("nothing_found",)),
        ("ratio_is_blind", {"mem_frac": None, "near_duplicates": 0},
         "The training set is a single distinct image: it has no", ("nothing_found",)),
        ("ratio_is_blind", {"mem_frac": None, "near_duplicates": 300},
         "All training images are joined by near-duplicates and count as a single distinct image: it has no", ()),
        ("lean", {"train_pref_excess": None, "train_pref_distinct": 4}, "too few distinct samples were compared (4)",
         ("nothing_found",)),
        ("power", COPIES | {"mem_power": 0.65}, "would catch 65.0 % of copies", ("ratio_silent",)),
        ("repeats", {"near_duplicates": 90, "train_distinct": 940}, "repeats count as one image, which leaves 940 "
         "distinct images", ("old_version",)),
        ("held_out_left_out", {"near_duplicates_held_out": 1}, "1 held-out image was excluded", ()),
        ("refused", {"blind_auc": 0.9, "blind_auc_lo": 0.87, "blind_auc_hi": 0.93, "train_pref_excess": 0.2},
         "The preference for training images cannot be told: training and held-out images differ without the model",
         ("lean", "membership", "nothing_found")),
        ("membership", {"mia_auc_025": 0.7, "mia_auc_025_lo": 0.66, "mia_auc_025_hi": 0.74},
         "distinguishes training from held-out images: AUROC 0.700 [0.660, 0.740]", ()),
        ("inversion", {"dire_auc": 0.7, "dire_auc_lo": 0.6, "dire_auc_hi": 0.8},
         "The error of inversion is smaller on training images than on held-out images: AUROC 0.700", ()),
        ("basins", {"basin_excess": 0.4, "basin_excess_lo": 0.3, "basin_excess_hi": 0.5},
         "returns to training images more often than to held-out images: the difference of the shares is 0.400", ()),
        ("canaries", {"canary_eps_group": 1.5, "canary_eps_row": 0.4, "canary_eps_most": 1.9, "canary_right": 80,
         "canary_guesses": 90}, "show an epsilon of at least 1.50 for all rows of one together, and 0.400 for one", ()),
        ("one_run", {"eps_least": 1.67, "eps_most": 4.08, "eps_right": 159, "eps_guesses": 179},
         "an epsilon of at least 1.67 for one image, with 95 % confidence: 159 of 179 guesses", ()),
        ("made_again", {"clique_frac": 0.1, "clique_frac_lo": 0.07, "clique_frac_hi": 0.14},
         "10.0 % [7.00 %, 14.0 %] of the samples are nearly the same as another sample", ()),
        ("first_copy", COPIES, "The first copy is sample 2 of 300: on average one in 3.00 samples [2.56, 3.58] is one.",
         ("nothing_found",)),
        ("in_a_space", {"space_near": 0.1, "space_near_control": 0.09, "space_features": "pca"}, "In the feature space "
         "pca no more copies than among held-out images are found: space_near 10.0 %, held-out images 9.00 %.", ()),
        ("pulled", {"cfg_mag_auc": 0.9, "cfg_mag_auc_lo": 0.8, "cfg_mag_auc_hi": 0.95}, "pulls copies more than", ()),
        ("reproduced", {"rp_uncopied": 0.5, "rp_uncopied_lo": 0.4, "rp_baseline": 0.1, "rp_baseline_hi": 0.2},
         "(shuffled pairs: 10.0 %)", ()),
        ("nothing_found", {"mem_power": 0.45}, "weak copies and copies that are changed more", ()),
    ],
)  # fmt: skip
def test_a_rule_says_what_its_numbers_carry(
    rule: str, changed: dict[str, Any], says: str, silent: tuple[str, ...]
) -> None:
    found = told(**changed)
    assert says in found[rule]
    assert not set(silent) & set(found)


def test_every_rule_has_a_test() -> None:
    marks = test_a_rule_says_what_its_numbers_carry.pytestmark  # type: ignore[attr-defined]
    assert {case[0] for mark in marks for case in mark.args[1]} == set(samples.RULES)


def test_a_copier_that_the_rule_does_not_see_makes_it_blind() -> None:
    found = told({"mem_frac": 0.1})
    assert "it calls only 10.0 % of the training images themselves copies" in found["ratio_is_blind"]
    assert not {"ratio_silent", "ratio_copies", "nothing_found"} & set(found)


def test_parts_are_not_said_of_copies_of_whole_images() -> None:
    tiles = {"tile_copy_frac": 0.34, "tile_copy_frac_lo": 0.29, "tile_copy_frac_hi": 0.4}
    assert "copies_by_parts" not in told(**COPIES, **tiles)


def test_what_makes_other_numbers_say_little_comes_first() -> None:
    found = list(told(**COPIES, sample_distinct=3, mem_identical=100))
    assert found[:3] == ["few_distinct", "identical", "ratio_copies"]
    few = told(**COPIES, sample_distinct=3)["ratio_copies"]
    assert few.endswith("by the ratio rule, of 30 distinct training images; of the held-out images, 0 % are.")


def test_a_row_of_an_older_version_is_still_told() -> None:
    """Rows of 0.1.0 have fewer columns; nan stands where a table has a column that the row has not."""
    old = {name: value for name, value in CLEAN.items() if name.startswith(("mem_frac", "mem_power", "train_pref_exc"))}
    found = dict(samples.rules_that_speak(old | {"train_distinct": float("nan"), "near_duplicates": pd.NA}))
    assert list(found) == ["ratio_silent", "lean", "nothing_found"]
    assert "copier" not in found["lean"]


def test_an_empty_row_says_nothing() -> None:
    assert findings.of_samples({}) == []


# Of a study ----------------------------------------------------------------------------------------------------------


def of_study(**columns: Any) -> dict[str, str]:
    """Rule -> sentence of a small made-up study, with columns of its rows replaced."""
    base = made_up({"data.size": [16, 64], "train.steps": [100, 1000]})
    rows = base.rows.assign(**columns)
    shares = {name: ColumnSpec("share") for name in columns if name not in base.columns}
    read = curves.read(type(base)(**{**vars(base), "rows": rows, "columns": {**base.columns, **shares}}))
    return {name: said for name, rule in study.RULES.items() if (said := rule(read, read.last))}


def test_a_study_says_first_where_the_rule_is_blind() -> None:
    found = of_study(mem_power=0.2, mem_frac_control=0.11, mem_frac_control_hi=0.01, mem_frac_lo=0.0)
    assert list(found)[:2] == ["gap", "blind"], "no result of the ratio rule is stated where it is blind"
    assert "in 2 of 2 settings it calls held-out images copies (up to 11.0 %)" in found["blind"]
    assert "in 2 of 2 settings it catches less than half of copies with noise of 0.1 a pixel (20.0 %)" in found["blind"]
    assert "blind" not in of_study(mem_power=0.9, mem_frac_control=0.0)


def test_a_study_counts_the_settings_that_lean_by_the_interval_over_seeds() -> None:
    rows = made_up({"data.size": [16, 64], "train.steps": [100, 1000]}).rows
    values = 0.3 + 0.001 * rows["seed"].fillna(0)
    assert "in 2 of 2 settings (least: train_pref_excess 0.301" in of_study(train_pref_excess=values)["leaning"]
    apart = 0.3 * (rows["seed"].fillna(0) - 1)
    assert of_study(train_pref_excess=apart)["leaning"].endswith("in 0 of 2 settings.")


def test_a_study_tells_repeats_and_old_versions_and_few_distinct_samples() -> None:
    assert "a version that misses copies of them" in of_study(near_duplicates=6)["repeats"]
    assert "repeats count as one image" in of_study(near_duplicates=6, train_distinct=10)["repeats"]
    assert "7 held-out images were excluded" in of_study(near_duplicates_held_out=7)["held_out_left_out"]
    assert "In 6 cells the samples are fewer than 10 distinct images" in of_study(sample_distinct=2)["few_distinct"]


def stopping(planted_study: Study) -> str | None:
    read = curves.read(planted_study)
    return study.RULES["stopping"](read, read.last)


def test_a_study_tells_where_the_held_out_loss_is_least_and_no_more() -> None:
    assert stopping(planted(valley(400, 400, 400))) == (
        "In 2 of 2 settings the weighted held-out loss is least inside the run in every seed, at step 400; there "
        "mem_frac is 0.0400, and at their last snapshots 0.160."
    )
    by_seed = stopping(planted(lambda sigma, step, seed: abs(step - (200, 400, 800)[seed]) + 1.0))
    assert by_seed
    assert "in every seed, at step 200 to 800; there mem_frac is 0.0467, and" in by_seed
    assert stopping(planted(valley(1600, 1600, 1600), seeds=1)) == (
        "In none of 2 settings the weighted held-out loss is least inside the run in the one seed. In 2 it is least at "
        "the last snapshot of a seed: no step is known there."
    )
    first = stopping(planted(valley(100, 100, 100)))
    assert first
    assert first.endswith("In 2 it is least at the first snapshot of a seed: no step is known there.")


def test_every_rule_of_a_study_has_a_test() -> None:
    tests = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    assert all(f'["{name}"]' in tests for name in study.RULES)


# Of unlearning -------------------------------------------------------------------------------------------------------


def of_unlearning(before: float, after: float, retrained: float, seeds: int = 3, **columns: Any) -> str | None:
    """The sentence for three models with such shares of copies among 1,000 samples of each seed."""
    read = curves.read(study_of_unlearning(before, after, retrained, seeds, **columns))
    return study.RULES["unlearnt"](read, read.last)


def test_unlearning_is_told_with_a_model_that_never_saw_the_images_and_no_wider_than_the_interval() -> None:
    sentence = of_unlearning(0.3, 0.02, 0.02)
    assert sentence is not None
    assert re.search(r"^Samples that copy images to be unlearnt: 30.0 % \[2\d.\d %, 3\d.\d %\] before, ", sentence)
    assert re.search(r"2.00 % \[1.\d+ %, \d.\d+ %\] after unlearning, 2.00 % .* of models retrained without", sentence)
    assert "0 % of held-out images; the rule catches 90.0 % of copies of them with noise of 0.1 a pixel." in sentence
    assert re.search(r"do not surely differ: a difference of 0 \[−\d.\d+, \d.\d+\] points\.$", sentence)
    assert "there are more such copies than of retrained models: a difference of 10.0" in of_unlearning(0.3, 0.12, 0.02)
    assert "there are fewer such copies than of retrained" in of_unlearning(0.3, 0.004, 0.1)
    for within in (0.023, 0.017):
        assert "do not surely differ" in of_unlearning(0.3, within, 0.02)


def test_a_model_that_is_trained_on_with_the_kept_images_has_seen_the_others() -> None:
    """It is one that unlearns; without a start it is the one that never saw them."""
    base = made_up({"data.retrain": [False, True], "train.start.data.retrain": [None, False]})
    seen, begun = base.rows["data.retrain"], base.rows["train.start.data.retrain"].notna()
    rows = base.rows[seen.astype(bool) | ~begun]
    rows = rows.assign(**{"objective.name": "edm"})
    share = {(False, False): 0.3, (True, True): 0.2, (True, False): 0.01}  # retrained, begun
    pairs = zip(rows["data.retrain"] == True, rows["train.start.data.retrain"] == False, strict=True)  # noqa: E712
    copies = pd.Series([share.get(pair, 0.0) for pair in pairs], rows.index) + rows["seed"].fillna(0) / 1000
    ends = {"unlearnt_copies_lo": copies - 0.005, "unlearnt_copies_hi": copies + 0.005}
    rows = rows.assign(unlearnt_copies=copies, **ends)
    added = {"unlearnt_copies": ColumnSpec("share")}
    read = curves.read(type(base)(**{**vars(base), "rows": rows, "columns": {**base.columns, **added}}))
    sentence = study.RULES["unlearnt"](read, read.last)
    assert re.match(
        r"Samples that copy images to be unlearnt: 30.1 % .* before, 20.1 % .*, 1.10 % .* of models", sentence
    )
    assert "there are more such copies than of retrained models: a difference of 19.0" in sentence


def test_nothing_follows_of_unlearning_where_nothing_was_learnt_or_one_seed_was_trained() -> None:
    assert of_unlearning(0.02, 0.02, 0.02).endswith("do not surely copy them more than the retrained ones, so that "
                                                    "nothing follows.")  # fmt: skip
    assert of_unlearning(0.3, 0.02, 0.02, seeds=1).endswith("Without an interval over seeds nothing follows.")
    assert of_unlearning(0.3, 0.02, 0.02, **{"objective.name": "edm"}) is None
    assert of_unlearning(0.3, 0.02, 0.02, **{"data.retrain": False}) is None
