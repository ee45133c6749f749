"""`--copy-features` of an audit: copies are looked for in a space beside all else, and the answer says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_audit import CHEAP, COPIER, IMAGES, LABELLED, Audit, answer, told
from test_audit import audit as audit
from test_audit import people as people

COPY = "Does it copy?"


def test_an_audit_looks_for_copies_in_a_space_too(audit: Audit) -> None:
    """This model copies nothing in ten steps: the space is in the row and in no claim."""
    steps = ("--count", "60", "--set", "sample.steps=12", "--metrics", "memorization", "--json")
    content = told(audit(*COPIER, *IMAGES, *steps, "--copy-features", "pca"))
    row, copycat = content["rows"]["model"], content["rows"]["copycat"]
    assert row["space_features"] == "pca"
    assert (row["space_ratio"], copycat["space_ratio"], copycat["gl"]) == (row["mem_frac"], 1, 0) == (0, 1, 0)
    assert (1 - 1 / row["copy_every_lo"]) ** 60 == pytest.approx(0.05)
    said = answer(content, COPY)
    assert said["state"] == "not_shown"
    assert "None of 60 samples counts as a copy: at most 3 in 60 would" in said["text"]
    assert "feature space" not in said["text"]


def test_a_space_that_is_none_or_has_no_file_is_refused_by_the_options_name(
    audit: Audit, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DIFGEN_WEIGHTS", str(tmp_path))
    for name, words in (("ssdc", "no feature space is called 'ssdc'"), ("sscd", "difgen weights fetch sscd")):
        done: Any = audit(*COPIER, *IMAGES, *CHEAP, "--copy-features", name)
        assert done.exit_code == 2
        assert "--copy-features: " in done.stderr
        assert words in " ".join(done.stderr.split())
    assert not Path("audits/trajectories").exists()


def test_a_pull_of_labels_is_measured_where_it_is_named(audit: Audit) -> None:
    """These weights have a row for the dropped condition; with `all` it is left out, as not all have."""
    few = ("--count", "10", "--set", "sample.steps=2", "--class-labels", "images", "--json")
    row = told(audit(*LABELLED, *IMAGES, *few, "--metrics", "condition_pull"))["rows"]["model"]
    assert row["cfg_mag"] > 0
