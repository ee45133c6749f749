"""The figure of looks: against guidance where that varies, with what each is read beside; absent without numbers."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import synthetic

from difgen_cli.report import Study
from difgen_cli.report.figures import appearance
from difgen_cli.report.study import curves


def planted(*names: str) -> Study:
    """Saturation grows with the weight of guidance; everything else is constant."""
    study = synthetic.study({"train.steps": [100, 400], "guide.weight": [1.0, 2.0, 3.0]})
    model = study.rows["kind"] == "model"
    values = {name: np.where(model, 0.5, np.nan) for name in names}
    values |= {"saturation": 0.1 * study.rows["guide.weight"].where(model)} if "saturation" in names else {}
    columns = {**study.columns, **{name: synthetic.declared(name, "", name) for name in names}}
    return dataclasses.replace(study, rows=study.rows.assign(**values), columns=columns)


def test_saturation_is_drawn_against_guidance_at_the_last_snapshot() -> None:
    (figure,) = appearance.draw(curves.read(planted("saturation", "saturation_train", "class_tv", "class_tv_null")))
    numbers = figure.data[figure.data["metric"] == "saturation"].set_index("guide.weight")
    assert len(numbers) == 3, "along the steps there would be six"
    assert numbers["mean"].to_dict() == pytest.approx({"1": 0.1, "2": 0.2, "3": 0.3})
    assert set(figure.data["metric"]) == {"saturation", "saturation_train", "class_tv", "class_tv_null"}
    assert "guidance" in figure.caption
    assert "shows no difference" in figure.caption


def test_without_classes_nothing_is_said_of_them_and_without_the_metric_there_is_no_figure() -> None:
    (figure,) = appearance.draw(curves.read(planted("saturation")))
    assert "total variation" not in figure.caption
    assert appearance.draw(curves.read(planted())) == []
    grey = planted("saturation", "contrast")
    grey = dataclasses.replace(grey, rows=grey.rows.assign(saturation=0.0))
    (figure,) = appearance.draw(curves.read(grey))
    assert set(figure.data["metric"]) == {"contrast"}
