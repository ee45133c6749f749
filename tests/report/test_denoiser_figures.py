"""Figures of what a denoiser is like: their numbers are those of the rows and tables, and of nothing else."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
import synthetic

from difgen_cli.report import Study
from difgen_cli.report.figures import (
    basins,
    condition_pull,
    deviation,
    inversion,
    jacobian,
    other_metrics,
    pixel_map,
    targets,
)
from difgen_cli.report.study import curves

SIGMAS = (0.25, 0.5, 1.0, 2.0)
TABLES = {
    "jacobian": ("jac_rank", "jac_asym", "jac_top", "corr_range"),
    "targets": ("target_var",),
    "basins": ("basin_return", "basin_control"),
    "condition_pull_levels": ("cfg_mag", "cfg_mag_auc"),
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
    for name in ("basins", "condition_pull_levels"):
        tables[name] = tables[name].drop(columns="n_pairs")
    columns = {**base.columns, **{name: synthetic.declared(name) for name in (*new, "basin_walks", "inv_images")}}
    return dataclasses.replace(base, rows=rows, columns=columns, tables=base.tables | tables)


@pytest.mark.parametrize("module", [jacobian, targets, basins, condition_pull, deviation])
def test_tables_are_drawn_over_noise_levels_at_the_last_snapshot(module: object) -> None:
    table = module.TABLE  # type: ignore[attr-defined]
    (figure,) = module.draw(curves.read(measured()))  # type: ignore[attr-defined]
    means = figure.data.set_index(["data.size", "metric", "sigma_rel"])["mean"]
    for k, name in enumerate(TABLES[table]):
        for sigma in SIGMAS:
            assert means["16", name, str(sigma)] == pytest.approx(k + sigma + 0.1)
    assert len(means) == 2 * len(TABLES[table]) * len(SIGMAS)
    assert "At 4000 training steps" in figure.caption
    assert ("32 pairs of image and noise" in figure.caption) == (table not in ("basins", "condition_pull_levels"))
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


def test_what_the_denoiser_does_at_held_out_images_is_drawn_beside() -> None:
    study = measured()
    of_T = study.tables["jacobian"]
    of_H = of_T.assign(**{name: 10 + of_T[name] for name in TABLES["jacobian"]})
    both = curves.read(dataclasses.replace(study, tables=study.tables | {"heldout_jacobian": of_H}))
    (alone,), (figure,) = jacobian.draw(curves.read(study)), jacobian.draw(both)
    means = figure.data.set_index(["data.size", "metric", "sigma_rel"])["mean"]
    for k, name in enumerate(TABLES["jacobian"]):
        assert means["64", name, "0.5"] == pytest.approx(k + 0.6)
        assert means["64", f"{name}_heldout", "0.5"] == pytest.approx(k + 10.6)
    assert ["broken: at held-out ones" in drawn.caption for drawn in (alone, figure)] == [False, True]
    assert [drawn.svg.count("<!-- held-out images -->") for drawn in (alone, figure)] == [0, 1], "in the legend, once"


def test_maps_are_of_the_first_image_and_seed_at_the_first_and_last_step() -> None:
    study = measured()
    pixels = pd.DataFrame([(row, column) for row in range(2) for column in range(3)], columns=["row", "column"])
    lines = study.tables["jacobian"].merge(pixels, how="cross").merge(pd.DataFrame({"image": [0, 1]}), how="cross")
    lines = lines[lines["sigma_rel"] <= 1].assign(derivative=lambda t: t["row"] - 7 * t["image"] + t["late"])
    table = pd.concat([lines.assign(split="train"), lines.assign(split="heldout", derivative=-3.0)])
    (figure,) = pixel_map.draw(curves.read(dataclasses.replace(study, tables=study.tables | {"pixel_map": table})))
    assert len(figure.data) == 2 * 2 * 3 * 6, "steps, splits, levels and pixels, of one size, seed and image"
    assert set(figure.data["data.size"].astype(str)) == {"64"}
    assert set(figure.data["seed"]) == {study.rows["seed"].min()}
    assert "2 × 3 pixels" in figure.caption
    assert "training steps" in figure.caption
    for words in ("1.10", "1.00", "3.00"):  # largest derivatives: late and early, of T; of H
        assert f"±\N{NO-BREAK SPACE}{words}" in figure.svg
    assert pixel_map.draw(curves.read(study)) == []
