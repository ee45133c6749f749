"""Which images go first, of dense or of sparse regions: planted answers, brute force, controls, and the sentence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr, t
from shadow_study import planted
from shadow_worlds import Pool

from difgen_cli.report.findings.prototypes import which_first
from difgen_cli.report.study import prototypes
from difgen_cli.report.study.calibrated import Models
from difgen_cli.report.study.curves import Curves
from difgen_cli.report.study.prototypes import (
    PERMUTED,
    RAISED,
    Surroundings,
    mean_rank,
    raised,
    rank_correlation,
    summary,
)


def around(models: Models, spacing: np.ndarray, hits: np.ndarray | None = None) -> Surroundings:
    shape = models.phi.shape
    hits = np.full(shape, np.nan) if hits is None else hits
    return Surroundings(np.broadcast_to(spacing, shape), np.broadcast_to(-spacing, shape), hits)


@pytest.mark.parametrize("sign", [1, -1])
def test_where_sparse_images_alone_decide_how_much_training_raises_the_correlation_is_one(sign: int) -> None:
    """Nothing else varies but the levels of models, which are means over the images that each was not trained on."""
    models = Pool(leak=0, unequal=0, noise=0).models(1)
    spacing = np.random.default_rng(2).uniform(1, 2, 600)
    line = summary(replace(models, phi=models.phi + sign * spacing * models.trained), around(models, spacing))
    assert line[RAISED] == pytest.approx(sign, abs=2e-3)
    assert line["train_distance_rho"] == pytest.approx(-sign, abs=2e-3)
    assert line["seeds"] == 3
    assert line["images"] == pytest.approx(200 * (1 - (1 / 3) ** 2), abs=12)
    assert abs(line[PERMUTED]) < 0.1
    assert prototypes.COPIED not in line, "samples were not compared"


def test_where_training_raises_all_images_alike_there_is_no_order() -> None:
    spacing = np.random.default_rng(3).uniform(1, 2, 600)
    pool = Pool(leak=0.5, unequal=0)
    line = summary(pool.models(4), around(pool.models(4), spacing))
    assert line[f"{RAISED}_lo"] < 0 < line[f"{RAISED}_hi"]
    assert line[f"{RAISED}_hi"] - line[f"{RAISED}_lo"] < 0.4
    raising = pool.models(4)
    raising = replace(raising, phi=raising.phi + spacing * raising.trained)
    line = summary(raising, around(raising, spacing))
    assert line[f"{RAISED}_lo"] > 0.2
    assert abs(line[PERMUTED]) < 0.1, "the order is not of the images alone"


def test_the_raise_is_the_mean_over_models_that_were_not_trained_on_an_image() -> None:
    models = Pool(images=30, size=12, count=4, held_out=0).models(5)
    level = [phi[~own].mean() for phi, own in zip(models.phi, models.trained, strict=True)]
    values, counted = raised(models, 0, models.trained)
    for x in range(30):
        out = [models.phi[k, x] - level[k] for k in (1, 2, 3) if not models.trained[k, x]]
        assert counted[x] == (bool(out) and models.trained[0, x])
        if out:
            assert values[x] == pytest.approx(models.phi[0, x] - level[0] - np.mean(out), abs=1e-12)


def test_copies_are_counted_where_twenty_images_are_copied() -> None:
    models = Pool().models(6)
    spacing = np.random.default_rng(7).uniform(1, 2, 600)
    hits = np.where(models.trained & (spacing > 1.5), 1.0, 0.0)
    line = summary(models, around(models, spacing, hits))
    own = models.trained[0]
    assert line[prototypes.COPIED] == pytest.approx(spearmanr(hits[0][own], spacing[own])[0], abs=0.05)
    few = np.where(np.cumsum(hits, axis=1) <= 19, hits, 0.0)
    assert prototypes.COPIED not in summary(models, around(models, spacing, few))


def test_the_correlation_is_spearmans_and_nothing_for_constants() -> None:
    chance = np.random.default_rng(8)
    one, other = chance.integers(0, 9, 50).astype(float), chance.standard_normal(50)
    assert rank_correlation(one, other) == pytest.approx(spearmanr(one, other)[0], abs=1e-12)
    assert np.isnan(rank_correlation(np.ones(50), other))
    assert np.isnan(rank_correlation(one[:2], other[:2]))


def test_the_interval_holds_images_and_what_seeds_differ_by_beyond_them() -> None:
    left_out = np.array([0.30, 0.31, 0.32, 0.29, 0.28])
    alike = mean_rank(np.full(3, 0.3), np.full(3, 100), left_out)
    half = t(4).ppf(0.975) * np.sqrt(4 / 5 * ((left_out - 0.3) ** 2).sum())
    assert alike == pytest.approx((0.3, 0.3 - half, 0.3 + half), abs=1e-12)
    differ = np.array([0.0, 0.3, 0.6])
    mean, lower, _ = mean_rank(differ, np.full(3, 10**9), np.full(5, 0.3))
    assert (mean, lower) == pytest.approx((0.3, max(0.3 - t(2).ppf(0.975) * 0.3 / np.sqrt(3), -1)), abs=1e-6)


# The study -----------------------------------------------------------------------------------------------------------

SMALL = Pool(images=120, size=50, held_out=0)
ALONG = {"model.width": [16], "train.steps": [100, 200]}


def told(study: Curves, value: float, lower: float, upper: float) -> str:
    """The sentence, where all lines have this correlation; nothing for none."""
    ends = {RAISED: value, f"{RAISED}_lo": lower, f"{RAISED}_hi": upper, PERMUTED: -0.012}
    study.__dict__["prototypes"] = study.prototypes.assign(**ends)
    return which_first(study, study.last) or ""


def test_a_study_has_a_line_for_each_setting_and_step(tmp_path: Path) -> None:
    lines = prototypes.read(planted(SMALL))
    assert len(lines) == 4
    assert (lines["seeds"] == 3).all()
    assert [file.name for file in prototypes.write(lines, tmp_path)] == ["prototypes.csv"]
    assert prototypes.write(lines.head(0), tmp_path) == []
    assert prototypes.read(planted(Pool(count=1))).empty


def test_the_sentence_reads_the_first_step_that_tells_and_says_sparse_dense_or_neither() -> None:
    study = planted(SMALL, ALONG)
    sparse = told(study, 0.3, 0.2, 0.4)
    assert sparse.startswith("Images in sparse regions of the pool are exposed first: where training first shows in ")
    assert ", at step 100, how much training raises an image's score has a rank correlation of 0.300 [0.200" in sparse
    assert ", and at step 200 of 0.300 [0.200, 0.400]; with" in sparse
    assert told(study, -0.3, -0.4, -0.2).startswith("Images in dense regions of the pool are exposed first")
    neither = told(study, 0.0, -0.1, 0.1)
    assert neither.startswith("Images neither in dense nor in sparse regions are shown to be exposed first")
    assert sparse.endswith("; with all training subsets drawn again it is −0.012.")
    over_seeds = study.calibrated.over_seeds
    late = np.where(over_seeds["train.steps"].astype(str) == "100", 0.4, 0.6)
    study.__dict__["calibrated"] = replace(study.calibrated, over_seeds=over_seeds.assign(cal_auc_lo=late))
    assert "at step 200, how much" in told(study, 0.3, 0.2, 0.4)
    assert "and at step" not in told(study, 0.3, 0.2, 0.4), "it is the last"
    study.__dict__["calibrated"] = replace(study.calibrated, over_seeds=over_seeds.assign(cal_auc_lo=0.4))
    assert told(study, 0.3, 0.2, 0.4) == ""


def test_of_several_settings_the_sentence_counts_them() -> None:
    sentence = told(planted(SMALL, {"model.width": [16, 64]}), 0.3, 0.2, 0.4)
    assert "exposed first in 2 of 2 settings, those in dense regions in none" in sentence
    assert "a rank correlation of 0.300 with the distance" in sentence
