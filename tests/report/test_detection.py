"""R² of accuracy and detection over feature spaces: planted lines, by hand, and what is said of too few spaces."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import synthetic

from difgen_cli.report import Study
from difgen_cli.report.figures import detection as figure
from difgen_cli.report.study import curves, detection

NAMES = [f"pca(components={k})" for k in range(2, 12)]


def study(count: int, noise: float = 0.0) -> Study:
    """`count` spaces whose AUROC is 0.4 + accuracy / 2, and noise that has no part along the accuracy."""
    made = synthetic.study({"score.ood_classes.features": NAMES[:count], "data.size": [64, 128]}, seeds=2)
    rows = made.rows.copy()
    place = rows["score.ood_classes.features"].map(NAMES.index).fillna(0).to_numpy(int)
    accuracy = 0.3 + 0.05 * np.arange(count)
    sway = np.where(np.arange(count) % 2, 1.0, -1.0)
    away = sway - np.polyval(np.polyfit(accuracy, sway, 1), accuracy)
    rows["ood_knn_acc"] = accuracy[place] + np.where(rows["seed"] == 0, 0.01, -0.01)
    rows["ood_probe_auroc"] = 0.4 + accuracy[place] / 2 + noise * away[place]
    rows["ood_classes_features"] = rows["score.ood_classes.features"]
    columns = made.columns | {n: synthetic.declared(n, "", n) for n in ("ood_knn_acc", "ood_probe_auroc")}
    return dataclasses.replace(made, rows=rows, columns=columns)


def test_spaces_on_a_line_explain_all_and_planted_noise_as_much_as_it_should(tmp_path: Path) -> None:
    lines = detection.read(curves.read(study(10)))
    assert lines["r2"].tolist() == pytest.approx([1, 1])
    assert lines["spaces"].tolist() == [10, 10]
    noisy = study(10, 0.1)
    (file,) = detection.write(detection.read(curves.read(noisy)), tmp_path)
    line = pd.read_csv(file).iloc[0]
    points = detection.points(curves.read(noisy)).query("`data.size` == '64'")
    fit = np.polyval(np.polyfit(points["accuracy"], points["auroc"], 1), points["accuracy"])
    expected = 1 - np.square(points["auroc"] - fit).sum() / np.square(points["auroc"] - points["auroc"].mean()).sum()
    assert line["r2"] == pytest.approx(expected)
    assert 0.1 < expected < 0.9
    assert line["r2_lo"] < expected < line["r2_hi"]


def test_the_interval_is_fishers() -> None:
    """r = 0.8 of 19 pairs: z = 1.0986 ± 1.96/4, which is r from 0.5431 to 0.9199."""
    x = np.linspace(-1, 1, 19)
    away = np.random.default_rng(0).standard_normal(19)
    away -= np.polyval(np.polyfit(x, away, 1), x)
    y = 0.8 * x / x.std() + 0.6 * away / away.std()
    r2, low, high = detection.explained(x, y)
    assert (r2, low, high) == pytest.approx((0.64, 0.5431**2, 0.9199**2), abs=2e-3)
    assert detection.explained(x, away)[1] == 0


@pytest.mark.parametrize(
    ("count", "words"),
    [(10, r"over 10 feature spaces ["), (7, "over 7 feature spaces, which are too few for an interval"),
     (2, "2 feature spaces are too few for an R²")],
)  # fmt: skip
def test_the_caption_says_whether_there_are_enough_spaces(count: int, words: str) -> None:
    (drawn,) = figure.draw(curves.read(study(count, 0.1)))
    assert words in drawn.caption
    assert drawn.caption.count("linear probe") == 2


def test_one_space_is_not_drawn_and_without_the_metric_nothing_is() -> None:
    assert figure.draw(curves.read(synthetic.study({"data.size": [64, 128]}))) == []
    assert detection.read(curves.read(synthetic.study({"data.size": [64, 128]}))).empty


def test_the_similarity_counts_only_in_the_same_space() -> None:
    made = study(10)
    rows = made.rows.assign(ood_auroc=made.rows["ood_probe_auroc"], ood_features=made.rows["ood_classes_features"])
    rows.loc[rows["ood_features"] == NAMES[3], "ood_features"] = "pixels"
    lines = detection.read(curves.read(dataclasses.replace(made, rows=rows)))
    assert dict(zip(lines["rule"], lines["spaces"], strict=True)) == {"similarity": 9, "linear probe": 10}
