"""Onsets: planted crossings, both kinds of censoring, what does not hold twice, the best, the slope over seeds."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import synthetic

from difgen_cli import report
from difgen_cli.report import Study
from difgen_cli.report.study import curves, onset

STEPS = [60, 120, 240, 480, 960, 1920]


@pytest.mark.parametrize(
    ("holds", "low", "high", "censored"),
    [
        ("000111", 240, 480, ""),
        ("111111", 0, 60, "left"),
        ("000000", 1920, np.inf, "right"),
        ("000001", 960, np.inf, "right"),  # at the last one alone: nobody knows whether it goes on
        ("010000", 1920, np.inf, "right"),  # did not hold at two
        ("010011", 480, 960, ""),
        ("101111", 120, 240, ""),
        ("110000", 0, 60, "left"),
        ("011000", 60, 120, ""),
    ],
)
def test_a_crossing_is_where_two_consecutive_snapshots_hold(holds: str, low: float, high: float, censored: str) -> None:
    found = onset.crossing(np.array(STEPS, float), np.array([mark == "1" for mark in holds]))
    assert found == onset.Onset(low, high)
    assert found.censored == censored
    assert found.middle == pytest.approx(np.sqrt(low * high)) if not censored else np.isnan(found.middle)


@pytest.mark.parametrize(("holds", "low", "censored"), [(True, 0, "unknown"), (False, 60, "right")])
def test_a_single_snapshot_tells_at_most_that_it_is_later(holds: bool, low: float, censored: str) -> None:
    found = onset.crossing(np.array([60.0]), np.array([holds]))
    assert found == onset.Onset(low, np.inf)
    assert found.censored == censored


def test_no_snapshot_is_no_onset() -> None:
    assert onset.crossing(np.array([]), np.array([], bool)) is None
    assert onset.nearly_best(np.array([]), np.array([])) is None


@pytest.mark.parametrize(
    ("distance", "low", "high"),
    [
        ([40, 20, 10, 20, 40, 80], 120, 240),  # U-shaped: the minimum stands alone
        ([10, 20, 40, 60, 80, 90], 0, 60),  # best at the first snapshot, and worse ever after
        ([40, 20, 10.9, 10, 20, 40], 120, 240),  # U-shaped, within 10 % before its minimum
        ([40, 10.5, 20, 10, 20, 40], 60, 120),  # two dips: near its best for the first time
        ([64, 32, 16, 8, 4, 2], 960, np.inf),  # still falling by half: its least may come later
        ([64, 32, 16, 8, 4.2, 4], 480, 960),  # falls by 5 % at last: the snapshot before was near its best
        ([7, 7, 7, 7, 7, 7], 0, 60),  # flat
        ([7.1, 7, 7.2, 7, 7.1, 7], 0, 60),  # flat but for noise
    ],
)
def test_quality_is_near_its_best_at_the_first_snapshot_within_a_tenth(
    distance: list[float], low: float, high: float
) -> None:
    assert onset.nearly_best(np.array(STEPS, float), np.array(distance, float)) == onset.Onset(low, high)


def of_distances(distance: list[float]) -> pd.Series:
    study = planted({(32, 0): 900.0})
    at = dict(zip(STEPS, distance, strict=True))
    model = study.rows["kind"] == "model"
    rows = study.rows.assign(fd_test=study.rows["step"].map(at).where(model, 1.0))
    return table(dataclasses.replace(study, rows=rows)).iloc[0]


def test_the_best_snapshot_of_a_u_shaped_run_is_no_later_than_it_is() -> None:
    line = of_distances([30, 12, 9, 14, 25, 50])
    assert (line["tau_gen_lo"], line["tau_gen_hi"]) == (120, 240)
    assert line["tau_gen"] == pytest.approx(np.sqrt(120 * 240))
    assert "tau_gen" not in line["censored"]


def test_a_snapshot_without_a_distance_widens_the_interval_of_the_best() -> None:
    line = of_distances([30, np.nan, 9, 14, np.nan, 50])
    assert (line["tau_gen_lo"], line["tau_gen_hi"]) == (60, 240)
    falling = of_distances([64, 32, 16, 8, np.nan, np.nan])
    assert "tau_gen right" in falling["censored"]
    assert falling["tau_gen_lo"] == 240
    assert np.isnan(falling["tau_gen_hi"])


def planted(tau: dict[tuple[int, int], float], steps: list[int] = STEPS, **columns: float) -> Study:
    """A study whose copying sets in at τ(N, seed); quality is best from τ/2 on, the gap opens at τ/4."""
    sizes, seeds = sorted({size for size, _ in tau}), 1 + max(seed for _, seed in tau)
    study = synthetic.study({"data.size": sizes, "train.steps": steps}, seeds=seeds)
    rows = study.rows.copy()
    at = np.array([tau.get((size, seed), np.nan) for size, seed in zip(rows["data.size"], rows["seed"], strict=True)])
    step = pd.to_numeric(rows["step"]).to_numpy(float)
    rows["mem_frac"] = np.where(step >= at, 0.5, 0.0)
    rows["mem_frac_lo"] = np.where(step >= at, 0.4, 0.0)
    rows["mem_frac_control_hi"] = 0.01
    rows["fd_test"] = np.where(step >= at / 2, 2.0, 20.0)
    rows = rows.assign(**columns)
    noise = study.tables["noise"]
    opened = pd.Series(step >= at / 4, index=rows["cell"])
    noise = noise.assign(gap=np.where(noise["cell"].map(opened), 0.3, 0.02))
    return dataclasses.replace(study, rows=rows, tables={"noise": noise})


def table(study: Study) -> pd.DataFrame:
    return onset.onsets(curves.read(study))


def test_each_onset_follows_its_own_criterion() -> None:
    line = table(planted({(32, 0): 900.0})).iloc[0]
    assert (line["tau_mem_lo"], line["tau_mem_hi"]) == (480, 960)
    assert (line["tau_gen_lo"], line["tau_gen_hi"]) == (240, 480)
    assert (line["tau_gap_lo"], line["tau_gap_hi"]) == (120, 240)
    assert line["tau_mem_per_n"] == pytest.approx(np.sqrt(480 * 960) / 32)


def test_steps_are_told_for_each_distinct_training_image() -> None:
    line = table(planted({(32, 0): 900.0}, train_distinct=16)).iloc[0]
    assert line["tau_mem_per_n"] == pytest.approx(np.sqrt(480 * 960) / 16)
    assert line["censored"] == ""
    assert line["snapshots"] == 6


def test_censored_ends_are_said_and_have_no_middle() -> None:
    line = table(planted({(32, 0): 200.0})).iloc[0]
    assert line["censored"] == "tau_gap left"
    assert (line["tau_gap_lo"], line["tau_gap_hi"]) == (0, 60)
    assert np.isnan(line["tau_gap"])
    line = table(planted({(32, 0): 1e9})).iloc[0]
    assert "tau_mem right" in line["censored"]
    assert line["tau_mem_lo"] == 1920
    assert np.isnan(line["tau_mem_hi"])
    assert np.isnan(line["tau_mem_per_n"])


def test_a_share_that_the_control_reaches_is_no_copying() -> None:
    line = table(planted({(32, 0): 900.0}, mem_frac_control_hi=0.45)).iloc[0]
    assert "tau_mem right" in line["censored"]


def test_without_a_control_the_onset_of_copying_is_not_told() -> None:
    study = planted({(32, 0): 900.0})
    found = table(dataclasses.replace(study, rows=study.rows.drop(columns="mem_frac_control_hi")))
    assert "tau_mem" not in found
    assert found["tau_gen_hi"].tolist() == [480]


def test_seeds_are_told_one_by_one() -> None:
    found = table(planted({(32, 0): 900.0, (32, 1): 300.0})).set_index("seed")
    assert found["tau_mem_hi"].to_dict() == {0: 960, 1: 480}


def test_missing_snapshots_widen_the_interval() -> None:
    study = planted({(32, 0): 900.0})
    gone = study.rows["step"].isin([480])
    rows = study.rows.assign(state=study.rows["state"].where(~gone, "missing"))
    line = table(dataclasses.replace(study, rows=rows)).iloc[0]
    assert (line["tau_mem_lo"], line["tau_mem_hi"], line["snapshots"]) == (240, 960, 5)


def test_models_without_steps_have_no_onset() -> None:
    study = planted({(32, 0): 900.0}, step=np.nan)
    assert table(study).empty


@pytest.mark.parametrize(
    ("level", "gap"), [(0.5, np.expm1(np.log(1.1) / 2 + np.log(1.4) / 2)), (1.0, 0.4), (2.0, None)]
)
def test_the_gap_is_read_between_levels_on_a_log_scale(level: float, gap: float | None) -> None:
    lines = pd.DataFrame({"cell": "a", "sigma_rel": [0.05, 0.25, 1.0], "gap": [0.0, 0.1, 0.4]})
    both = pd.concat([lines, lines])  # both splits carry it
    found = onset.gap_at(both, level)
    assert found.to_dict() == ({"a": pytest.approx(gap)} if gap is not None else {})


def test_the_whole_pool_as_a_size_has_onsets_and_no_place_on_the_line(tmp_path: Path) -> None:
    study = planted({(size, 0): 8.0 * size for size in (16, 32, 64, 128)})

    def unnamed(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(**{"data.size": frame["data.size"].where(frame["data.size"] != 128)})

    study = dataclasses.replace(study, rows=unnamed(study.rows), tables={"noise": unnamed(study.tables["noise"])})
    found = table(study)
    assert len(found) == 4
    assert found["tau_mem_per_n"].isna().sum() == 1
    assert onset.slopes(found, []).set_index("onset").loc["tau_mem", "sizes"] == 3
    report.write(study, tmp_path)


def grown(slope: float, scatter: float, seeds: int, rng: np.random.Generator) -> dict[tuple[int, int], float]:
    sizes = [8, 16, 32, 64, 128, 256]
    return {
        (size, seed): float(np.exp(3 + slope * np.log(size) + scatter * rng.standard_normal()))
        for size in sizes
        for seed in range(seeds)
    }


def test_the_slope_of_planted_onsets_lies_in_its_interval() -> None:
    study = planted(grown(0.8, 0.2, 3, np.random.default_rng(0)))
    lines = onset.slopes(table(study), []).set_index("onset")
    line = lines.loc["tau_mem"]
    assert line["n"] == 3
    assert line["slope_lo"] < 0.8 < line["slope_hi"]
    assert line["slope"] == pytest.approx(np.mean([line[f"seed_{k}"] for k in range(3)]))


def test_slope_intervals_cover_the_planted_slope_whether_seeds_scatter_or_not() -> None:
    """A short form: 60 studies at each scatter; 95 % intervals that miss more than 8 are too narrow."""
    rng = np.random.default_rng(2)
    sizes, grid = np.array([8.0, 16, 32, 64, 128, 256]), np.concatenate([[0.0], 60 * 2.0 ** np.arange(8), [np.inf]])
    for scatter in (0.02, 0.3):
        missed = 0
        for _ in range(60):
            slope, height, lines = rng.uniform(0.3, 1.0), rng.uniform(3.5, 4.5), []
            for seed in range(3):
                tau = np.exp(height + slope * np.log(sizes) + scatter * rng.standard_normal(6))
                k = np.searchsorted(grid, tau)
                low, high = grid[k - 1], np.where(np.isfinite(grid[k]), grid[k], np.nan)
                middle = np.where(low > 0, np.sqrt(low * high), np.nan)
                lines.append(pd.DataFrame({"data.size": sizes, "seed": seed, "tau_mem": middle,
                                           "tau_mem_lo": low, "tau_mem_hi": high}))  # fmt: skip
            found = onset.slopes(pd.concat(lines), [])
            missed += len(found) == 0 or not found["slope_lo"].iloc[0] <= slope <= found["slope_hi"].iloc[0]
        assert missed <= 8


def test_seeds_that_cross_between_the_same_snapshots_still_leave_the_slope_uncertain() -> None:
    study = planted({(size, seed): 5.0 * size for size in (16, 32, 128) for seed in range(3)})
    line = onset.slopes(table(study), []).set_index("onset").loc["tau_mem"]
    assert line["seed_0"] == line["seed_1"] == line["seed_2"]
    assert line["slope_hi"] - line["slope_lo"] > 0.1


def test_one_seed_has_a_slope_and_no_interval_and_two_sizes_have_none() -> None:
    one = onset.slopes(table(planted({(size, 0): 8.0 * size for size in (16, 32, 64)})), [])
    assert one.set_index("onset").loc["tau_mem", "n"] == 1
    assert one["slope_lo"].isna().all()
    assert onset.slopes(table(planted({(size, 0): 8.0 * size for size in (16, 32)})), []).empty


def test_the_report_writes_onsets_slopes_and_what_their_columns_are(tmp_path: Path) -> None:
    tau = grown(0.8, 0.2, 3, np.random.default_rng(0))
    report.write(planted(tau), tmp_path)
    found = pd.read_csv(tmp_path / "onset.csv")
    assert len(found) == len(tau)
    about = (tmp_path / "onset.txt").read_text(encoding="utf-8")
    described = {line.partition(" (")[0].partition(":")[0] for line in about.splitlines()}
    assert set(found.columns) - {"data.size", "seed"} <= described
    lines = pd.read_csv(tmp_path / "slopes.csv").set_index("onset")
    caption = (tmp_path / "figures" / "onset-against-size.txt").read_text(encoding="utf-8")
    assert f"tau_mem {lines.loc['tau_mem', 'slope']:.2f} [" in caption
    assert "3 seeds" in caption
    report.write(synthetic.study({"data.size": [32, 128]}, seeds=1, drop=["fd_test", "gap_max"]), tmp_path)
    assert not (tmp_path / "onset.csv").exists()
    assert not (tmp_path / "slopes.csv").exists()
