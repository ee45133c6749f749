"""Whatever stands in a study's words is text on the page: scripts, markup, formulas of spreadsheets and of MathJax."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import synthetic

from difgen_cli import report
from difgen_cli.engine.columns import ColumnSpec
from difgen_cli.report import spreadsheet

RUN = "window.planted = true"
PLANTED = {
    "script": f"</script><script>{RUN}</script>",
    "markup": f'"><img src=x onerror="{RUN}">\u2028&lt;b&gt;',
    "comment": f"<!--<script>{RUN}</script>",
    "formula": '=HYPERLINK("http://example.org") $$\\alpha$$',
}


def planted(evil: str) -> report.Study:
    """A study with `evil` in every text that a person, a plug-in or a file chooses."""
    axes = {"model.name": [evil, "mlp"], "data.name": [f"{evil}1", f"{evil}2"], "data.size": [32, 128]}
    study = synthetic.study(axes, seeds=2, failed=[0], missing=[1], cause=evil, features=evil, name=evil, question=evil)
    rows = study.rows.assign(**{evil: 1.0, f"{evil}text": evil, "cell": study.rows["cell"] + evil, "trajectory": evil})
    columns = {**study.columns, evil: ColumnSpec(evil, evil, evil)}
    return dataclasses.replace(study, rows=rows, columns=columns, provenance={evil: evil, "command": evil})


@pytest.mark.parametrize("evil", PLANTED.values(), ids=PLANTED.keys())
def test_planted_words_are_text_wherever_they_stand(visit: Callable[..., Any], tmp_path: Path, evil: str) -> None:
    study = planted(evil)
    opened = visit(report.write(study, tmp_path).page)
    page = opened.page
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    page.evaluate("State.set({cell: Data.value('cell', 4)})")
    opened.choose("x", "model.name")
    opened.choose("x", "data.name")
    opened.choose("colour", "model.name")
    page.locator(".panel").first.focus()
    page.keyboard.press("ArrowRight")
    for box in page.locator("#table-controls input[type=checkbox]").all():
        box.check()
    page.wait_for_timeout(200)
    assert page.evaluate("window.planted") is None
    assert page.locator("main img[src=x], header img, main script:not([id=data]) + b").count() == 0
    assert opened.errors == []
    assert [url for url in opened.requests if not url.startswith(("file://", "data:", "blob:"))] == []
    for place in ("header h1", ".question", "#provenance dd", "#absent summary", "#cell", "#table"):
        assert evil in page.evaluate("place => document.querySelector(place).textContent", place), place
    assert page.evaluate("document.body.textContent").count(evil) > 20
    with page.expect_download() as waiting:
        page.locator("#download").click()
    for name, values in pd.read_csv(waiting.value.path()).items():
        texts = [str(name), *([] if pd.api.types.is_numeric_dtype(values) else values.dropna().astype(str))]
        assert not [text for text in texts if text.startswith(spreadsheet.FORMULA)], name
