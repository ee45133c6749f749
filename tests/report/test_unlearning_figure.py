"""The figure of unlearning: its numbers are those of the rows, model by model and group by group."""

from __future__ import annotations

import pytest
from synthetic import study as made_up
from unlearnt import study_of_unlearning

from difgen_cli.report.figures import unlearning
from difgen_cli.report.study import curves


def test_each_model_and_group_of_images_has_its_own_mean_over_seeds() -> None:
    read = curves.read(study_of_unlearning(0.3, 0.1, 0.02, kept_copies=0.6, unlearnt_mia_auc_050=0.7))
    (figure,) = unlearning.draw(read)
    means = figure.data.set_index(["model", "images", "metric"])["mean"]
    assert means["before", "to be unlearnt", "copies"] == pytest.approx(0.3)
    assert means["after", "to be unlearnt", "copies"] == pytest.approx(0.1)
    assert means["retrained", "to be unlearnt", "copies"] == pytest.approx(0.02)
    assert means["retrained", "kept", "copies"] == pytest.approx(0.6)
    assert means["before", "to be unlearnt", "mia_auc_050"] == pytest.approx(0.7)
    assert means["before", "to be unlearnt", "power"] == pytest.approx(0.9)
    assert list(dict.fromkeys(figure.data["model"])) == ["before", "after", "retrained"]
    assert "before unlearning, after it, and of models retrained without them" in figure.caption


def test_a_study_without_a_retrained_model_or_of_anything_else_has_none() -> None:
    assert unlearning.draw(curves.read(study_of_unlearning(0.3, 0.1, 0.02, **{"data.retrain": False}))) == []
    assert unlearning.draw(curves.read(made_up({"data.size": [16, 64]}))) == []
