"""Figures of what a denoiser is like: their numbers are those of the rows and tables, and of nothing else."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
import synthetic

from difgen_cli.report import Study
from difgen_cli.report.figures import basins, deviation, inversion, jacobian, other_metrics, targets
from difgen_cli.report.study import curves

SIGMAS = (0.25, 0.5, 1.0, 2.0)
TABLES = {
    "jacobian": ("jac_rank", "jac_asym", "jac_top", "corr_range"),
    "targets": ("target_var",),
    "basins": ("basin_return", "basin_control"),
    "deviation": ("ideal_dev", "local_dev"),
}
COLUMNS = ("dire_auc", "inv_nll_gap", "dire_error", "dire_error_control", "basin_sigma50", "basin_sigma50_control")


def measured() -> Study:
    """Two sizes, two steps, three seeds: a number is its metric's place, plus σ/σ_d, plus 0.1 for the later step."""
    base = synthetic.study({"data.size": [16, 64], "train.steps": [500, 4000]})
    rows = base.rows
    model = rows["kind"] == "model"
    late = 0.1 * (pd.to_numeric(rows["step"]) == 4000)
    new = {name: (k + late).where(model) for k, name in enumerate(COLUMNS)}
    rows = rows.assign(**new, basin_walks=16.0, inv_images=64.0)
    done = rows[model].assign(late=late)
    context = done[[*[c for c in done if "." in c], "kind", "seed", "step", "cell", "late"]]
    lines = context.loc[:, ~context.columns.duplicated()].merge(pd.DataFrame({"sigma_rel": SIGMAS}), how="cross")
    tables = {
        table: lines.assign(
            n_pairs=32, **{name: k + lines["sigma_rel"] + lines["late"] for k, name in enumerate(names)}
        )
        for table, names in TABLES.items()
    }
    tables["basins"] = tables["basins"].drop(columns="n_pairs")
    columns = {**base.columns, **{name: synthetic.declared(name) for name in (*new, "basin_walks", "inv_images")}}
    return dataclasses.replace(base, rows=rows, columns=columns, tables=base.tables | tables)


@pytest.mark.parametrize("module", [jacobian, targets, basins, deviation])
def test_tables_are_drawn_over_noise_levels_at_the_last_snapshot(module: object) -> None:
    table = module.TABLE  # type: ignore[attr-defined]
    (figure,) = module.draw(curves.read(measured()))  # type: ignore[attr-defined]
    means = figure.data.set_index(["data.size", "metric", "sigma_rel"])["mean"]
    for k, name in enumerate(TABLES[table]):
        for sigma in SIGMAS:
            assert means["16", name, str(sigma)] == pytest.approx(k + sigma + 0.1)
    assert len(means) == 2 * len(TABLES[table]) * len(SIGMAS)
    assert "At 4000 training steps" in figure.caption
    assert ("32 pairs of image and noise" in figure.caption) == (table != "basins")
    assert ("16 walks from each split" in figure.caption) == (table == "basins")
    assert module.draw(curves.read(synthetic.study({"data.size": [16, 64]}))) == []  # type: ignore[attr-defined]


def test_inversion_is_drawn_against_the_steps_with_held_out_errors_beside() -> None:
    (figure,) = inversion.draw(curves.read(measured()))
    means = figure.data.set_index(["data.size", "train.steps", "metric"])["mean"]
    for k, name in enumerate(COLUMNS[:4]):
        assert means["64", "500", name] == pytest.approx(k, abs=1e-9)
        assert means["64", "4000", name] == pytest.approx(k + 0.1)
    assert "64 images of T and as many of H" in figure.caption
    assert inversion.draw(curves.read(synthetic.study({"data.size": [16, 64]}))) == []


def test_the_level_of_half_the_returns_is_drawn_beside_that_of_held_out_images() -> None:
    (figure,) = other_metrics.draw(curves.read(measured()))
    shown = set(figure.data["metric"])
    assert {"basin_sigma50", "basin_sigma50_control"} <= shown


def test_numbers_that_no_logarithm_has_are_left_out_of_deviations_alone() -> None:
    study = measured()
    for table, name in (("deviation", "ideal_dev"), ("basins", "basin_return")):
        changed = study.tables[table].assign(**{name: np.where(study.tables[table]["sigma_rel"] < 0.3, 0.0, 1.0)})
        read = curves.read(dataclasses.replace(study, tables=study.tables | {table: changed}))
        (figure,) = (deviation if table == "deviation" else basins).draw(read)
        assert ((figure.data["metric"] == name) & (figure.data["mean"] == 0)).any() == (table == "basins")
