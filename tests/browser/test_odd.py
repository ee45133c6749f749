"""Studies that are small, unfinished or of words alone: the page opens, answers and says what there is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import synthetic

from difgen_cli import report
from difgen_cli.report.page import compose


def closed_form(study: report.Study) -> report.Study:
    """The same study of models that have no training steps."""
    rows = study.rows.assign(step=None, images_seen=None, epochs=None).assign(**{"train.steps": None})
    return dataclasses.replace(study, rows=rows)


STUDIES = {
    "one cell": lambda: synthetic.study({"data.size": [32]}, seeds=1),
    "words": lambda: synthetic.study(
        {"model.name": ["mlp", "unet", "a name that is much longer than others"]}, seeds=2
    ),
    "nothing finished": lambda: synthetic.study({"data.size": [32, 128]}, seeds=2, missing=range(4)),
    "no known metric": lambda: synthetic.study({"data.size": [32, 128]}, seeds=2, drop=list(synthetic.UNITS)[:-1]),
    "no pictures": lambda: synthetic.study({"data.size": [32, 128]}, seeds=2, gallery=lambda cells, count: {}),
    "closed form": lambda: closed_form(synthetic.study({"data.size": [32, 128], "model.width": [8, 16]}, seeds=2)),
    "steps alone": lambda: synthetic.study({"train.steps": [250, 1000, 4000]}, seeds=1),
    "same values": lambda: synthetic.study({"train.steps": [250, 1000], "data.size": [9000, 10000]}, seeds=2),
}


def page_of(study: report.Study) -> str:
    """Its page without figures, which are tested alone."""
    return compose(study, [])


@pytest.mark.parametrize("name", STUDIES)
def test_an_odd_study_has_a_page_that_answers(visit: Callable[..., Any], tmp_path: Path, name: str) -> None:
    study = STUDIES[name]()
    written = tmp_path / "report.html"
    written.write_text(page_of(study), encoding="utf-8")
    opened = visit(written, wide=390)
    page = opened.page
    done = study.rows[(study.rows["kind"] == "model") & (study.rows["state"] == "done")]
    if len(done):
        page.locator(".panel").first.focus()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Enter")
        assert opened.state()["cell"] in set(done["cell"])
        for x in page.locator("#choose-x option").evaluate_all("some => some.map(o => o.value)"):
            if x != opened.state()["x"]:
                opened.choose("x", x)
    assert page.locator("#table-told").inner_text() == f"{len(study.rows)} of {len(study.rows)} rows."
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert opened.errors == []
