"""The sentences with which a report begins: each appears where its numbers carry it, and disappears where not."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from random_studies import COLUMNS, LEVELS, wilson
from synthetic import pictures

from difgen_cli.engine.columns import ColumnSpec
from difgen_cli.report import Study
from difgen_cli.report.findings import study as rules
from difgen_cli.report.findings import undecided
from difgen_cli.report.study import curves, effects, largest_gap, seeds, verdicts

N, HELD_OUT = 400, 300
SIZES = {"data.size": [16, 64, 256, 1024], "train.steps": [100, 400, 1600]}
Share = Callable[[dict[str, Any], int], float]  # the settings of a cell, and its seed -> share of copies


def planted(axes: dict[str, list[Any]], share: Share, count: int = 3, **columns: Any) -> Study:
    """A finished study with such shares, each of 400 samples; no held-out image of 300 is called a copy."""
    lines = []
    for point in itertools.product(*axes.values()):
        for seed in range(count):
            at = {name: levels[0] for name, levels in LEVELS.items()} | dict(zip(axes, point, strict=True))
            copied = round(share(at, seed) * N)
            trajectory = f"{[v for k, v in at.items() if k != 'train.steps']}-{seed}"
            ends = dict(zip(("mem_frac_lo", "mem_frac_hi"), wilson(copied, N), strict=True))
            lines.append(
                at
                | ends
                | {"kind": "model", "state": "done", "cause": None, "seed": seed, "step": at["train.steps"],
                   "trajectory": trajectory, "cell": f"{trajectory}-{at['train.steps']}", "sample.count": N,
                   "mem_frac": copied / N, "mem_power": 0.9, "mem_frac_control": 0.0, "mem_frac_control_lo": 0.0,
                   "mem_frac_control_hi": wilson(0, HELD_OUT)[1]}
            )  # fmt: skip
    rows = pd.DataFrame(lines).assign(**columns)
    declared = {name: spec for name, spec in COLUMNS.items() if name in rows}
    return Study("planted", "What is so?", axes, count, rows, {}, declared, pictures, {})


def sentences(study: Study) -> dict[str, str]:
    return dict(rules.rules_that_speak(curves.read(study)))


def sets_in(at: dict[str, Any], _: int = 0) -> float:
    """Copying sets in at 100 steps for 16 images, at 400 for 64, at 1,600 for 256, and later for 1,024."""
    return 0.5 if at["train.steps"] >= 100 * at["data.size"] / 16 else 0.0


# Where copying sets in -----------------------------------------------------------------------------------------------


def test_where_models_copy_and_where_not_is_told_by_the_number_of_images() -> None:
    assert sentences(planted(SIZES, sets_in))["copying"] == (
        "By the last snapshots models copy at N ≤ 256: the ratio rule finds more copies than among held-out images in "
        "every seed (mem_frac 0.500 [0.464, 0.536]; intervals hold for all 4 settings together). It finds no more than "
        "among held-out images at N = 1024, in any seed: there it would catch 90.0 % or more of copies with noise of "
        "0.1 a pixel."
    )
    wide = {**SIZES, "model.width": [64, 256]}
    some = sentences(planted(wide, lambda at, seed: sets_in(at) * (at["model.width"] > 64 or at["data.size"] < 64)))
    assert "models copy at N = 16 and in 2 of 4 settings at N = 64 and 256: the" in some["copying"]
    assert (
        "no more than among held-out images at N = 1024 and in 2 of 4 settings at N = 64 and 256, " in some["copying"]
    )
    none = sentences(planted(SIZES, lambda at, seed: 0.0))["copying"]
    assert none.startswith(
        "At the last snapshots the ratio rule finds no more copies than among held-out images at N ="
    )
    assert "copying" not in sentences(planted(SIZES, sets_in, mem_frac=np.nan))


def test_nothing_is_told_of_settings_where_the_rule_is_blind_or_weak_or_samples_are_few() -> None:
    def spoilt(**values: float) -> dict[str, str]:
        base = planted(SIZES, sets_in)
        large = base.rows["data.size"] == 1024
        changed = {
            name: base.rows.get(name, pd.Series(400.0, large.index)).mask(large, v) for name, v in values.items()
        }
        return sentences(dataclasses.replace(base, rows=base.rows.assign(**changed)))

    assert "1024" in spoilt(mem_power=0.6)["copying"]
    weak = spoilt(mem_power=0.3)  # one number in every sentence
    assert "copies with noise of 0.1 a pixel (30.0 %)" in weak["blind"]
    assert "the rule catches only 30.0 % of copies" in weak["undecided"]
    base = planted(SIZES, lambda at, seed: 0.0)
    powers = base.rows["data.size"].map({16: 0.9, 64: 0.9, 256: 0.1, 1024: 0.3})
    weaker = sentences(dataclasses.replace(base, rows=base.rows.assign(mem_power=powers)))
    assert "in 2 of 4 settings it catches less than half of copies" in weaker["blind"]
    assert "(10.0 % to 30.0 %)" in weaker["blind"]
    assert "the rule catches only 10.0 % to 30.0 % of copies" in weaker["undecided"]
    for values in ({"mem_power": 0.3}, {"mem_power": np.nan}, {"mem_frac_control": 0.2}, {"sample_distinct": 3.0}):
        found = spoilt(**values)
        assert "1024" not in found["copying"]
        assert "whether samples are copies at N = 1024: " in found["undecided"]


def test_what_holds_for_many_settings_at_once_needs_more_than_what_holds_for_one() -> None:
    """12 of 400 against 0 of 300: Wilson's intervals do not overlap at 95 %, and do for one of 40 (99.9 %)."""
    share = 12 / 400
    assert wilson(12, N)[0] > wilson(0, HELD_OUT)[1]
    assert "models copy" in sentences(planted({}, lambda at, seed: share, count=1))["copying"]
    many = {"data.size": list(range(16, 56))}
    found = sentences(planted(many, lambda at, seed: share if at["data.size"] == 20 else 0.0, count=1))
    assert "models copy" not in found["copying"]


