"""The bound on the number of clusters: planted shares in use, per seed and conditioning."""

from pathlib import Path

import numpy as np
import pytest
import synthetic

from difgen_cli import report
from difgen_cli.engine.columns import ColumnSpec
from difgen_cli.report import Study
from difgen_cli.report.study import clusters, curves

TRIED = [1, 10, 25, 50, 100]


def planted(in_use: dict[tuple[str, int], list[float]]) -> Study:
    """(conditioning, seed) -> labels in use at 10, 25, 50, 100 clusters; one cluster is no condition."""
    names = sorted({name for name, _ in in_use})
    study = synthetic.study({"condition.name": names, "condition.clusters": TRIED, "train.steps": [100, 200]}, seeds=2)
    rows = study.rows.copy()
    at = zip(rows["condition.name"], rows["condition.clusters"], rows["seed"], strict=True)
    rows["clusters_used"] = [
        np.nan if clusters_ == 1 else in_use[str(name), int(seed)][TRIED.index(int(clusters_)) - 1]
        for name, clusters_, seed in at
    ]
    return Study(
        **(vars(study) | {"rows": rows, "columns": {**study.columns, "clusters_used": ColumnSpec("conditions")}})
    )


def test_the_bound_is_the_largest_number_of_which_enough_are_in_use() -> None:
    study = planted(
        {
            ("kmeans", 0): [10, 25, 50, 96],  # 0.96 is enough
            ("kmeans", 1): [10, 24, 50, 95],  # 24 of 25 is 0.96, 95 of 100 is not
            ("temi", 0): [10, 23, 49, 60],  # 0.92 is not enough, and yet 0.98 is, later
            ("temi", 1): [9, 20, 30, 40],  # at none
        }
    )
    found = clusters.bounds(curves.read(study))
    assert found["condition.name"].astype(str).tolist() == ["kmeans", "kmeans", "temi", "temi"]
    assert found["seed"].tolist() == [0, 1, 0, 1]
    assert found["clusters_bound"].tolist()[:3] == [100, 50, 50]
    assert np.isnan(found["clusters_bound"][3])
    np.testing.assert_array_equal(found["clusters_bound_next"], [np.nan, 100, 100, 10])


def test_conditionings_without_a_number_of_clusters_have_no_bound() -> None:
    ten, none = [10.0] * 4, [np.nan] * 4
    wide = [64.0] * 4  # more labels than clusters were asked for: one for each image
    study = planted(
        {(name, seed): use for name, use in (("none", none), ("unique", wide), ("a", ten)) for seed in (0, 1)}
    )
    found = clusters.bounds(curves.read(study))
    assert found["condition.name"].astype(str).unique().tolist() == ["a"]
    assert found["clusters_bound"].tolist() == [10, 10]


@pytest.mark.parametrize("axes", [{"data.size": [8, 16]}, {"condition.clusters": [1, 10]}])
def test_no_scan_and_no_measure_is_no_bound_and_no_file(axes: dict[str, list[int]], tmp_path: Path) -> None:
    study = synthetic.study(axes)
    assert clusters.bounds(curves.read(study)).empty
    (tmp_path / "clusters.csv").write_text("of an earlier report", encoding="utf-8")
    report.write(study, tmp_path)
    assert not (tmp_path / "clusters.csv").exists()


def test_the_report_writes_the_bounds(tmp_path: Path) -> None:
    study = planted({("kmeans", seed): [10, 25, 48, 60] for seed in (0, 1)})
    report.write(study, tmp_path)
    lines = (tmp_path / "clusters.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "seed,clusters_bound,clusters_bound_next"
    assert [float(word) for word in lines[1].split(",")] == [0, 50, 100]
