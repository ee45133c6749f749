"""`difgen forecast`: what it answers for planted onsets, what it refuses, and the rule of each of its sentences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
import synthetic

from difgen_cli.engine.grid.document import GridError
from difgen_cli.report import Study
from difgen_cli.report.findings.onset_forecast import of_forecast
from difgen_cli.report.study import onset_forecast
from difgen_cli.report.study.onset_forecast import OnsetForecast

STEPS = [32 * 2**k for k in range(9)]
SIZES = [16, 32, 64, 128, 256]
AXES: dict[str, list[Any]] = {"data.size": SIZES, "model.width": [64, 256], "train.steps": STEPS}


def planted(axes: dict[str, list[Any]] = AXES, tau: Callable[[pd.DataFrame], Any] | None = None) -> Study:
    """Copying sets in at 50 · N/16 · (width/64)^−½ steps, later by 10 % from seed to seed."""
    study = synthetic.study(axes, seeds=3)
    rows = study.rows.assign(slug=[f"run{k}" for k in range(len(study.rows))])
    rows["trajectory"] = rows["slug"]
    size, width = (pd.to_numeric(rows[name]).to_numpy(float) for name in ("data.size", "model.width"))
    at = 50 * size / 16 * (width / 64) ** -0.5 * 1.1 ** rows["seed"].to_numpy(float) if tau is None else tau(rows)
    copies = pd.to_numeric(rows["step"]).to_numpy(float) >= at
    rows["mem_frac"], rows["mem_frac_lo"] = np.where(copies, 0.5, 0.0), np.where(copies, 0.4, 0.0)
    return replace(study, rows=rows.assign(mem_frac_control_hi=0.01))


@cache
def answer() -> OnsetForecast:
    return onset_forecast.read(planted(), {"data.size": "512", "model.width": "128"}, 0.05)


def test_a_planted_power_law_is_forecast_at_twice_the_largest_size() -> None:
    forecast = answer()
    truth = 50 * 512 / 16 * 2**-0.5 * 1.1
    assert forecast.low < truth < forecast.high
    assert forecast.median == pytest.approx(truth, rel=0.3)
    assert forecast.exponents["data.size"][0] == pytest.approx(1, abs=0.1)
    assert forecast.exponents["model.width"][0] == pytest.approx(-0.5, abs=0.15)
    assert forecast.low < forecast.steps < forecast.median
    assert forecast.steps_confident < forecast.steps
    assert 0.5 < forecast.confidence < 0.95
    assert (forecast.settings, len(forecast.trajectories), forecast.uninformative) == (10, 30, 0)
    assert forecast.outside() == {"data.size": 2.0}


def test_a_smaller_risk_allows_fewer_steps() -> None:
    study, at = planted(), {"data.size": "128", "model.width": "64"}
    steps = [onset_forecast.read(study, at, risk).steps for risk in (0.02, 0.2)]
    assert steps == sorted(steps)
    assert len(set(steps)) == 2


def test_trajectories_are_named_and_censored_ones_counted() -> None:
    def some_never(rows: pd.DataFrame) -> np.ndarray:
        size, seed = rows["data.size"].to_numpy(float), rows["seed"].to_numpy(float)
        return np.where((size == 256) & (seed > 0), np.inf, np.where(size == 16, 1.0, 4 * size))

    forecast = onset_forecast.read(planted({**AXES, "model.width": [64]}, some_never), {"data.size": "256"}, 0.05)
    assert [forecast.censored(kind) for kind in ("left", "", "right")] == [3, 10, 2]
    late = [one for one in forecast.trajectories if one["censored"] == "right"]
    assert {(one["data.size"], one["high"]) for one in late} == {(256.0, None)}
    assert len({one["trajectory"] for one in forecast.trajectories}) == 15
    (sentence,) = [s for s in of_forecast(forecast) if s.startswith("From")]
    assert "10 with the onset between two snapshots, 3 before the first snapshot, 2 not until the last" in sentence
    assert f"({', '.join(one['name'] for one in forecast.trajectories[:3])} and 12 more)" in sentence


WIDE = {"model.width": "64"}


@pytest.mark.parametrize(
    ("axes", "at", "risk", "words"),
    [
        (AXES, {"data.size": "2000", **WIDE}, 0.05, "data.size=2000: .* 16 to 256, a factor of 7.81 away"),
        (AXES, {"data.size": "2", **WIDE}, 0.05, "data.size=2: .* a factor of 8 away, and a forecast reaches a f"),
        (AXES, {"data.size": "512"}, 0.05, "--at: model.width varies .64, 256.; name its value with --at model.width="),
        (AXES, {"data.sise": "512", **WIDE}, 0.05, "--at data.sise: no cell has this setting; did you mean data.size"),
        (AXES, {"data.size": "many", **WIDE}, 0.05, "--at data.size=many: write a number above 0"),
        (AXES, {"data.size": "-1", **WIDE}, 0.05, "--at data.size=-1: write a number above 0"),
        (AXES, {"data.size": "512", **WIDE}, 1.0, "--risk 1: write a probability above 0 and below 1"),
        ({**AXES, "model.width": [64]}, {"data.size": "512", "model.width": "128"}, 0.05, "does not vary .* .64."),
        ({**AXES, "data.size": SIZES[:3], "model.width": [64]}, {"data.size": "64"}, 0.05, "snapshots: 3, and"),
        ({**AXES, "condition.name": ["none", "kmeans"]}, {"data.size": "512", **WIDE}, 0.05,
         "condition.name differs .none, kmeans., and not all are numbers .* --only condition.name=none"),
        ({**AXES, "guide.weight": [1.0, 2.0]}, {"data.size": "512", **WIDE}, 0.05,
         "guide.weight differs .1, 2., and the trainings are the same; choose one with --only guide.weight=1"),
    ],
)  # fmt: skip
def test_what_the_data_do_not_answer_is_refused_with_what_to_do(
    axes: dict[str, list[Any]], at: dict[str, str], risk: float, words: str
) -> None:
    with pytest.raises(GridError, match=words):
        onset_forecast.read(planted(axes), at, risk)


def test_a_study_without_an_onset_or_without_the_measure_is_refused() -> None:
    at = {"data.size": "128", "model.width": "64"}
    with pytest.raises(GridError, match=r"snapshots: 0, and 5 are needed .30 trajectories, 30 without an onset"):
        onset_forecast.read(planted(tau=lambda rows: np.full(len(rows), np.inf)), at, 0.05)
    with pytest.raises(GridError, match="no finished cell has mem_frac with its control"):
        onset_forecast.read(replace(study := planted(), rows=study.rows.drop(columns="mem_frac_lo")), at, 0.05)


def test_variables_that_do_not_vary_apart_among_the_onsets_are_refused() -> None:
    def wide_ones_never(rows: pd.DataFrame) -> np.ndarray:
        return np.where(rows["model.width"].to_numpy(float) > 64, np.inf, 4 * rows["data.size"].to_numpy(float))

    with pytest.raises(GridError, match=r"data.size and model.width do not vary one without the other"):
        onset_forecast.read(planted(tau=wide_ones_never), {"data.size": "128", "model.width": "64"}, 0.05)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"steps": 0}, "no training is so short that copying has set in with a probability of at most 0.05"),
        ({"steps_confident": 0}, "no training is so short that this has a confidence of 95%"),
        ({"steps": 10}, "That is before the first snapshot"),
        ({"high": 1e6}, "no onset after that was ever seen"),
        ({"at": {"data.size": 128.0, "model.width": 600.0}}, "model.width by a factor of 2.34"),
        ({"at": {"data.size": 300.0, "model.width": 128.0}}, "This lies outside the data"),
        ({"uninformative": 1}, "1 more trajectory says nothing"),
        ({"uninformative": 3}, "3 more trajectories say nothing"),
    ],
)
def test_a_sentence_is_there_only_where_it_holds(change: dict[str, Any], words: str) -> None:
    inside = replace(answer(), at={"data.size": 128.0, "model.width": 128.0}, high=5000.0)
    assert words not in " ".join(of_forecast(inside))
    assert words in " ".join(of_forecast(replace(inside, **change)))


def test_the_numbers_stand_in_the_sentences() -> None:
    forecast = replace(answer(), steps=1234, confidence=0.61, steps_confident=987, low=1111.2, high=2222.4)
    text = " ".join(of_forecast(forecast))
    assert "At data.size 512, model.width 128 one may train for up to 1,234 steps" in text
    assert "that no more than 5.0% of such trainings copy by then is 61%; up to 987 steps it is 95%." in text
    assert "between 1,111 and 2,222 (95 % prediction interval)" in text
    assert "data.size by a factor of 2 (an onset was seen for 16 to 256)" in text