def test_an_interval_of_one_among_many_is_a_bonferroni_interval() -> None:
    """Known answer: Wilson's at the quantile of 1 − 0.025/20, by hand: z = 3.0233."""
    read = [float(end[0]) for end in seeds.score_interval(*map(np.array, ([0.5], [0.0], [3.0], [1200.0])), among=20)]
    u = 3.02334144**2 / 1200
    half = np.sqrt(u / 4 + u * u / 4) / (1 + u)
    assert read == pytest.approx([0.5 - half, 0.5 + half], abs=1e-6)


# The slope, the axes, the gap ----------------------------------------------------------------------------------------


def test_the_slope_of_the_onset_is_told_with_its_interval_and_the_sizes_it_is_over() -> None:
    axes = {"data.size": [16, 64, 256], "train.steps": [50, 100, 200, 400, 800, 1600, 3200]}
    found = sentences(planted(axes, sets_in))["slope"]
    match = re.search(r"as N\^([\d.]+) \[([\d.]+), ([\d.]+)\] \(over N = 16 to 256, 3 seeds\)\.$", found)
    assert match
    assert float(match[1]) == pytest.approx(1.0, abs=0.01)  # τ = 100 · N / 16
    assert float(match[2]) < 1 < float(match[3])
    assert "slope" not in sentences(planted(axes, sets_in, count=1)), "one seed has no interval"
    assert "slope" not in sentences(planted(axes, lambda at, seed: 0.0))


