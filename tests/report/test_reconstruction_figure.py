"""The figure of reconstructions: what it draws from the table, and what it says of the largest gap."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
import synthetic

from difgen_cli.report import Study
from difgen_cli.report.figures import other_metrics, reconstruction_pictures
from difgen_cli.report.figures import reconstruction as figure
from difgen_cli.report.study import curves

LEVELS = (0.25, 0.5, 1.0)
GAPS = {8: (0.5, 4.0, 1.0), 64: (0.1, 0.2, 0.4)}  # by size: the largest is at half of σ_d, for 8 images


def planted(seeds: int = 2) -> Study:
    study = synthetic.study({"train.steps": [60, 240], "data.size": list(GAPS)}, seeds=seeds)
    model = study.rows["kind"] == "model"
    rows = study.rows.assign(nn_cos_x_t=0.9, nn_cos_x_h=0.8, nn_share=0.7, rfd_train_050=1.0)
    rows.loc[~model, ["nn_cos_x_t", "nn_cos_x_h", "nn_share", "rfd_train_050"]] = np.nan
    done = rows[model]
    context = done[[*(c for c in done if "." in c), "kind", "seed", "step", "cell"]]
    lines = context.merge(pd.DataFrame({"sigma_rel": LEVELS}), how="cross")
    lines = lines.merge(pd.DataFrame({"split": ["train", "heldout"]}), how="cross")
    train, late = lines["split"] == "train", lines["step"] == 240
    place = lines["sigma_rel"].map(LEVELS.index)
    gap = np.array([GAPS[int(size)][int(k)] for size, k in zip(lines["data.size"], place, strict=True)])
    lines = lines.assign(
        rfd=np.where(train, 1.0, 2.0), rfd_lo=np.where(train, 0.9, 1.8), rfd_hi=np.where(train, 1.1, 2.2),
        feat_gap=np.where(late, gap, 100.0), nn_cos_t=np.where(train, 0.99, 0.91),
        nn_cos_h=np.where(train, 0.95, 0.94), nn_share=0.7, n_pairs=512,
    )  # fmt: skip
    names = ("nn_cos_x_t", "nn_cos_x_h", "nn_share", "rfd_train_050")
    columns = {**study.columns, **{name: synthetic.declared(name, "", name) for name in names}}
    return dataclasses.replace(study, rows=rows, columns=columns, tables={**study.tables, "reconstruction": lines})


def test_each_line_is_the_number_of_its_split_at_the_last_snapshot() -> None:
    (drawn,) = figure.draw(curves.read(planted()))
    means = drawn.data.groupby("metric", observed=True)["mean"].agg(["min", "max"])
    expected = {"rfd_train": 1, "rfd_heldout": 2, "lean_train": 0.04, "lean_heldout": -0.03, "lean_samples": 0.1}
    for name, value in expected.items():
        assert means.loc[name].tolist() == pytest.approx([value, value]), name
    assert means.loc["feat_gap"].tolist() == pytest.approx([0.1, 4.0]), "that of the first snapshot is 100"
    assert "2 seeds" in drawn.caption
    assert "512 pairs of image and noise in a split" in drawn.caption


def test_the_largest_gap_is_named_with_its_level_and_setting() -> None:
    (drawn,) = figure.draw(curves.read(planted()))
    assert "The largest gap in features is 4.00 at σ/σ_d = 0.500 for N = 8." in drawn.alt
    study = planted()
    without = study.tables["reconstruction"].assign(feat_gap=np.nan)
    (drawn,) = figure.draw(curves.read(dataclasses.replace(study, tables={"reconstruction": without})))
    assert "largest gap" not in drawn.alt


def test_one_seed_shows_the_rows_own_intervals() -> None:
    (drawn,) = figure.draw(curves.read(planted(seeds=1)))
    line = drawn.data[drawn.data["metric"] == "rfd_heldout"].iloc[0]
    assert (line["lo"], line["hi"]) == (1.8, 2.2)


def test_without_the_table_there_is_no_figure_and_what_it_shows_is_not_drawn_again() -> None:
    study = planted()
    assert figure.draw(curves.read(dataclasses.replace(study, tables={}))) == []
    read = dataclasses.replace(curves.read(study), covered=figure.COVERS)
    shown = {name for drawn in other_metrics.draw(read) for name in drawn.data["metric"]}
    assert "nn_share" in shown
    assert not shown & {"rfd_train_050", "nn_cos_x_t", "nn_cos_x_h"}


def test_pictures_are_of_one_seed_and_setting_at_every_snapshot() -> None:
    study = planted()
    pixels = pd.MultiIndex.from_product([range(2), range(2), range(3)], names=["image", "row", "column"]).to_frame()
    of_level = study.tables["reconstruction"].drop_duplicates(["cell", "split"])
    lines = of_level.merge(pixels.reset_index(drop=True), how="cross").assign(sigma_rel=0.5, colour=0)
    lines = lines.assign(clean=-1.0, noisy=1.5, reconstruction=0.0)
    tables = study.tables | {"reconstruction_pictures": lines}
    (drawn,) = reconstruction_pictures.draw(curves.read(dataclasses.replace(study, tables=tables)))
    assert len(drawn.data) == 2 * 2 * 12, "splits, steps and pixels"
    assert set(drawn.data["data.size"].astype(str)) == {"8"}
    assert "σ/σ_d = 0.5" in drawn.caption
    assert "the first 2 of T and of H" in drawn.caption
    assert all(f"<!-- {word} -->" in drawn.svg for word in ("clean", "noisy", "60", "240"))
    assert reconstruction_pictures.draw(curves.read(study)) == []
