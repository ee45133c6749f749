"""Sample efficiency: planted curves whose ratio is known, censored runs, and the sentence and figure made of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import synthetic

from difgen_cli import report
from difgen_cli.report import Study
from difgen_cli.report.findings import study as findings
from difgen_cli.report.study import curves, efficiency

STEPS = [100, 200, 400, 800, 1600]
Distance = Callable[[float, int, int], float]  # step, clusters, seed -> Fréchet distance


def planted(distance: Distance, clusters: tuple[int, ...] = (1, 10, 50), seeds: int = 3) -> Study:
    study = synthetic.study({"train.steps": STEPS, "condition.clusters": list(clusters)}, seeds=seeds)
    rows = study.rows.copy()
    model = rows["kind"] == "model"
    rows.loc[model, "fd_test"] = [
        distance(float(line["step"]), int(line["condition.clusters"]), int(line["seed"]))
        for line in rows[model].to_dict("records")
    ]
    return dataclasses.replace(study, rows=rows)


def faster(step: float, clusters: int, seed: int) -> float:
    """1/step; the unconditional one is best at 800 and then turns. 10 clusters learn 3, 50 about 6 times as fast."""
    speed = {1: 1.0, 10: 3.0, 50: 6.0 * (1 + 0.1 * (seed - 1))}[clusters]
    return 10 / (500 if clusters == 1 and step > 800 else speed * step)


def read(study: Study) -> efficiency.Efficiency:
    return curves.read(study).efficiency


def test_a_condition_that_learns_so_many_times_as_fast_has_that_ratio() -> None:
    """Distances are powers of the images, so that the interpolation between snapshots is exact."""
    tables = read(planted(faster))
    runs, settings = tables.runs, tables.over_seeds.set_index("condition.clusters")
    assert len(runs) == 2 * 3
    of_10 = runs[runs["condition.clusters"] == "10"]
    assert of_10["sample_efficiency"].to_numpy() == pytest.approx(3)
    assert of_10["images"].to_numpy() == pytest.approx(of_10["images_unconditional"] / 3)
    assert (of_10["distance"] == 10 / 800).all()
    assert not runs["at_end"].any()
    logs = np.log([5.4, 6.0, 6.6])
    half = 4.302653 * logs.std(ddof=1) / np.sqrt(3)
    own = settings.loc["50", ["sample_efficiency", "sample_efficiency_lo", "sample_efficiency_hi"]].to_numpy(float)
    assert own == pytest.approx(np.exp([logs.mean(), logs.mean() - half, logs.mean() + half]))
    assert settings.loc["10", ["seeds", "inside", "left", "right", "at_end"]].tolist() == [3, 3, 0, 0, 0]


def test_a_run_that_never_is_as_good_or_is_at_once_has_no_ratio() -> None:
    def distance(step: float, clusters: int, seed: int) -> float:
        if clusters == 10 and seed == 2:
            return 1.0
        return 1e-3 if clusters == 50 else faster(step, clusters, seed)

    tables = read(planted(distance))
    assert tables.runs.groupby("condition.clusters", observed=True)["censored"].agg("".join).tolist() == [
        "right",
        "left" * 3,
    ]
    assert tables.runs["images"].isna().sum() == 4
    settings = tables.over_seeds.set_index("condition.clusters")
    assert settings.loc["10", ["inside", "right", "left"]].tolist() == [2, 1, 0]
    assert settings["sample_efficiency"].isna().all(), "seeds would be chosen by the result"
    assert findings.RULES["efficiency"](curves.read(planted(distance)), pd.DataFrame()) == (
        "By the interval over seeds a condition reaches the least Fréchet distance of the unconditional model with "
        "fewer images in 0 of 2 settings, and with more in 0. In 1 a seed does not reach it. In 1 a seed is there at "
        "its first snapshot, so that the ratio is not known."
    )


def test_a_model_that_is_best_at_its_end_is_said_to_go_on() -> None:
    falling = planted(lambda step, clusters, seed: 10 / step / (1 if clusters == 1 else 2 + 0.01 * seed), (1, 10))
    assert read(falling).over_seeds["at_end"].tolist() == [3]
    sentence = findings.RULES["efficiency"](curves.read(falling), pd.DataFrame())
    assert sentence is not None
    assert "fewer images in 1 of 1 setting" in sentence
    assert "(most: 2.01 times fewer at 10 clusters)" in sentence
    assert sentence.endswith(
        "In 1 the unconditional model of a seed is best at its last snapshot, and may still improve."
    )
    slower = planted(
        lambda step, clusters, seed: faster(step, clusters, seed) * (1 if clusters == 1 else 4 + seed / 10), (1, 10)
    )
    assert "and with more in 1." in str(findings.RULES["efficiency"](curves.read(slower), pd.DataFrame()))


def test_where_nothing_is_unconditional_or_steps_do_not_vary_there_is_nothing_to_say() -> None:
    for study in (planted(faster, (10, 50)), synthetic.study({"condition.clusters": [1, 10]})):
        assert read(study).runs.empty
        assert findings.RULES["efficiency"](curves.read(study), pd.DataFrame()) is None


def test_a_report_has_the_tables_the_sentence_and_the_figure_and_removes_them(tmp_path: Path) -> None:
    report.write(planted(faster), tmp_path)
    assert len(pd.read_csv(tmp_path / "efficiency.csv")) == 2
    assert (tmp_path / "figures" / "sample-efficiency.png").exists()
    assert "How many images does a condition save?" in (tmp_path / "report.html").read_text(encoding="utf-8")
    report.write(planted(faster, (10, 50)), tmp_path)
    assert not (tmp_path / "efficiency.csv").exists()
    assert not (tmp_path / "figures" / "sample-efficiency.png").exists()


def test_the_first_snapshot_at_or_below_the_distance_counts() -> None:
    images = np.array([1.0, 2.0, 4.0, 8.0])
    assert efficiency.reached(np.array([4.0, 2.0, 2.5, 1.0]), images, 2.0) == (pytest.approx(2), "")
    assert efficiency.reached(np.array([4.0, 2.2, 2.5, 1.9]), images, 2.1)[0] > 4
    assert efficiency.reached(np.array([2.0, 3.0, 3.0, 3.0]), images, 2.0)[1] == "left"