def test_what_an_axis_does_is_paired_by_seed() -> None:
    """Seeds differ by 0.3, the effect of the width is 0.1 in each: unpaired it would be lost."""
    axes = {"model.width": [64, 256]}

    def share(at: dict[str, Any], seed: int) -> float:
        return 0.2 + 0.3 * seed + 0.1 * (at["model.width"] == 256) + 0.01 * (seed == 1) * (at["model.width"] == 256)

    found = sentences(planted(axes, share))["effects"]
    assert re.search(r"width 256 against width 64 raises mem_frac \(0.10\d+ \[0.0\d+, 0.1\d+\]\) \(3 seeds\)", found)
    assert "lowers" in sentences(planted(axes, lambda at, seed: 0.9 - share(at, seed) / 2))["effects"]
    flat = sentences(planted(axes, lambda at, seed: 0.3))
    assert "width 256 against width 64 does not surely change mem_frac (0 [" in flat["effects"]
    assert "effects" not in sentences(planted(axes, share, count=1))


def test_how_a_metric_measures_is_no_axis_of_models() -> None:
    """A space of features changes no model: it is neither compared nor the place where models copy."""
    axes = {"score.ood.features": ["pca", "pixels"], "model.width": [64, 256]}
    spoken = sentences(planted(axes, lambda at, seed: 0.5 * (at["model.width"] == 256)))
    assert "width 256 against width 64 raises mem_frac" in spoken["effects"]
    assert "models copy at width 256: " in spoken["copying"]
    assert "space" not in spoken["effects"] + spoken["copying"]
    assert "effects" not in sentences(planted({"score.ood.features": ["pca", "pixels"]}, lambda at, seed: 0.5))


def test_seeds_are_compared_over_the_same_settings_and_steps() -> None:
    """A seed that lacks a setting would bring what the others have there into the comparison of seeds."""
    axes = {"model.width": [64, 256], "data.size": [16, 64]}
    effect_of = {16: 0.3, 64: 0.1}
    study = planted(axes, lambda at, seed: 0.2 + effect_of[at["data.size"]] * (at["model.width"] == 256))
    rows = study.rows.copy()
    gone = (rows["seed"] == 0) & (rows["data.size"] == 16) & (rows["model.width"] == 64)
    rows.loc[gone, "state"] = "missing"
    (effect, *_) = effects.read(curves.read(dataclasses.replace(study, rows=rows)))
    assert (effect.settings, effect.seeds) == (1, 3)
    assert effect.mean == pytest.approx(0.1)


def gaps(height: Callable[[int, float], float], count: int = 3) -> Study:
    """A study of one setting with log(1 + gap) at 16 noise levels for each seed."""
    study = planted({}, lambda at, seed: 0.5, count)
    lines = [
        {"cell": row["cell"], "kind": "model", "seed": row["seed"], "step": row["step"], "sigma_rel": sigma,
         "sigma": sigma, "split": "train", "gap": np.expm1(height(row["seed"], sigma)),
         "gap_lo": np.expm1(height(row["seed"], sigma) - 0.1), "gap_hi": np.expm1(height(row["seed"], sigma) + 0.1)}
        for row in study.rows.to_dict("records") for sigma in np.geomspace(0.02, 20, 16)
    ]  # fmt: skip
    return dataclasses.replace(study, tables={"noise": pd.DataFrame(lines)})


def test_the_largest_gap_is_told_with_its_place_and_only_above_zero() -> None:
    def height(seed: int, sigma: float) -> float:
        return 1 + 0.01 * seed - abs(np.log(sigma / 0.5))

    top = 1 - abs(np.log(0.50238 / 0.5))
    half = 12.7062 * 0.01 / 2  # t of the second and the third seed
    expected = [f"{np.expm1(top + 0.015 + by):.2f}" for by in (0, -half, half)]
    assert sentences(gaps(height))["gap"] == (
        "The gap between the losses of held-out and training images is largest at σ/σ_d = 0.502 by the first seed, of "
        f"16 places; there it is {expected[0]} [{expected[1]}, {expected[2]}] times the loss of training images by the "
        "other 2 seeds."
    )
    assert "gap" not in sentences(gaps(lambda seed, sigma: height(seed, sigma) - 1.1))
    assert "images, widened for the choice." in sentences(gaps(height, count=1))["gap"]


