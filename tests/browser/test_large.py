"""One panel or figure shown large, and what goes along when the slider moves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from difgen_cli.report import Study

Visit = Callable[..., Any]
Four = tuple[Study, Path]


def test_a_panel_is_enlarged_by_keyboard_and_escape_gives_the_focus_back(visit: Visit, four: Four) -> None:
    opened = visit(four[1])
    button = "document.querySelectorAll('#panels .enlarge')[2]"
    small = opened.page.evaluate("document.querySelector('.panel').offsetWidth")
    title = opened.page.evaluate("document.querySelectorAll('.facet h3')[2].textContent")
    opened.page.evaluate(f"{button}.focus()")
    opened.page.keyboard.press("Enter")
    opened.until("Curves.marks().length === 1 && document.querySelector('dialog .panel')")
    assert opened.page.locator("dialog .large-head strong").inner_text() == title
    assert opened.page.evaluate("document.querySelector('.panel').offsetWidth") > 1.5 * small
    opened.page.locator("#step").fill("0")
    assert {four[0].rows["step"].iloc[row] for row in opened.page.evaluate("Curves.marks()[0][0].group.rows")} == {250}
    opened.page.keyboard.press("Escape")
    opened.until(f"Curves.marks().length === 4 && document.activeElement === {button}")
    assert opened.page.locator("dialog").count() == 0
    assert opened.page.locator("main #study").count() == 1
    assert opened.errors == []


def test_a_figure_is_enlarged_and_returns_to_its_place(visit: Visit, four: Four) -> None:
    opened = visit(four[1])
    drawing = ".chart[data-name=against-data-size]"
    button = opened.page.locator(f"{drawing} .enlarge")
    button.focus()
    before = opened.page.locator(f"{drawing} .drawing svg").bounding_box()
    opened.page.keyboard.press("Enter")
    assert opened.page.locator("dialog svg[role=img]").bounding_box()["width"] > before["width"]
    opened.page.keyboard.press("Escape")
    opened.until("!document.querySelector('dialog')")
    assert opened.page.locator(f"{drawing} .drawing svg").count() == 1
    assert button.evaluate("one => document.activeElement === one")


@pytest.mark.parametrize("x", ["fd_test", "data.size"])
def test_the_slider_takes_the_pinned_cell_and_its_tooltip_along(visit: Visit, four: Four, x: str) -> None:
    study, path = four
    rows = study.rows[(study.rows["kind"] == "model") & (study.rows["state"] == "done")]
    run = rows[(rows["data.size"] == 128) & (rows["model.width"] == 256) & (rows["seed"] == 1)]
    run = run[run["condition.clusters"] == 10].set_index("step")
    opened = visit(path, hash=f"#?x={x}&cell={run.loc[4000, 'cell']}")
    assert "steps 4000" in opened.page.locator("#tooltip").inner_text()
    opened.page.locator("#step").fill("1")
    assert opened.state()["cell"] == run.loc[1000, "cell"]
    told = opened.page.locator("#tooltip").inner_text()
    assert "steps 1000" in told
    assert told.endswith("pinned")
    assert run.loc[1000, "cell"] in opened.page.locator("#cell").inner_text()
    opened.page.get_by_role("button", name="Unpin").click()
    assert opened.page.locator("#tooltip").is_hidden()
    opened.page.locator("#step").fill("0")
    assert opened.state()["cell"] == ""


@pytest.mark.parametrize("high", [(1280, 800), (390, 844)])
def test_findings_stand_above_the_fold(visit: Visit, four: Four, high: tuple[int, int]) -> None:
    opened = visit(four[1], wide=high[0])
    first = opened.page.locator(".findings li").first.bounding_box()
    assert first["y"] + first["height"] < high[1]
    assert opened.page.locator("#curves").bounding_box()["y"] > first["y"]
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= high[0]
