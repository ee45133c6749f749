"""The most exposed images in a real browser: pictures that fit a telephone, colours only where they mean something."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from shadow_study import Pictures, planted_study
from shadow_worlds import Pool

from browser.test_looks import SCHEMES, SCREENSHOTS, WIDTHS, audited
from difgen_cli import report
from difgen_cli.report.study.album import Album

POOL = Pool(images=80, size=30, held_out=0, leak=0.3, unequal=0.3)
COLOURS = """[...document.querySelectorAll("#images tbody tr")].map((row) => {
  const gap = row.cells[2];
  return [gap.textContent, getComputedStyle(gap).color !== getComputedStyle(row.cells[3]).color];
})"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page that somebody asked for with the images, and beside it one without."""
    names = {"0" * 16: [f"{place}-{'x' * 40}.png" for place in range(80)]}
    study = planted_study(POOL, {"model.width": [16]})
    study = replace(study, album=cast(Album, Pictures()), image_names=names)
    out = tmp_path_factory.mktemp("exposed")
    report.write(study, out / "asked", images=True)
    report.write(study, out / "not")
    return out


@pytest.mark.parametrize("wide", WIDTHS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_exposed_images_fit_and_have_a_colour_only_where_the_interval_leaves_0(
    visit: Callable[..., Any], folder: Path, wide: int, scheme: str
) -> None:
    opened = visit(folder / "asked" / "report.html", wide=wide, scheme=scheme)
    page = opened.page
    assert page.evaluate("document.documentElement.scrollWidth") <= wide
    rows = page.evaluate(COLOURS)
    assert len(rows) == 24
    assert {coloured for _, coloured in rows} == {True, False}
    for words, coloured in rows:
        lower = float(words.partition("[")[2].partition(",")[0].replace("−", "-"))
        assert coloured == (lower > 0), words
    assert page.evaluate("[...document.querySelectorAll('#images img')].every((one) => one.naturalWidth === 8)")
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.query_selector("#images").screenshot(path=SCREENSHOTS / f"exposed-{wide}-{scheme}.png")
    assert audited(page) == []
    assert opened.errors == []


def test_where_nobody_asked_there_is_neither_a_name_nor_a_picture(visit: Callable[..., Any], folder: Path) -> None:
    page = visit(folder / "not" / "report.html").page
    text = page.query_selector("#images").inner_text()
    assert "it ranks images and convicts none" in text
    assert "difgen report --images" in text
    assert page.query_selector_all("#images img") == []
    assert "x" * 40 not in page.content(), "a name"