def test_the_largest_of_many_gaps_of_pure_chance_is_not_told() -> None:
    """Known answer: without any gap an interval of the largest is above 0 in 2.5 % of studies, not in nearly all."""
    rng = np.random.default_rng(0)
    above, naive = [], []
    for _ in range(2000):
        chance = rng.normal(0, 0.1, (16, 4))
        _, low, _ = seeds.mean_interval(largest_gap.chosen_and_read(chance)[1])
        above.append(low > 0)
        naive.append(chance.mean(axis=1).max() > 1.96 * 0.1 / 2)
    assert np.mean(above) == pytest.approx(0.025, abs=0.012)
    assert np.mean(naive) > 0.3


# Controls, what is open, what would settle it ------------------------------------------------------------------------


def test_controls_and_power_are_told_where_the_rule_is_reliable_everywhere() -> None:
    assert sentences(planted(SIZES, sets_in))["controls"] == (
        "Controls: the ratio rule calls at most 0 % of held-out images copies, and would catch 90.0 % or more of "
        "copies with noise of 0.1 a pixel (least at N = 16)."
    )
    blind = sentences(planted(SIZES, sets_in, mem_power=0.2))
    assert ("controls" in blind, "blind" in blind) == (False, True)


def test_sizes_between_and_longer_training_are_what_would_settle_where_copying_stops() -> None:
    found = sentences(planted(SIZES, sets_in))
    assert "(1) where between N = 256 and 1024 copying stops: no size between was trained;" in found["undecided"]
    assert "(2) whether copying sets in later at N = 1024: training ended at step 1,600" in found["undecided"]
    assert "(3) how the step at which copying sets in grows with N: at N = 16 it is there at the" in found["undecided"]
    # one size of three seeds and snapshots; two later snapshots of three trainings, and two earlier ones of three
    assert found["settle"] == (
        "21 new cells in 9 trainings would settle (1), (2) and (3): N = 512; snapshots at step 25 and 50 at N up to "
        "16; snapshots at step 3200 and 6400 at N = 1024; `difgen report --settle FILE` writes them as a grid that "
        "keeps what there is."
    )
    close = {"data.size": [16, 20], "train.steps": [100]}
    told = sentences(planted(close, lambda at, seed: 0.5 * (at["data.size"] == 16)))
    assert "where between" not in told.get("undecided", "")
    assert "settle" not in sentences(planted({"data.size": [16, 64]}, lambda at, seed: 0.5))


def test_what_is_missing_or_failed_is_told_first() -> None:
    study = planted(SIZES, sets_in)
    state = ["missing"] * 3 + ["failed"] * 2 + ["done"] * (len(study.rows) - 5)
    found = sentences(dataclasses.replace(study, rows=study.rows.assign(state=state)))["undecided"]
    assert found.startswith(
        "It is not known (1) what the missing cells show: 3 of 36 cells; run the sweep again; (2) what the failed "
        "cells show: 2 of 36 cells; sweep again with --retry failed;"
    )


def test_what_no_round_of_a_refined_axis_asked_for_is_not_missing() -> None:
    study = planted(SIZES, sets_in)
    state = ["not needed"] * 4 + ["missing"] * 2 + ["done"] * (len(study.rows) - 6)
    some = sentences(dataclasses.replace(study, rows=study.rows.assign(state=state)))["undecided"]
    assert some.startswith("It is not known (1) what the missing cells show: 2 of 32 cells; run the sweep again;")
    state = ["not needed"] * 6 + state[6:]
    none = sentences(dataclasses.replace(study, rows=study.rows.assign(state=state))).get("undecided", "")
    assert "missing cells" not in none


