"""The step of the least held-out loss: planted losses whose least is known, at each level and over all of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import synthetic
from losses import SIGMAS, STEPS, planted, untrained, valley
from matplotlib import pyplot

from difgen_cli import report
from difgen_cli.report import Study
from difgen_cli.report.figures import noise_map
from difgen_cli.report.study import curves, least_loss


def read(study: Study) -> least_loss.LeastLoss:
    return curves.read(study).least_loss


def test_the_planted_step_of_each_level_and_what_stands_there() -> None:
    tables = read(planted(valley(200, 400, 800)))
    runs = tables.runs
    assert len(runs) == 2 * 3 * 4
    for level, step in {"0.1": 200, "0.5": 400, "2": 800}.items():
        lines = runs[runs["level"] == level]
        assert (lines["step"] == step).all()
        assert (lines["censored"] == "").all()
        assert lines["mem_frac"].to_numpy() == pytest.approx(step / 10_000)
        assert lines["gap"].to_numpy() == pytest.approx(0.25)
    small = runs[(runs["level"] == "0.5") & (runs["data.size"] == "32")]
    assert small["loss_heldout"].to_numpy() == pytest.approx(0.2 * untrained(0.5))
    over = tables.over_seeds.set_index(["data.size", "level"])
    assert over.loc[("32", "0.1"), ["seeds", "inside", "left", "right"]].tolist() == [3, 3, 0, 0]
    assert over.loc[("128", "2"), ["step_least", "step_most", "mem_frac"]].tolist() == pytest.approx([800, 800, 0.08])


def test_the_weighted_loss_is_that_of_training_integrated_by_hand() -> None:
    """Three levels by the trapezoid rule in ln σ, with the density of σ in training; 1 for an untrained network."""
    place = np.log(SIGMAS)
    density = np.exp(-((place - (-1.2 + np.log(2))) ** 2) / (2 * 1.2**2))
    share = density * np.array([place[1] - place[0], place[2] - place[0], place[2] - place[1]]) / 2
    share /= share.sum()
    losses = {step: [0.2 + 0.1 * k * k, 0.9 - 0.2 * k + 0.05 * k * k, 0.1 + 0.1 * k] for k, step in enumerate(STEPS)}
    lines = read(planted(lambda sigma, step, seed: losses[step][SIGMAS.tolist().index(sigma)])).runs
    weighted = lines[(lines["level"] == "weighted") & (lines["data.size"] == "32")]
    by_hand = [float(share @ np.array(losses[step])) for step in STEPS]
    least = int(np.argmin(by_hand))
    assert 0 < least < len(STEPS) - 1
    assert (weighted["step"] == STEPS[least]).all()
    assert weighted["loss_heldout"].to_numpy() == pytest.approx(by_hand[least])
    like_untrained = read(planted(lambda sigma, step, seed: 1.0 + abs(step - 400))).runs
    of_small = like_untrained[(like_untrained["level"] == "weighted") & (like_untrained["data.size"] == "32")]
    assert of_small["loss_heldout"].to_numpy() == pytest.approx(1.0)


def test_a_least_at_an_end_of_the_run_is_censored() -> None:
    runs = read(planted(valley(100, 400, 1600))).runs.set_index("level")
    assert (runs.loc["0.1", "censored"] == "left").all()
    assert (runs.loc["2", "censored"] == "right").all()
    assert runs.loc[["0.1", "2"], ["step", "loss_heldout", "gap", "mem_frac"]].isna().all().all()
    assert (runs.loc["0.5", "step"] == 400).all()


def test_of_equal_losses_the_first_counts() -> None:
    flat = read(planted(lambda sigma, step, seed: 0.1 if step in (200, 800) else 0.2)).runs
    assert (flat["step"] == 200).all()
    same = read(planted(lambda sigma, step, seed: 0.1)).runs
    assert (same["censored"] == "left").all()


def test_the_gap_of_a_level_at_the_step_of_the_weighted_loss() -> None:
    study = planted(valley(200, 200, 800))
    noise = study.tables["noise"].copy()
    train = noise["split"] == "train"
    noise.loc[train, "loss"] /= 1 + noise.loc[train, "step"] / 1000  # the gap grows with the step
    runs = read(dataclasses.replace(study, tables={"noise": noise})).runs
    stop = float(runs.loc[runs["level"] == "weighted", "step"].iloc[0])
    assert stop == 200
    assert runs["gap_at_weighted"].to_numpy() == pytest.approx(1.25 * (1 + stop / 1000) - 1)
    assert runs.loc[runs["level"] == "2", "gap"].to_numpy() == pytest.approx(1.25 * 1.8 - 1)


def test_seeds_of_which_one_has_no_least_inside_are_not_averaged() -> None:
    """The mean of those that have one would be of seeds that the result chose."""
    tables = read(planted(lambda sigma, step, seed: abs(step - (400 if seed else 1600)) + 1.0))
    over = tables.over_seeds[tables.over_seeds["level"] == "weighted"]
    assert over[["seeds", "inside", "right"]].to_numpy().tolist() == [[3, 2, 1]] * 2
    assert (over["step_least"] == 400).all()
    assert "mem_frac" not in over or over["mem_frac"].isna().all()


def test_the_map_of_the_gap_has_a_line_through_the_known_steps() -> None:
    study = planted(valley(200, 1600, 800))
    read_study = curves.read(study)
    figure, ax = pyplot.subplots()
    levels = read_study.least_loss.over_seeds
    assert noise_map._stops(ax, levels[levels["data.size"] == "32"]) == 2
    np.testing.assert_allclose(ax.lines[-1].get_xdata(), [200, np.nan, 800])
    np.testing.assert_allclose(ax.lines[-1].get_ydata(), SIGMAS)
    pyplot.close(figure)
    (drawn,) = noise_map.draw(read_study)
    assert noise_map.LINE in drawn.caption
    (without,) = noise_map.draw(curves.read(planted(valley(100, 1600, 1600))))
    assert noise_map.LINE not in without.caption


def test_without_steps_losses_or_three_snapshots_there_is_nothing(tmp_path: Path) -> None:
    assert read(synthetic.study({"train.steps": STEPS, "data.size": [32, 128]}, seeds=2)).runs.empty  # no losses
    study = planted(valley(400, 400, 400))
    rows, noise = study.rows, study.tables["noise"]
    few = dataclasses.replace(study, rows=rows[rows["step"].isin([100, 200]) | (rows["kind"] != "model")])
    assert read(few).runs.empty
    report.write(study, tmp_path)
    written = pd.read_csv(tmp_path / "least_loss.csv")
    assert written["level"].astype(str).tolist()[:2] == ["weighted", "0.1"]
    assert len(pd.read_csv(tmp_path / "least_loss_runs.csv")) == 24
    assert "weighted held-out loss is least inside" in (tmp_path / "report.html").read_text(encoding="utf-8")
    report.write(dataclasses.replace(study, tables={"noise": noise.drop(columns="loss")}), tmp_path)
    assert not (tmp_path / "least_loss.csv").exists()
