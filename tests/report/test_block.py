"""The block of rows that a page carries: exact, safe inside a script element, and no larger than it may be."""

import json

import numpy as np
import pandas as pd
import pytest
import synthetic

from difgen_cli.report.page import block
from difgen_cli.report.study import curves


def read(column):
    """A column as the page's scripts read it."""
    if "values" in column:
        return column["values"]
    return [None if code < 0 else column["levels"][code] for code in column["codes"]]


def composed(study):
    return json.loads(block.compose(study, curves.read(study), {}, {}))


def test_every_value_of_the_rows_is_in_the_block_bit_for_bit():
    study = synthetic.study({"data.size": [32, 128], "train.steps": [250, 4000]}, seeds=2, missing=[0], failed=[1])
    said = composed(study)
    assert said["rows"] == len(study.rows)
    for column in said["columns"]:
        expected = study.rows[column["name"]].astype(object)
        assert read(column) == [None if pd.isna(value) else value for value in expected], column["name"]
    assert {column["name"] for column in said["columns"]} == {n for n in study.rows if study.rows[n].notna().any()}


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ([1.5, np.nan, np.inf], "number", [1.5, None, None]),
        (pd.array([1, None, 3], dtype="Int64"), "number", [1, None, 3]),
        (pd.Series([128, None, 250], dtype=object), "number", [128, None, 250]),
        ([True, False, True], "truth", [True, False, True]),
        (pd.Series([True, None, False], dtype=object), "text", ["true", None, "false"]),
        (pd.Series([[1, 2], "a", None], dtype=object), "text", ["[1, 2]", "a", None]),
        ([0.1] * 40 + [0.3], "number", [0.1] * 40 + [0.3]),
    ],
)
def test_a_column_of_any_type_is_told_apart_and_kept(values, kind, expected):
    column = json.loads(json.dumps(block.column(pd.Series(values), "x"), allow_nan=False))
    assert column["type"] == kind
    assert read(column) == expected


def test_nothing_in_the_block_can_end_its_script_element_or_a_line():
    evil = "</script><!--<script>\u2028\u2029&"
    study = synthetic.study({"model.name": [evil, "mlp"]}, seeds=1, name=evil, features=evil)
    text = block.compose(study, curves.read(study), {}, {evil: evil})
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text)["titles"] == {evil: evil}


def test_a_block_that_would_be_too_large_has_fewer_digits_and_says_so(monkeypatch):
    monkeypatch.setattr(block, "MOST_CHARACTERS", 1000)
    study = synthetic.study({"data.size": [32, 128]}, seeds=3)
    said = composed(study)
    assert said["digits"] == 6
    found = next(column for column in said["columns"] if column["name"] == "fd_test")
    np.testing.assert_allclose(read(found), study.rows["fd_test"].to_numpy(float), rtol=5e-6)