def test_one_seed_asks_for_three_and_an_open_effect_for_as_many_as_its_power_needs() -> None:
    one = sentences(planted(SIZES, sets_in, count=1))
    assert "how much another subset or initialisation would differ: there is one seed" in one["undecided"]
    assert "; 3 seeds; `difgen" in one["settle"]
    assert re.match(r"\d+ new cells in \d+ trainings would settle", one["settle"])
    closed_form = planted({"data.size": [16, 64]}, lambda at, seed: 0.0, count=1)
    rows = closed_form.rows.drop(columns="train.steps").assign(step=np.nan)
    none_trained = sentences(dataclasses.replace(closed_form, rows=rows))
    assert "how much another subset would differ: there is one seed" in none_trained["undecided"]
    assert none_trained["settle"].startswith("4 new cells would settle")
    whole = planted(SIZES, sets_in, count=1)
    some = dataclasses.replace(whole, rows=whole.rows.iloc[1:].reset_index(drop=True))  # one that a grid skips
    assert re.match(r"About \d+ new cells in \d+ trainings would settle", sentences(some)["settle"])

    def share(at: dict[str, Any], seed: int) -> float:
        return 0.4 + (at["model.width"] == 256) * (0.12, 0.02, 0.22)[seed]

    none_left = sentences(planted({"model.width": [64, 256]}, lambda at, seed: 0.4))
    assert "changes mem_frac" not in none_left.get("undecided", ""), "0 ± 0.04 is an answer"
    open_effect = sentences(planted({"model.width": [64, 256]}, share))
    assert re.search(r"whether width 256 against width 64 changes mem_frac: 0.120 \[−0.1\d+, 0.3\d+\] over 3 seeds; "
                     r"a change of this size would show with \d+ in 80.0 % of studies",
                     open_effect["undecided"])  # fmt: skip
    assert re.search(r": (\d+) seeds; `difgen", open_effect["settle"])


def test_seeds_that_disagree_ask_for_more_samples_or_more_seeds() -> None:
    barely = {0: 0.5, 1: 0.5, 2: 0.02}
    asked = undecided.questions(curves.read(planted({}, lambda at, seed: barely[seed])))
    (differ,) = [one for one in asked if one.words.startswith("whether models copy")]
    assert differ.extension.samples == 3200
    clear = {0: 0.5, 1: 0.5, 2: 0.0}
    asked = undecided.questions(curves.read(planted({}, lambda at, seed: clear[seed])))
    (differ,) = [one for one in asked if one.words.startswith("whether models copy")]
    assert (differ.extension.samples, differ.extension.seeds) == (0, 6)


# Order ----------------------------------------------------------------------------------------------------------------


def test_findings_come_in_one_order_and_only_the_first_stand_above() -> None:
    written = [name for name, _ in rules.rules_that_speak(curves.read(planted(SIZES, sets_in)))]
    order: Sequence[str] = list(rules.RULES)
    assert written == sorted(written, key=order.index)
    assert written[0] == "copying"
    made_for = ["unlearnt", "forked", "copied_canaries", "canaries", "one_run", "prototypes"]  # what a grid may ask
    assert order[1:7] == made_for
    of_all_grids = [name for name in order if name not in made_for]
    assert of_all_grids[:4] == ["copying", "slope", "effects", "gap"]
    assert of_all_grids.index("settle") < rules.FIRST + 2, "blind and controls exclude one another; refused is rare"


def test_a_setting_is_final_where_its_last_planned_step_is_done() -> None:
    study = planted(SIZES, sets_in)
    late = (study.rows["step"] == 1600) & (study.rows["data.size"] == 64)
    rows = study.rows.assign(state=study.rows["state"].mask(late, "missing"))
    read = verdicts.read(curves.read(dataclasses.replace(study, rows=rows)))
    assert dict(zip(read["data.size"].astype(str), read["final"], strict=True)) == {
        "16": True, "64": False, "256": True, "1024": True,
    }  # fmt: skip


def test_columns_of_other_studies_do_not_matter() -> None:
    assert "copying" not in sentences(dataclasses.replace(
        planted({}, lambda at, seed: 0.5), columns={"other": ColumnSpec()},
        rows=planted({}, lambda at, seed: 0.5).rows.drop(columns=["mem_frac"]).assign(other=1.0)))  # fmt: skip
