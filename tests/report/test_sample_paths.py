"""The parts of the error on the samples' way, and their figures: closed form of one point, brute force, and words."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import synthetic

from difgen_cli.report import Study
from difgen_cli.report.figures import path_errors, sample_paths
from difgen_cli.report.study import curves, paths

DELTA, WORSE, SIGMAS, SAMPLES = 1.0, 1.5, (0.5, 1.0), 32
POINTS = np.array([[8.0, 8], [8, -8], [-8, 8], [-8, -8]])


def study(weights: tuple[float, ...] = (0.0, 1.0, 2.0), worse: tuple[float, ...] = (WORSE,), sign: float = 1) -> Study:
    """Ways towards one of four distant points m each: D = (δ²x + σ²m)/(σ² + δ²); guidance by a worse δ, or its opposite
    (sign −1), at these weights; and the reference rows, whose ways go straight to m."""
    made = synthetic.study({"guide.auto.weight": list(weights), "guide.auto.weak.model.delta": list(worse)}, seeds=1)
    chance = np.random.default_rng(0)
    aims, offsets = POINTS[np.arange(SAMPLES) % 4], chance.standard_normal((SAMPLES, 2))
    tables = []
    for _, row in made.rows.iterrows():
        model = row["kind"] == "model"
        weight = float(row["guide.auto.weight"]) if model else 0.0
        delta = float(row["guide.auto.weak.model.delta"]) if model else WORSE
        lines = [_points("train", POINTS), _points("held_out", POINTS[:2] + 3), _points("end", aims, 0.0)]
        for sigma in SIGMAS:
            x = aims + sigma * offsets
            share, other = sigma**2 / (sigma**2 + DELTA**2), sigma**2 / (sigma**2 + delta**2)
            own = (share if model else 1.0) * (aims - x)
            steps = {"": own + weight * sign * (share - other) * (aims - x), "own_": own, "train_": aims - x,
                     "all_": aims + 0.5 - x}  # fmt: skip
            moved = {f"{name}d{axis}": step[:, k] for name, step in steps.items() for k, axis in enumerate("xy")}
            lines.append(_points("path", x, sigma).assign(**moved))
        about = {name: row[name] for name in ("cell", "kind", "seed", "step", *made.axes)}
        tables.append(pd.concat(lines).assign(**about))
    return dataclasses.replace(made, tables={"paths": pd.concat(tables, ignore_index=True)})


def _points(kind: str, points: np.ndarray, sigma: float = np.nan) -> pd.DataFrame:
    places = {"x": points[:, 0], "y": points[:, 1], "point": np.arange(len(points)), "label": -1}
    return pd.DataFrame(places).assign(kind_of_point=kind, sigma=sigma, sigma_rel=sigma)


@pytest.mark.parametrize("weights", [(0.0, 1.0), (-1.0, 0.0, 2.0)])
def test_the_best_weight_is_that_of_one_point_whatever_the_weight_of_the_cell(weights: tuple[float, ...]) -> None:
    """w = δ²(σ² + δ'²)/(σ²(δ'² − δ²)): all of the error lies along the direction, so that nothing is left."""
    lines = paths.read(curves.read(study(weights)))
    lines = lines[lines["target"] == "train"]
    moved = lines[lines["optimal_weight"].notna()]
    assert len(moved) == (len(weights) - 1) * len(SIGMAS)
    for line in moved.to_dict("records"):
        s2 = line["sigma"] ** 2
        expected = DELTA**2 * (s2 + WORSE**2) / (s2 * (WORSE**2 - DELTA**2))
        for name in ("optimal_weight", "optimal_weight_lo", "optimal_weight_hi"):
            assert line[name] == pytest.approx(expected)
        assert line["across"] == pytest.approx(0, abs=1e-7)
        assert line["left"] == pytest.approx(0, abs=1e-6)
    for line in lines.to_dict("records"):
        weight, s2 = float(line["guide.auto.weight"]), line["sigma"] ** 2
        share, other = s2 / (s2 + DELTA**2), s2 / (s2 + WORSE**2)
        assert line["error"] / line["own_error"] == pytest.approx(
            abs(1 - share - weight * (share - other)) / (1 - share)
        )


def test_the_interval_of_the_ratio_is_that_by_hand() -> None:
    """Best weights 1 and 3 of equal lengths, sixteen times: 2 ± t₃₁ √(32/31) / √32; of fewer there is none."""
    error, direction = np.array([[-1.0, 5.0], [-3.0, 0.0]]), np.array([[1.0, 0.0], [1.0, 0.0]])
    assert paths.best_weights(error, direction).tolist() == [1, 3]
    many = np.tile(error, (16, 1)), np.tile(direction, (16, 1))
    half = 2.039513 * np.sqrt(32 / 31 / 32)
    assert paths.interval(*many) == pytest.approx((2 - half, 2 + half), abs=1e-6)
    assert np.isnan(paths.interval(many[0][1:], many[1][1:])).all()
    assert np.isnan(paths.best_weights(error, 0 * direction)).all()


def test_weights_of_several_terms_count_only_where_they_are_one() -> None:
    frame = pd.DataFrame({"guide.auto.weight": [0.0], "guide.cfg.weight": [2.0], "guide.swg.weight": [None]})
    assert paths.weight_of(frame) == 2
    assert paths.weight_of(frame.assign(**{"guide.auto.weight": 1.0})) == 0
    assert paths.weight_of(frame.assign(**{"guide.cfg.weight": 0.0})) == 0


def test_table_and_figures_say_what_is_where(tmp_path: Path) -> None:
    read = curves.read(study(worse=(1.5, 2.0)))
    (file,) = paths.write(paths.read(read), tmp_path)
    assert set(pd.read_csv(file)["target"]) == {"train", "train and held out"}
    ways, one = (figure.caption for figure in sample_paths.draw(read))
    (errors,) = (figure.caption for figure in path_errors.draw(read))
    assert "Ways of the first 8 samples" in ways
    assert "one for the ideal denoiser of the training points" in ways
    assert "error of the denoiser that the sampler follows" in errors
    assert "are below 0" not in errors
    expected = [DELTA**2 * (s**2 + WORSE**2) / (s**2 * (WORSE**2 - DELTA**2)) for s in SIGMAS]
    assert f"{expected[0]:.2f} at 0.500 σ_d; {expected[1]:.2f} at 1.00 σ_d" in one


def test_what_is_missing_is_not_drawn() -> None:
    made = study()
    rows = made.rows[made.rows["kind"] == "model"]
    alone = dataclasses.replace(made, rows=rows, tables={"paths": made.tables["paths"].query("kind == 'model'")})
    assert "ideal denoiser" not in sample_paths.draw(curves.read(alone))[0].caption
    unguided = curves.read(study(weights=(0.0,), worse=(1.5, 2.0)))
    assert [figure.name for figure in sample_paths.draw(unguided)] == ["sample-paths"]
    assert "optimal_weight" not in paths.read(unguided)
    without = curves.read(dataclasses.replace(made, tables={}))
    assert sample_paths.draw(without) == path_errors.draw(without) == []


def test_weights_below_zero_are_counted_where_others_are_above() -> None:
    """Two other selves at weight 1, of which one is better than the network: there guidance adds to the error."""
    mixed = path_errors.draw(curves.read(study(weights=(1.0,), worse=(0.5, 1.5))))[0]
    assert "4 of 8 best weights are below 0" in mixed.caption
    assert "are below 0" not in path_errors.draw(curves.read(study((0.0, 1.0), sign=-1)))[0].caption
