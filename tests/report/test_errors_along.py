"""The error along the direction of guidance, against the closed form of one training point, and by planted parts."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import synthetic
import torch

from difgen_cli import report
from difgen_cli.diffusion import IdealDenoiser
from difgen_cli.metrics.field import measure
from difgen_cli.models.analytic import ErrorProne
from difgen_cli.report import Study
from difgen_cli.report.figures import errors_along as figure
from difgen_cli.report.study import curves, errors_along

DELTA, WORSE, SIGMAS = 1.0, 1.5, (0.5, 1.0)


class Guided(torch.nn.Module):
    """D + w (D − D_neg)."""

    sigma_data = 1.0

    def __init__(self, plain: ErrorProne, worse: ErrorProne, weight: float) -> None:
        super().__init__()
        self.plain, self.worse, self.weight = plain, worse, weight

    def forward(self, x: torch.Tensor, sigma: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        positive = self.plain(x, sigma)
        return positive + self.weight * (positive - self.worse(x, sigma))


def toy(train: np.ndarray, held_out: np.ndarray, weights: tuple[float, ...] = (0.0, 1.0, 2.0), side: int = 61) -> Study:
    """Flow fields of an error-prone denoiser, guided away from a worse one by these weights; σ_d is 1."""
    axes = {"guide.auto.weight": list(weights)}
    study = synthetic.study(axes, seeds=1)
    rows = study.rows[study.rows["kind"] == "model"]
    tables = []
    for _, row in rows.iterrows():
        one, other = (ErrorProne(IdealDenoiser(torch.from_numpy(train), 1.0), delta) for delta in (DELTA, WORSE))
        guided = Guided(one, other, float(row["guide.auto.weight"]))
        table = measure(guided, train, held_out, None, 1.0, sigmas=SIGMAS, side=side, margin=4.0).tables["field"]
        about = {name: row[name] for name in ("cell", "kind", "seed", "step", "guide.auto.weight")}
        tables.append(pd.DataFrame(table).assign(**about))
    return dataclasses.replace(study, tables={"field": pd.concat(tables, ignore_index=True)})


def square() -> np.ndarray:
    return np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]], np.float32)


@pytest.mark.parametrize("weights", [(0.0, 1.0), (0.0, -0.5, 2.0)])
def test_the_guided_cell_may_have_any_weight(weights: tuple[float, ...]) -> None:
    """Whatever the weight of the guided cell, the direction and the best weight are the same."""
    found = errors_along.read(curves.read(toy(square(), 2 * square(), weights)))
    reference = errors_along.read(curves.read(toy(square(), 2 * square())))
    pd.testing.assert_frame_equal(found, reference, rtol=1e-3, check_dtype=False)


def test_far_from_other_points_the_best_weight_is_that_of_one_point() -> None:
    """w = δ²(σ² + δ'²)/(σ²(δ'² − δ²)), from D = (δ²x + σ²m)/(σ² + δ²), where only the nearest point m counts."""
    found = errors_along.read(curves.read(toy(12 * square(), np.empty((0, 2), np.float32))))
    assert len(found) == len(SIGMAS)
    for sigma, line in zip(SIGMAS, found.to_dict("records"), strict=True):
        expected = DELTA**2 * (sigma**2 + WORSE**2) / (sigma**2 * (WORSE**2 - DELTA**2))
        assert line["optimal_weight"] == pytest.approx(expected, rel=1e-4)
        assert line["across"] == pytest.approx(0, abs=1e-4 * line["error"] + 1e-6)
        assert line["left"] == pytest.approx(0, abs=1e-3)
        assert line["along"] == pytest.approx(line["error"], rel=1e-6)


def test_parts_add_up_and_the_weight_takes_away_most() -> None:
    rng = np.random.default_rng(0)
    error, direction = rng.standard_normal((2, 50, 2))
    density = rng.random(50)
    density /= density.sum()
    found = errors_along.parts(error, direction, density)

    def left(weight: float) -> float:
        rest = density @ np.square(error + weight * direction).sum(axis=1)
        return float(np.sqrt(rest / (density @ np.square(error).sum(axis=1))))

    assert found["along"] ** 2 + found["across"] ** 2 == pytest.approx(found["error"] ** 2)
    assert found["left"] == pytest.approx(left(found["optimal_weight"]))
    assert all(found["left"] < left(found["optimal_weight"] + step) for step in (-0.05, 0.05))
    unit = errors_along.parts(np.array([[3.0, 4.0]]), np.array([[0.0, -2.0]]), np.ones(1))
    assert unit == pytest.approx(
        {"error": 5, "along": 4, "across": 3, "direction": 2, "optimal_weight": 2, "left": 0.6}
    )


def test_the_posterior_mean_is_that_of_the_ideal_denoiser() -> None:
    x = np.random.default_rng(1).standard_normal((20, 2))
    mean, density = errors_along.posterior_mean(x, square().astype(float), 0.7)
    ideal = IdealDenoiser(torch.from_numpy(square()), 1.0)(torch.from_numpy(x), torch.full((20,), 0.7))
    np.testing.assert_allclose(mean, ideal.numpy(), atol=1e-6)
    by_hand = [np.exp(-np.square(point - square()).sum(axis=1) / (2 * 0.7**2)).sum() for point in x]
    np.testing.assert_allclose(density, by_hand)


def test_the_report_writes_table_and_figure_and_neither_without_a_plain_cell(tmp_path: Path) -> None:
    report.write(toy(square(), 2 * square(), (0.0, 1.0), side=9), tmp_path)
    assert set(pd.read_csv(tmp_path / "errors_along.csv")["target"]) == {"train", "train and held out"}
    words = (tmp_path / "figures" / "errors-along.txt").read_text(encoding="utf-8")
    assert "the weight at which the guided denoiser errs least" in words
    guided = toy(square(), 2 * square(), (1.0, 2.0))
    assert errors_along.read(curves.read(guided)).empty
    assert figure.draw(curves.read(guided)) == []
