"""What is in one curve must agree in what nobody varied; an axis of the grid is varied on purpose."""

import dataclasses

import pytest
import synthetic

from difgen_cli.report.study import comparable, curves

AXES = {"train.steps": [250, 1000, 4000], "data.size": [32, 128], "model.width": [64, 256]}


def found(axes=AXES, seeds=2, along=None, **columns):
    """Differences of a study with columns changed: name -> function of the rows."""
    study = synthetic.study(axes, seeds=seeds)
    rows = study.rows.assign(git_commit="abc", difgen="0.1.0", git_dirty=False)
    rows = rows.assign(**{name: change(rows) for name, change in columns.items()})
    read = curves.read(dataclasses.replace(study, rows=rows))
    return comparable.differences(read, None if along is None else [read.axis(path) for path in along])


def where(path, value, one, other):
    return lambda rows: [one if at == value else other for at in rows[path]]


def test_a_study_of_one_making_is_comparable():
    assert found() == []


@pytest.mark.parametrize(
    ("column", "what", "one", "other"),
    [
        ("n_gen", "sample counts", 500.0, 1000.0),
        ("n_ref", "sample counts", 100.0, 512.0),
        ("fd_features", "feature spaces", "inception", "dinov2"),
        ("sample.steps", "samplers", 50, 24),
        ("git_commit", "code versions", "def", "abc"),
        ("difgen", "code versions", "0.0.9", "0.1.0"),
    ],
)
def test_what_differs_along_a_curve_is_named_with_its_cells(column, what, one, other):
    differences = found(**{column: where("data.size", 32, one, other)})
    assert [(d.what, d.column) for d in differences] == [(what, column)]
    assert len(differences[0].cells) == 12
    assert "data.size=32" in differences[0].cells[0] or "data.size=128" in differences[0].cells[0]
    sentence = differences[0].sentence
    assert f"differing {what} in one curve: {column} is" in sentence
    assert "and 7 more" in sentence


def test_one_seed_of_another_code_is_in_one_curve_with_the_others():
    differences = found(seeds=3, git_commit=where("seed", 2, "def", "abc"))
    assert [d.column for d in differences] == ["git_commit"]
    assert all("seed=2" in cell for cell in differences[0].cells)


def test_an_axis_that_is_varied_on_purpose_is_no_fault():
    axes = {"sample.steps": [6, 24], "data.size": [32, 128]}
    assert found(axes) == []
    counts = {"sample.count": [500, 1000], "data.size": [32, 128]}
    assert found(counts, n_gen=lambda rows: rows["sample.count"].astype(float)) == []


def test_a_purpose_excuses_its_own_axis_alone():
    axes = {"sample.count": [500, 1000], "data.size": [32, 128]}
    differences = found(axes, n_gen=lambda r: r["sample.count"] - 100.0 * (r["data.size"] == 32))
    assert [d.column for d in differences] == ["n_gen"]


def test_settings_that_the_grid_moves_together_are_on_purpose():
    axes = {"model.width": [64, 256], "data.size": [32, 128]}
    study = synthetic.study(axes, seeds=1)
    rows = study.rows.assign(**{"sample.steps": study.rows["model.width"].map({64: 6, 256: 24})})
    said = dataclasses.replace(study, rows=rows, axes={**axes, "sample.steps": [6, 24]})
    assert comparable.differences(curves.read(said)) == []


def test_only_the_curves_of_the_figure_that_is_drawn_count():
    by_width = {"n_gen": where("model.width", 64, 500.0, 1000.0)}
    assert found(along=["data.size"], **by_width) == [], "widths are lines of their own here"
    assert [d.column for d in found(along=["model.width"], **by_width)] == ["n_gen"]


def test_words_are_not_joined_by_a_line():
    assert found({"model.name": ["mlp", "unet"]}, n_gen=where("model.name", "mlp", 500.0, 1000.0)) == []


def test_missing_cells_do_not_count():
    study = synthetic.study({"data.size": [32, 128]}, seeds=2, missing=[0, 1])
    rows = study.rows.assign(sampled=1)
    rows.loc[0, "git_commit"] = "old"
    assert comparable.differences(curves.read(dataclasses.replace(study, rows=rows))) == []


def test_a_point_that_lacks_a_seed_is_named():
    """Sizes 1 (three seeds) and 2 (two): the mean changes though no seed has."""
    study = synthetic.study({"data.size": [1, 2], "model.width": [64, 256]}, seeds=3)
    gone = (study.rows["data.size"] == 2) & (study.rows["seed"] == 2)
    rows = study.rows.assign(state=study.rows["state"].mask(gone, "failed"))
    (difference,) = comparable.differences(curves.read(dataclasses.replace(study, rows=rows)))
    assert difference.what == "seeds"
    assert difference.values == {"0 1 2": 6, "0 1": 4}
    assert all("data.size=2" in cell for cell in difference.cells)


def test_a_seed_that_is_nowhere_is_no_difference():
    study = synthetic.study({"data.size": [1, 2]}, seeds=3)
    rows = study.rows.assign(state=["failed" if seed == 2 else "done" for seed in study.rows["seed"]])
    assert comparable.differences(curves.read(dataclasses.replace(study, rows=rows))) == []
